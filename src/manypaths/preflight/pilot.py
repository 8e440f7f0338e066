"""What a pilot says before a long run: how many groups have spread, what is cut off, what the run will take.

`manypaths.training.pilot` samples; this file makes the report of what it sampled, and the cautions that a pilot and the
log of a training share. No torch.
"""

from __future__ import annotations

import math
import textwrap
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from manypaths.names import CLIPPED_RATIO, ZERO_STD
from manypaths.preflight.workload import DEFAULTS, Workload
from manypaths.printable import escaped
from manypaths.sections import Recipe
from manypaths.statistics import estimate, interval, wilson_interval

Table = Sequence[Sequence[float]]  # [B, G], NaN for an unscored completion

FLAT, CUT_OFF = 0.5, 0.1  # shares above which a caution is due
STEPS = 10  # of a training, over which the shares of its cautions are taken
WITHIN = 0.05  # of a share, the precision that a pilot is measured by
WIDTH = 117


@dataclass(frozen=True)
class Generation:
    """One generation batch of the trainer: B groups of G completions."""

    raw: Table  # [B, G] weighted sum of the reward functions
    rewards: Mapping[str, Table]  # of each reward function, by its name in the recipe
    mean_length: float  # tokens
    cut_off: float  # share of the completions that have the most tokens and no end
    seconds: float  # sampling, rewards, embedding and reweighting


@dataclass(frozen=True)
class Share:
    """A share with its 95 % interval over groups, see `manypaths.statistics`."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.1%} [{self.low:.1%}, {self.high:.1%}]"


def share_of(values: Sequence[float]) -> Share:
    """The mean of a number from 0 to 1 for each group, 1 or more of them."""
    mean = estimate([list(values)])
    return Share(mean.value, *interval(mean))


@dataclass(frozen=True)
class Verdicts:
    """Of all groups, by one reward: above 0.5 is right, and an unscored completion is neither."""

    right: Share  # groups in which every scored completion is right
    wrong: Share
    correct: Share | None  # of the completions, None where none is scored


@dataclass(frozen=True)
class Pilot:
    """What was sampled, and the seconds of one update; the mean over all generation batches where not said otherwise.

    Raises ValueError for no generation batch.
    """

    generations: Sequence[Generation]
    update_seconds: float
    trained: float | None = None  # share of the completions of that update that were run; None where all must be

    def __post_init__(self) -> None:
        if not self.generations:
            raise ValueError("A pilot must have a generation batch, got none.")

    @property
    def raw(self) -> list[Sequence[float]]:
        return [group for generation in self.generations for group in generation.raw]

    def of(self, reward: str) -> list[Sequence[float]]:
        """[B, G] of all generation batches."""
        return [group for generation in self.generations for group in generation.rewards[reward]]

    def mean(self, part: Callable[[Generation], float]) -> float:
        return sum(map(part, self.generations)) / len(self.generations)

    @property
    def spread(self) -> Share:
        """Groups whose raw rewards are not all equal: 1 - `groups/zero_std`."""
        return share_of([has_spread(group) for group in self.raw])

    def verdicts(self, reward: str) -> Verdicts:
        groups = [scored(group) for group in self.of(reward)]
        right = [bool(group) and all(value > 0.5 for value in group) for group in groups]
        wrong = [bool(group) and not any(value > 0.5 for value in group) for group in groups]
        correct = [sum(value > 0.5 for value in group) / len(group) for group in groups if group]
        return Verdicts(share_of(right), share_of(wrong), share_of(correct) if correct else None)


def scored(rewards: Sequence[float]) -> list[float]:
    """The rewards without NaN."""
    return [reward for reward in rewards if not math.isnan(reward)]


def has_spread(rewards: Sequence[float]) -> bool:
    """Whether the scored completions of a group have different rewards, as `manypaths.methods.has_nonzero_std`."""
    values = scored(rewards)
    return bool(values) and max(values) > min(values)


def expected_batches(share: float, places: int, most: int) -> float:
    """The generation batches that dynamic sampling draws on average: until `places` groups have spread, `most` at most.

    The sum over b of the probability that b batches have too few of them: P(Binomial(b places, share) < places).

    Args:
        share: probability that a group has spread.
        places: groups of a batch.
        most: `dynamic_sampling.max_batches`.
    """
    return sum(_fewer(places, batches * places, share) for batches in range(most))


def _fewer(places: int, trials: int, share: float) -> float:
    """P(Binomial(trials, share) < places)."""
    if trials < places or share == 0:
        return 1.0
    if share == 1:
        return 0.0
    logs = (
        math.lgamma(trials + 1) - math.lgamma(count + 1) - math.lgamma(trials - count + 1)
        + count * math.log(share) + (trials - count) * math.log1p(-share)
        for count in range(places)
    )  # fmt: skip
    return min(1.0, math.fsum(map(math.exp, logs)))


def flat_caution(flat: float, spec: Recipe, verdicts: Verdicts | None = None) -> list[str]:
    """One sentence, and what to do, where more than half of the groups have equal rewards.

    Args:
        flat: their share.
        spec: the recipe.
        verdicts: which of the groups are all right and all wrong, where that is known.
    """
    if not flat > FLAT:
        return []
    problems = "problems that the model solves sometimes"
    if verdicts is not None and verdicts.right.value != verdicts.wrong.value:
        problems = "harder problems" if verdicts.right.value > verdicts.wrong.value else "easier problems"
    settings = ["dynamic_sampling.reward, which samples other prompts in their place"] * (
        not spec.dynamic_sampling.reward
    )
    settings += ["history.target, which passes over such prompts when they come again"] * (spec.history.target is None)
    others = "".join(f"; or set {setting}" for setting in settings)
    return [
        f"{flat:.0%} of the groups have equal rewards, and GRPO learns nothing from them. Take {problems}, or more "
        f"prompts with smaller groups (trainer.num_generations){others}."
    ]


def cut_off_caution(cut_off: float, spec: Recipe) -> list[str]:
    """One sentence, and what to do, where more than a tenth of the completions are cut off."""
    if not cut_off > CUT_OFF:
        return []
    settings = {**DEFAULTS, **spec.trainer}
    masked = bool(settings.get("mask_truncated_completions"))
    effect = "are left out of the loss" if masked else "are scored without their end"
    remedy = "" if masked else ", or set trainer.mask_truncated_completions=true, which leaves them out of the loss"
    return [
        f"{cut_off:.0%} of the completions are cut off at {settings['max_completion_length']} tokens and {effect}. "
        f"Raise trainer.max_completion_length{remedy}."
    ]


class LastSteps:
    """The shares of the last steps of a training, and their cautions, each of them once.

    Args:
        spec: the recipe.
        step: the step after which the log begins, above 0 in a resumed training.
    """

    def __init__(self, spec: Recipe, step: int = 0) -> None:
        self.spec, self.step = spec, step
        self.lines: deque[tuple[int, Mapping[str, Any]]] = deque()  # steps of a line of the log, and the line
        self.cautioned: set[str] = set()

    def add(self, step: int, logs: Mapping[str, Any]) -> list[str]:
        """The cautions that are due since this line of the log, whose values are means of the steps since the last."""
        self.lines.append((step - self.step, logs))
        self.step = step
        while sum(steps for steps, _ in self.lines) - self.lines[0][0] >= STEPS:
            self.lines.popleft()
        if sum(steps for steps, _ in self.lines) < STEPS:
            return []
        due = []
        for name, caution in ((ZERO_STD, flat_caution), (CLIPPED_RATIO, cut_off_caution)):
            sentences = [] if name in self.cautioned else caution(self._mean(name), self.spec)
            self.cautioned |= {name} if sentences else set()
            due += [f"in the last {STEPS} steps {sentence}" for sentence in sentences]
        return due

    def _mean(self, name: str) -> float:
        """NaN where no step has the metric."""
        values = [(steps, value) for steps, logs in self.lines if (value := logs.get(name)) is not None]
        total = sum(steps for steps, _ in values)
        return sum(steps * value for steps, value in values) / total if total else math.nan


def cautions(pilot: Pilot, spec: Recipe) -> list[str]:
    """The sentences of a pilot: none where most groups have spread and nine in ten completions end."""
    reward = verdict_reward(spec)
    flat = flat_caution(1 - pilot.spread.value, spec, pilot.verdicts(reward) if reward else None)
    return [*flat, *cut_off_caution(pilot.mean(lambda generation: generation.cut_off), spec)]


def verdict_reward(spec: Recipe) -> str | None:
    """The reward by which a completion is right: `method.correct`, else the shipped accuracy, else none."""
    return spec.method.correct or ("accuracy" if "accuracy" in spec.rewards else None)


def page(pilot: Pilot, spec: Recipe, run: Workload) -> str:
    """The report of `manypaths train RECIPES --pilot N`.

    Args:
        pilot: what was sampled.
        spec: the recipe of the run.
        run: its counts, with the number of its steps.

    Returns:
        The text, in lines of at most 119 characters; nothing that a model wrote is in it.
    """
    groups, spread = pilot.raw, pilot.spread
    count, batches = len(groups) * run.group, len(pilot.generations)
    shuffled = {"shuffle_dataset": True, **spec.trainer}["shuffle_dataset"]
    order = f"shuffled by seed {spec.seed}" if shuffled else "that of the data: later prompts may be of another kind"
    rows = {
        "prompts": f"{len(groups)}, those of the first steps, in the run's order ({order})",
        "completions": f"{count}, {run.group} of each prompt, in {batches} generation batch{'es' * (batches > 1)}",
        "groups with spread": f"{spread}, 95 % interval; {prompts_needed(spread.value)} prompts make it ± 5 points",
        **_verdict_rows(pilot, spec),
        "rewards": ", ".join(f"{escaped(name)} {_mean(pilot.of(name))}" for name in spec.rewards),
        "length": f"{pilot.mean(lambda generation: generation.mean_length):.1f} tokens; "
        f"{pilot.mean(lambda generation: generation.cut_off):.1%} cut off at "
        f"{ {**DEFAULTS, **spec.trainer}['max_completion_length']:,}",
        **_time_rows(pilot, spec, run),
    }  # fmt: skip
    lines = [
        line
        for key, text in rows.items()
        for line in textwrap.wrap(text, WIDTH, initial_indent=f"{key:<20}", subsequent_indent=" " * 20)
    ]
    return "\n".join(["Pilot, of the model as it is before training", *(f"  {line}" for line in lines)])


def prompts_needed(share: float, within: float = WITHIN) -> int:
    """The least number of groups of which this share has a 95 % interval that is no wider on either side."""
    count = 1
    while any(abs(end - share) > within for end in wilson_interval(share, count)):
        count += 1
    return count


def _verdict_rows(pilot: Pilot, spec: Recipe) -> dict[str, str]:
    reward = verdict_reward(spec)
    if reward is None:
        return {}
    verdicts = pilot.verdicts(reward)
    return {
        "groups all right": str(verdicts.right),
        "groups all wrong": str(verdicts.wrong),
        "correct": f"{verdicts.correct or 'not scored'} of the completions of a group on average, by {escaped(reward)}",
    }


def _mean(groups: Table) -> str:
    values = [value for group in groups for value in scored(group)]
    return f"{sum(values) / len(values):.3f}" if values else "not scored"


def _time_rows(pilot: Pilot, spec: Recipe, run: Workload) -> dict[str, str]:
    """Seconds of a generation and an update as measured, and what follows for the run."""
    generation = pilot.mean(lambda generation: generation.seconds)
    rows = {
        "a generation": f"{generation:.1f} s for {run.generation} completions, scoring included",
        "an update": f"{pilot.update_seconds:.1f} s, measured on {_part(pilot)}one batch; the new weights are dropped",
    }
    batches, reward = 1.0, spec.dynamic_sampling.reward
    if reward is not None:
        share = share_of([has_spread(group) for group in pilot.of(reward)]).value
        batches = expected_batches(share, run.generation // run.group, spec.dynamic_sampling.max_batches)
        rows["dynamic sampling"] = (
            f"{batches:.1f} generation batches for each that is used, if {share:.1%} of all groups have spread in "
            f"{escaped(reward)} and each of {spec.dynamic_sampling.max_batches} batches may be drawn"
        )
    step = generation * batches / run.updates + pilot.update_seconds
    rows["a step"] = f"{step:.1f} s, of which sampling and scoring {1 - pilot.update_seconds / step:.0%}"
    if run.steps is not None:
        sampling = duration(run.generations * batches * generation)
        total = duration(run.generations * batches * generation + run.steps * pilot.update_seconds)
        rows["the run"] = f"{run.steps:,} steps: {total}, of which sampling and scoring {sampling}. Not included: "
        rows["the run"] += f"loading, checkpoints, evaluations, {_saved_or_added(pilot, spec)}and that lengths change"
    return rows


def _saved_or_added(pilot: Pilot, spec: Recipe) -> str:
    """What the run samples or trains on otherwise than a pilot, in which dynamic sampling and the history are off."""
    added = ""
    if spec.dynamic_sampling.reward is not None and pilot.trained is not None and pilot.trained < 1:
        added = "that dynamic sampling leaves fewer flat groups in an update, which then takes longer, "
    if spec.history.target is not None:
        added += "that prompts are passed over, "
    return added


def _part(pilot: Pilot) -> str:
    """How much of its batch the update ran, which differs from batch to batch as the share of flat groups does."""
    return "" if pilot.trained is None else f"{pilot.trained:.0%} of "


def duration(seconds: float) -> str:
    """Seconds up to two minutes, minutes up to two hours, then hours."""
    for unit, size in (("seconds", 1), ("minutes", 60)):
        if seconds < 120 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 3600:.1f} hours"
