"""What a recipe is warned of, before a run and in its dry run."""

from __future__ import annotations

from manypaths.recipe import Recipe


def cautions(spec: Recipe) -> list[str]:
    """A sentence for each known harm of a recipe; none for most."""
    method = spec.method
    weighted = [name for name, weight in spec.rewards.items() if weight]
    others = [name for name in weighted if name != method.correct]
    if method.reweight is None or method.among_correct or not others or len(weighted) < 2:
        return []
    listed = " and ".join(others)
    return [
        f"{method.reweight} acts on all completions of a group here, and {listed} can differ where nothing in it is "
        "right: then the wrong completion that is least like the others gains. Set method.among_correct=true "
        "to move credit among right completions only."
    ]
