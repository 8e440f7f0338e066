"""What the names of metrics mean in lighteval, lm-evaluation-harness, verl, NeMo-RL, transformers and TRL.

Only what a format defines is a measure of `manypaths.counts`; any other name means nothing here, and the user must name
it with `--metric`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from manypaths.counts import ACCURACY, MAJORITY

REWARD = "reward"
HELD_OUT, TRAINING = "held-out", "training"


class Meaning(NamedTuple):
    """What a metric is: a measure of a benchmark, from a number of completions per problem."""

    measure: str
    samples: int | None = None  # None where the name does not state it
    benchmark: str = HELD_OUT
    note: str = ""  # a sentence for the reader

    @property
    def is_training(self) -> bool:
        return self.benchmark.startswith(TRAINING)


Dictionary = Callable[[str], Meaning | None]

SAMPLED = re.compile(r"(?:[a-z0-9]+_){0,3}(pass|avg|maj)@([a-z]|[0-9]{1,6})(?::(.{0,60}))?", re.DOTALL)
ONE_SAMPLE = {"acc", "acc_norm", "accuracy", "em", "exact_match", "extractive_match", "qem"}
LM_EVAL_ACCURACY = re.compile(r"acc|acc_norm|exact_match|em|math_verify|pass@1|pass_at_1|(?:prompt|inst)_level_\w*acc")
VERL = re.compile(r"val-(core|aux)/(.+)/(acc|reward|score)/(mean|best|maj)@([0-9]{1,6})(/mean)?", re.DOTALL)
NEMO = re.compile(r"validation(?:[-/](.+))?/(accuracy|pass@[0-9]{1,6})")


def in_lighteval(name: str) -> Meaning | None:
    """`pass@1:32_samples`, `math_pass@1:16_samples`, `pass@k:k=1&n=16`, `avg@n:n=64`, `maj@8`, `extractive_match`."""
    if name in ONE_SAMPLE or (name.endswith("_acc") and "/" not in name):
        return Meaning(ACCURACY, 1)
    if not (match := SAMPLED.fullmatch(name[:200])):
        return None
    kind, at, rest = match[1], match[2], match[3] or ""
    settings = {key: int(value) for key, value in re.findall(r"(?:^|&)([kn])=([0-9]{1,6})(?=&|$)", rest)}
    drawn = re.match(r"(?:avg)?([0-9]{1,6})(?:_samples)?$", rest)
    samples = int(drawn[1]) if drawn else settings.get("n")
    k = int(at) if at.isdecimal() else settings.get("k")
    if kind == "pass":
        return None if not k else _pass_at(k, samples)
    return Meaning(ACCURACY if kind == "avg" else MAJORITY, samples or k)


def in_lm_eval(name: str) -> Meaning | None:
    """`exact_match,strict-match`, `acc,none`, `pass@10,create_test`, and `exact_match,maj@64`."""
    base, _, chosen = name.partition(",")
    if vote := re.fullmatch("maj@([0-9]{1,6})", chosen):
        return Meaning(MAJORITY, int(vote[1])) if LM_EVAL_ACCURACY.fullmatch(base) else None
    if LM_EVAL_ACCURACY.fullmatch(base):
        return Meaning(ACCURACY)
    at_k = re.fullmatch("pass@([0-9]{1,6})", base)
    return _pass_at(int(at_k[1]), None) if at_k and int(at_k[1]) else None


def in_verl(name: str) -> Meaning | None:
    """`val-core/SET/acc/mean@16`, `best@4/mean`, `maj@4/mean`; NeMo-RL's `validation/accuracy`."""
    if match := NEMO.fullmatch(name):
        return (Meaning(ACCURACY) if match[2] == "accuracy" else _pass_at(int(match[2][5:]), None))._replace(
            benchmark=match[1] or HELD_OUT
        )
    match = VERL.fullmatch(name)
    if match is None or (match[4] == "mean") == bool(match[6]) or not int(match[5]):
        return None
    of_set, kind, samples = match[2], match[4], int(match[5])
    if match[3] != "acc":  # verl's core metric is the accuracy, and the reward where no accuracy is computed
        return Meaning(REWARD, samples, of_set) if kind == "mean" and match[1] == "core" else None
    if kind == "mean":
        return Meaning(ACCURACY, samples, of_set)
    if kind == "maj":
        return Meaning(MAJORITY, samples, of_set)
    note = "best@K of verl is drawn with replacement, so it is lower than pass@K of other tools."
    return _pass_at(samples, samples)._replace(benchmark=of_set, note=note)


def in_trainer(names: Iterable[str]) -> Dictionary:
    """What `eval_accuracy`, `eval_gsm8k_accuracy`, `rewards/accuracy_reward/mean`, `rewards/accuracies` mean.

    Args:
        names: All metrics of the log. An evaluation on a set S logs `eval_S_runtime`, which tells a set from a metric.
    """
    names = set(names)
    sets = {match[1] for name in names if (match := re.fullmatch("eval_(.+)_runtime", name[:1000]))}
    alone = "eval_accuracy" in names

    def meaning(name: str) -> Meaning | None:
        held_out = name.startswith("eval_")
        benchmark, rest = HELD_OUT if held_out else TRAINING, name.removeprefix("eval_")
        if held_out and (of_set := _set_in(rest, sets)):
            benchmark, rest = of_set, rest.removeprefix(f"{of_set}_")
        elif held_out and not alone and "/" not in rest and rest.endswith("_accuracy"):
            benchmark, rest = rest.removesuffix("_accuracy"), "accuracy"
        if rest == "rewards/accuracies":
            pairs = "training preference pairs" if not held_out else f"{benchmark} preference pairs"
            return Meaning(ACCURACY, None, pairs, "it is the share of pairs whose chosen completion has more reward.")
        function = rest.removeprefix("rewards/").removesuffix("/mean")
        if "/" in function or "accuracy" not in function.lower() or not (held_out or rest.startswith("rewards/")):
            return None
        return Meaning(ACCURACY, None, benchmark)

    return meaning


def measure_in_json(name: str) -> str | None:
    """The share that a metric is by its name in one of these formats; None for a plain number."""
    for meaning_of in (in_lm_eval, in_lighteval, in_verl, in_trainer([name])):
        meaning = meaning_of(name)
        if meaning is not None and meaning.measure != REWARD:
            return meaning.measure
    return None


def _set_in(name: str, sets: set[str]) -> str | None:
    """The longest of the sets that a name begins with, before an underscore."""
    ends = [index for index, letter in enumerate(name[:1000]) if letter == "_"]
    return next((name[:end] for end in reversed(ends) if name[:end] in sets), None)


def _pass_at(k: int, samples: int | None) -> Meaning:
    return Meaning(ACCURACY if k == 1 else f"pass@{k}", samples)
