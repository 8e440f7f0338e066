"""The groups of a generation, with what the methods made of them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Groups:
    """The groups of the last generation, gathered over all processes."""

    raw: Tensor  # [B, G] weighted sum of the reward functions, as TRL sums; NaN where all of them gave None
    adjusted: Tensor  # [B, G]
    inputs: dict[str, Tensor]  # what the methods wanted, by name (`manypaths.methods.inputs`); rewards are the raw ones
    diagnostics: dict[str, Tensor]  # what the methods reported about themselves: name -> [B] or [B, G]

    @property
    def similarity(self) -> Tensor | None:
        """[B, G, G]; None without an embedder and keys."""
        return self.inputs.get("similarity")

    def first(self, count: int | None) -> Groups:
        """The first groups alone (None: all of them), on the CPU, and the diagnostics of groups and completions."""
        whole = (self.raw.shape, self.raw.shape[:1])
        diagnostics = {name: values for name, values in self.diagnostics.items() if values.shape in whole}
        by_group = {name: values for name, values in self.inputs.items() if values.dim() > 0}
        kept = ({name: v[:count].cpu() for name, v in named.items()} for named in (by_group, diagnostics))
        return Groups(self.raw[:count].cpu(), self.adjusted[:count].cpu(), *kept)
