"""Settings of TRL under which a method would compute something else, or a training would stop in its first step."""

from __future__ import annotations

from trl import GRPOConfig

WITHOUT_RATIO: dict[str, tuple[object, ...]] = {
    "loss_type": ("grpo", "bnpo", "dr_grpo", "dapo"),  # the others have a ratio or a weight of their own
    "importance_sampling_level": ("token",),
    "off_policy_mask_threshold": (None,),
    "delta": (None,),
}


AGGREGATIONS = (
    "sum_then_normalize",
    "normalize_then_sum",
)  # of several rewards; TRL looks at the name in its first step


def check(args: GRPOConfig, *, importance_ratio: bool) -> None:
    """Refuse settings with which a method would compute something else.

    Args:
        args: TRL's configuration.
        importance_ratio: False is RGRA.

    Raises:
        ValueError: names the setting, and the value that it must have.
    """
    if args.multi_objective_aggregation not in AGGREGATIONS:
        names, given = " or ".join(AGGREGATIONS), args.multi_objective_aggregation
        raise ValueError(f"multi_objective_aggregation must be {names}, got {given!r}. Name one of them.")
    if importance_ratio:
        return
    for name, allowed in WITHOUT_RATIO.items():
        if getattr(args, name) not in allowed:
            raise ValueError(
                f"{name} must be {' or '.join(map(repr, allowed))} with importance_ratio=False (RGRA), got "
                f"{getattr(args, name)!r}, which weighs completions by a ratio of its own."
            )
    if args.use_vllm and args.vllm_importance_sampling_correction:
        raise ValueError(
            "vllm_importance_sampling_correction must be False with vLLM and importance_ratio=False (RGRA), got True: "
            "the correction is a ratio between the policy and vLLM's. Set vllm_importance_sampling_correction=False."
        )
    if args.beta and args.use_bias_correction_kl:
        raise ValueError(
            f"use_bias_correction_kl must be False with beta={args.beta} and importance_ratio=False (RGRA), got True: "
            "the correction multiplies the KL term by the importance ratio. Set use_bias_correction_kl=False."
        )
