"""How likely completions are under the policy, as methods that rank or weigh by it want it."""

from __future__ import annotations

from torch import Tensor

from manypaths.methods.groups import in_float64


def log_likelihood(who: str, counted: Tensor, logprobs: Tensor, lengths: Tensor, per_token: bool) -> Tensor:
    """The log-probability of each completion, or its mean per token.

    Args:
        who: the method, for messages.
        counted: bool [B, G], the completions that the method looks at.
        logprobs: [B, G], the sum of the log-probabilities of a completion's tokens.
        lengths: [B, G], how many tokens these are; a completion without any counts as one of one token.
        per_token: whether to divide by the lengths.

    Returns:
        [B, G] in float64, 0 where a completion is not counted.

    Raises:
        ValueError: for other shapes, and for a counted completion whose log-probability is NaN or infinite.
    """
    for name, values in (("logprobs", logprobs), ("lengths", lengths)):
        if values.shape != counted.shape:
            raise ValueError(f"{who}'s {name} must be [B, G], here {list(counted.shape)}, got {list(values.shape)}.")
    if not logprobs[counted].isfinite().all():
        raise ValueError(f"{who}'s logprobs must be finite for scored completions, got NaN or infinity.")
    likelihood = in_float64(logprobs).masked_fill(~counted.to(logprobs.device), 0.0)
    return likelihood / in_float64(lengths).clamp(min=1.0) if per_token else likelihood
