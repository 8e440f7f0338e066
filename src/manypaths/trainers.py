"""What each trainer gives to methods, and what TRL does to rewards after them; docs/trainers.md shows it in a table.

A role that a trainer does not have is missing here: a reward function cannot replace advantages.
"""

from __future__ import annotations

from collections.abc import Sequence

from manypaths.methods.effect import Scaling

MEANS_OF_ROWS = ("grpo", "sapo", "dr_grpo", "luspo")  # loss types of TRL that divide by the number of completions
NORMALISED_BEFORE = ("dapo", "cispo", "vespo")  # those that divide by the tokens of the whole batch; bnpo: of a part
OF_TEXTS = ("similarity", "keys")  # every trainer has them, from the settings `embedder` and `keys`
ADVANTAGE = ("adjusted", "advantages")  # inputs that exist for the role `advantage` alone

AS_ADVANTAGE = "Write the method as an advantage."
NO_DIVISION = f"Set scale_rewards='none'. {AS_ADVANTAGE}"

TRAINERS: dict[str, dict[str, tuple[str, ...]]] = {
    "DiverseGRPOTrainer": {
        "reweight": ("rewards", "correct", "progress", "lengths", "logprobs"),
        "advantage": ("rewards", "correct", "progress", "lengths", "logprobs", *ADVANTAGE),
        "select": ("rewards", "correct", "progress", "lengths", "logprobs"),
        "replay": ("rewards", "correct", "progress", "lengths", "logprobs"),
    },
    "DiverseReward": {"reweight": ("rewards", "correct", "progress", "lengths")},
    "verl": {
        "reweight": ("rewards", "correct", "progress", "lengths", "logprobs"),
        "advantage": ("rewards", "correct", "progress", "lengths", "logprobs", *ADVANTAGE),
    },
    "slime": {
        "reweight": ("rewards", "correct", "progress", "lengths", "logprobs"),
        "advantage": ("rewards", "correct", "progress", "lengths", "logprobs", *ADVANTAGE),
    },
}


def available(trainer: str, correct: bool, progress: bool = True) -> dict[str, Sequence[str]]:
    """The names of the inputs that a trainer has by itself, by role.

    Args:
        trainer: a key of `TRAINERS`.
        correct: whether the setting is there by which a completion is correct.
        progress: whether the share of the training that is done is known, where a setting says it.
    """
    missing = [name for name, given in (("correct", correct), ("progress", progress)) if not given]
    return {role: [name for name in names if name not in missing] for role, names in TRAINERS[trainer].items()}


def trl_scaling(args: object) -> Scaling | None:
    """What a configuration of TRL's GRPO says, or the settings of one; None for a word that is not TRL's."""
    aggregation = getattr(args, "multi_objective_aggregation", "sum_then_normalize")
    if aggregation == "normalize_then_sum":
        return Scaling("batch", f"multi_objective_aggregation={aggregation!r}", AS_ADVANTAGE)
    word = str(getattr(args, "scale_rewards", "group"))
    by = {"True": "group", "False": "none"}.get(word, word)
    if by not in ("group", "batch", "none"):
        return None
    return Scaling(by, f"scale_rewards={by!r}", AS_ADVANTAGE if by == "none" else NO_DIVISION)


def acts_at_advantage_0(args: object) -> str | None:
    """What of TRL's loss gives a gradient to a completion with advantage 0; None where nothing does.

    Args:
        args: a configuration of TRL's GRPO, or the settings of one; a setting that is missing has TRL's default.
    """
    if beta := getattr(args, "beta", 0.0):
        return f"the KL term of beta={beta}"
    if getattr(args, "entropy_coef", 0.0) or getattr(args, "use_adaptive_entropy", False):
        return "the entropy bonus"
    if (quantile := getattr(args, "top_entropy_quantile", 1.0)) < 1.0:
        return f"the entropy mask of top_entropy_quantile={quantile}"
    if (loss := getattr(args, "loss_type", "dapo")) not in (*MEANS_OF_ROWS, *NORMALISED_BEFORE, "bnpo"):
        return f"loss_type={loss}, which is not among those that were checked,"
    return None


def check_selection(args: object, count: int) -> None:
    """Refuse a selection of `count` completions of each group that a group does not have, or whose loss is not exact.

    Args:
        args: as of `acts_at_advantage_0`.

    Raises:
        ValueError: for a count above the size of a group, and for an entropy bonus with a loss type that divides by the
            completions or tokens of a micro-batch: the bonus would be multiplied by the share that TRL's divisor lacks.
    """
    size, loss = getattr(args, "num_generations", 8), getattr(args, "loss_type", "dapo")
    if count > size:
        raise ValueError(
            f"select's count must be at most num_generations, here {size}, got {count}. Set a smaller count, or sample "
            "larger groups."
        )
    has_bonus = bool(getattr(args, "entropy_coef", 0.0)) or bool(getattr(args, "use_adaptive_entropy", False))
    if has_bonus and loss not in NORMALISED_BEFORE:
        raise ValueError(
            f"select must be left out with loss_type={loss!r} and an entropy bonus, got both: the bonus would not be a "
            f"mean over the selected completions. Set loss_type to one of {', '.join(NORMALISED_BEFORE)}."
        )
