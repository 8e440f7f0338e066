"""The input `logprobs` in TRL's trainer: how likely each completion was under the policy that sampled it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from accelerate.utils import gather
from torch import Tensor
from trl.trainer.utils import pad

from manypaths.trl.dynamic_sampling import DynamicSamplingGRPOTrainer


class LogprobsGRPOTrainer(DynamicSamplingGRPOTrainer):
    """`DynamicSamplingGRPOTrainer` that can sum up the log-probabilities of its completions, on request.

    They are of the policy's weights at the time of sampling, at the temperature of sampling, and come from the first
    of these sources that there is:

    1. TRL's own old log-probabilities, which it computes for the importance ratio where completions serve several
       updates, and with vLLM's correction. With LoRA's dropout they have its noise, as in TRL's ratio. With
       `mask_truncated_completions` they lack the truncated completions, and are not used.
    2. Those that vLLM or a `rollout_func` gave with the completions. They are of truncated distributions where vLLM
       samples with top_p, top_k or min_p, and without the temperature where a server of vLLM gives raw ones.
    3. One more forward pass without gradient and without dropout, `per_device_train_batch_size` completions at a time.
    """

    _generated: tuple[Any, ...] | None = None  # by `_generate`, of this process, until TRL has scored it
    _of_policy: list[Tensor]  # [n, T] each, padded on the right: what TRL has computed of it with `self.model`

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._has_images = any(row.get(name) is not None for row in inputs for name in ("image", "images"))
        try:
            output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        finally:
            self._generated, self._of_policy = None, []
        return output

    def _generate(self, prompts: list[Any]) -> tuple[Any, ...]:
        self._generated, self._of_policy = super()._generate(prompts), []
        return self._generated

    def _get_per_token_logps_and_entropies(self, model: Any, *inputs: Any, **named: Any) -> tuple[Any, ...]:
        computed: tuple[Any, ...] = super()._get_per_token_logps_and_entropies(model, *inputs, **named)
        if self._generated is not None and model is self.model:
            self._of_policy.append(computed[0])
        return computed

    def sampled_logprobs(self) -> Tensor:
        """The sum of the log-probabilities of the tokens that the model wrote, [n] of this process, float32.

        To be called in training, between sampling and the end of the rewards, in all processes at once.

        Raises:
            ValueError: for images where another forward pass would be needed, and for a `rollout_func` whose
                log-probabilities are not one for each token.
        """
        assert self._generated is not None
        prompt_ids, completion_ids, tool_masks, _, given, *_ = self._generated
        masks = tool_masks if tool_masks is not None else [None] * len(completion_ids)
        own = self._padded([mask or [1] * len(ids) for mask, ids in zip(masks, completion_ids, strict=True)]) > 0
        of_reference = int(self.beta != 0 and self.ref_model is None)  # with LoRA the reference is self.model, too,
        if len(self._of_policy) > of_reference and not self.mask_truncated_completions:  # and TRL computes it last
            logps = self._of_policy[0]
        elif self._in_all_processes(given is not None and not any(None in row for row in given)):
            if any(len(row) != len(ids) for row, ids in zip(given, completion_ids, strict=True)):
                raise ValueError("rollout_func must return a log-probability for each token, got another number.")
            logps = self._padded(given)
        else:
            logps = self._another_pass(prompt_ids, completion_ids)
        return torch.where(own, logps.float(), 0.0).sum(1)

    def _in_all_processes(self, holds: bool) -> bool:
        return bool(gather(torch.tensor([holds], device=self.accelerator.device)).all())

    def _another_pass(self, prompt_ids: list[list[int]], completion_ids: list[list[int]]) -> Tensor:
        """The log-probabilities [n, T] of the completions' tokens, as TRL computes them, but without dropout."""
        assert self._generated is not None
        if self._has_images or any(self._generated[6] or ()) or any(self._generated[7]):
            raise ValueError(
                "The input logprobs must have text alone where TRL computes no log-probabilities itself, got images. "
                "Set num_iterations=2 and no mask_truncated_completions, with which it does, or take another method."
            )
        prompts = [self._padded(prompt_ids, "left", value) for value in (None, 1)]  # tokens and their attention mask
        completions = [self._padded(completion_ids, "right", value) for value in (None, 1)]
        tokens, mask = (torch.cat(parts, dim=1) for parts in zip(prompts, completions, strict=True))
        in_training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                logps: Tensor = super()._get_per_token_logps_and_entropies(
                    self.model, tokens, mask, completions[0].shape[1], batch_size=self.args.per_device_train_batch_size
                )[0]
        finally:
            self.model.train(in_training)
        return logps

    def _padded(self, rows: Sequence[Sequence[float]], side: str = "right", value: int | None = None) -> Tensor:
        """Rows as one tensor padded with 0, on the trainer's device; where `value` is given, it stands for all."""
        parts = [torch.tensor(row) if value is None else torch.full((len(row),), value) for row in rows]
        padded: Tensor = pad(parts, padding_side=side, pad_to_multiple_of=self.pad_to_multiple_of)
        return padded.to(self.accelerator.device)
