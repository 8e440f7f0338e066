"""The inputs of methods that come from the texts of completions: their similarity, and keys of their ways.

Every trainer makes them in two steps: each process works on its own completions, the rows are gathered over all
processes, and then groups are formed. Only what a method wants is computed and gathered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from manypaths.embed import Embedder, deduplicate_rows, text_hashes
from manypaths.keys import Keys, call_keys, needs_whole_groups, same_key
from manypaths.methods import ADVANTAGES, REWEIGHTERS, cosine_similarity
from manypaths.methods.contracts import call_embedder, check_functions
from manypaths.methods.effect import Scaling, check_effect
from manypaths.methods.inputs import check_inputs, inputs_of
from manypaths.names import name_of

REMEDIES = {  # for an input that a trainer could have
    "similarity": 'Pass embedder=SentenceEmbedder("..."), or keys=manypaths.keys.answer.',
    "keys": "Pass keys=manypaths.keys.answer, or a function of your own.",
    "correct": "Pass correct=NAME, the reward function by which a completion is correct (above 0.5).",
}
ADVANTAGES_WORK_IN = (
    "It works in DiverseGRPOTrainer(advantage=...), verl (diversity.advantage) and slime "
    "(post_process_rewards(advantage=...)), which have advantages."
)


class CompletionInputs:
    """Similarity and keys of completions, as far as methods ask for them.

    Args:
        embedder: texts to vectors. Where there is one, `similarity` is made of it whether or not a method wants it, for
            the metrics of diversity.
        keys: completions and problems to keys. Without an embedder, `similarity` is 1 where keys are equal and 0
            elsewhere.
        methods: by role (`reweight`, `advantage`); None where there is none.
        available: names of further inputs that the trainer has, by role.
        remedies: for an input that is missing, what to do; `REMEDIES` and the trainer's own.
        scaling: what the trainer divides rewards by afterwards; None where that is unknown.

    Raises:
        ValueError: for what is no function, for a method whose inputs are not all there, for a reweighter that returns
            advantages, and for one that has no effect or too much of it with this scaling (`check_effect`).
    """

    def __init__(
        self,
        embedder: Embedder | None,
        keys: Keys | None,
        methods: Mapping[str, Callable[..., Any] | None],
        available: Mapping[str, Sequence[str]],
        remedies: Mapping[str, str] = REMEDIES,
        scaling: Scaling | None = None,
    ) -> None:
        self.keys, self._available, self._remedies, self._scaling = keys, available, remedies, scaling
        self.replace(embedder, methods)

    def replace(self, embedder: Embedder | None, methods: Mapping[str, Callable[..., Any] | None]) -> None:
        """Take another embedder and other methods. Raises ValueError as the class does, and then nothing changes."""
        check_functions(embedder=embedder, keys=self.keys, **methods)
        given = {"keys"} if self.keys is not None else set()
        given |= {"similarity"} if self.keys is not None or embedder is not None else set()
        wanted = given & {"similarity"}
        for role, method in methods.items():
            if method is not None:
                check_inputs(method, role, {*given, *self._available[role]}, self._remedies)
                if role == "reweight":
                    check_returns_rewards(method)
                    if self._scaling is not None and methods.get("advantage") is None:  # which may undo the scaling
                        check_effect(method, self._scaling)
                wanted |= {*inputs_of(method, role)}
        self.embedder, self.methods, self.wanted = embedder, dict(methods), wanted
        self.wants_keys = "keys" in wanted or (embedder is None and self.keys is not None)
        self.wants_whole_groups = self.wants_keys and self.keys is not None and needs_whole_groups(self.keys)

    def of_process(self, completions: list[str], problems: list[str]) -> dict[str, Tensor]:
        """Rows of n completions of this process, to be gathered: embeddings [n, D], hashes of texts [n], keys [n]."""
        rows: dict[str, Tensor] = {}
        if self.embedder is not None:
            rows["embeddings"] = call_embedder(self.embedder, completions)
            rows["hashes"] = text_hashes(completions)
        if self.keys is not None and self.wants_keys and not self.wants_whole_groups:
            rows["keys"] = call_keys(self.keys, completions, problems, size=1)
        return rows

    def of_groups(
        self, rows: Mapping[str, Tensor], groups: torch.Size, copies: bool, texts: Sequence[tuple[str, str]] = ()
    ) -> dict[str, Tensor]:
        """Inputs by name, of rows of all processes, group after group.

        Args:
            rows: what `of_process` gave, of N = B * G completions.
            groups: [B, G].
            copies: whether rows of several processes were gathered, so that two embeddings of one text may differ by
                rounding; then each text gets the first one's.
            texts: N completions and their problems, where `wants_whole_groups`; keys are then made here.

        Returns:
            `similarity` [B, G, G] and `keys` [B, G], as far as they are asked for.
        """
        inputs: dict[str, Tensor] = {}
        if self.keys is not None and self.wants_whole_groups:
            completions, problems = ([pair[part] for pair in texts] for part in (0, 1))
            inputs["keys"] = call_keys(self.keys, completions, problems, size=groups[1]).view(groups)
        elif "keys" in rows:
            inputs["keys"] = rows["keys"].view(groups)
        if "embeddings" in rows:
            embeddings = rows["embeddings"]
            if copies:
                embeddings = deduplicate_rows(embeddings, rows["hashes"])
            inputs["similarity"] = cosine_similarity(embeddings.view(*groups, -1))
        elif "keys" in inputs:
            inputs["similarity"] = same_key(inputs["keys"])
        return inputs


def is_correct(rewards: Tensor) -> Tensor:
    """1 where a reward is above 0.5, 0 where it is not, NaN where it is NaN."""
    return (rewards > 0.5).to(rewards).masked_fill(rewards.isnan(), torch.nan)


def check_returns_rewards(reweight: Callable[..., Any]) -> None:
    """Raise ValueError for a method of `ADVANTAGES`, bound or wrapped, in the place of a reweighter."""
    function: Any = reweight
    while (inner := getattr(function, "func", getattr(function, "__wrapped__", None))) is not None:
        function = inner
    if any(function is own for own in ADVANTAGES.values()) and not any(function is own for own in REWEIGHTERS.values()):
        raise ValueError(f"reweight {name_of(reweight)!r} must return rewards, got an advantage. {ADVANTAGES_WORK_IN}")
