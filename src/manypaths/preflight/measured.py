"""What the study of docs/evidence.md measured of a recipe's method, said before a run and in its dry run."""

from __future__ import annotations

from manypaths.sections import Recipe

MMR, MAXRL = "mmr on all completions of a group", "maxrl"
TRADES = {MMR: (-8.5, 7.2), MAXRL: (-3.6, 6.4)}  # points of accuracy and of pass@8 at the end, minus those of GRPO


def measured(spec: Recipe) -> list[str]:
    """A sentence for each method of a recipe that traded accuracy for pass@8 in the study; none for most recipes."""
    method = spec.method
    advantages = [method.advantage] if isinstance(method.advantage, str) else method.advantage or []
    traded = [MMR] * (method.reweight == "mmr" and not method.among_correct) + [MAXRL] * ("maxrl" in advantages)
    return [
        f"{name} ended {-TRADES[name][0]} points of accuracy below GRPO and {TRADES[name][1]} points of pass@8 above "
        "it, with small models and a task with many right answers (docs/evidence.md). Compare it with none on your "
        "task."
        for name in traded
    ]
