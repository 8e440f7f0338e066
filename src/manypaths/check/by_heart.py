"""Training problems that the model has learnt by heart: it solves them far more often than held-out ones."""

from __future__ import annotations

from manypaths.check.held_out import ACCURACY as GRADED
from manypaths.check.held_out import HeldOut
from manypaths.check.outcome import Outcome, outcome, percent, unchecked
from manypaths.check.parts import LEAST_GROUPS, LEAST_LINES, clearest, measured, scored, series, too_few
from manypaths.check.settings import Settings
from manypaths.logs import Log, LoggedGroup
from manypaths.names import ACCURACY
from manypaths.statistics import Interval, difference, mean_of_shares

AHEAD = 0.1  # of training problems over held-out ones; smaller differences are common between two sets of problems
MOST_STEPS = 10  # no later step is among the first
ENOUGH = 30  # problems of several steps; with them an interval is narrower than the differences that are looked for

ADVICE = (
    "If the model was trained on these problems before, as by a cold start (SFT) or by data that contain them, "
    "reinforcement has little left to teach, and methods will hardly differ. Train on problems that it has not seen: "
    "of another seed, or many more of them, so that each is demonstrated less often. If the held-out problems are "
    "harder by design, this is no fault."
)


def by_heart(log: Log, settings: Settings) -> Outcome:
    """Whether the first steps solve far more of their problems than the evaluation before the training.

    The figure is the difference of two means over problems: the share of right completions of a problem in the first
    steps, all its groups together, and that of a held-out problem. Found where its interval lies above `AHEAD`.

    Step 1 samples with the weights that were evaluated, so it is compared alone where it has enough problems. Otherwise
    the first steps are those that sample `ENOUGH` problems, up to `MOST_STEPS`. Their weights have learnt something, so
    they must be ahead of the next evaluation, too. Without enough groups, or where a rule chose them, the metrics
    serve, whose lines are then the independent values.
    """
    held_out = settings.held_out
    if held_out is None:
        return unchecked(settings.no_held_out)
    groups = _first_groups(log) if held_out.all_groups else {}
    values, last = list(_by_problem(log, groups).values()), max((_step(log, at) for at in groups), default=0)
    of = f"{len(values)} training problems"
    if len(values) < LEAST_GROUPS:
        problems, groups, of = len(values), {}, "the training (by the metrics of the log)"
        values, last = _first_lines(log)
        if len(values) < LEAST_LINES:
            return unchecked(_lacking(problems, len(values)))
    when = _reference(held_out, last)
    if when is None:
        return unchecked(f"The first steps, up to step {last}, lack an evaluation after them. Check again after it.")
    if len(held_out.shares[when]) < LEAST_GROUPS:
        return unchecked(too_few(len(held_out.shares[when]), LEAST_GROUPS, "held-out problems"))
    start, evaluated = mean_of_shares(values), mean_of_shares(held_out.shares[when])
    ahead = difference(start, evaluated)
    steps = "in step 1" if last == 1 else f"up to step {last}"
    sentence = (
        f"{percent(start)} of the completions of {of} are right {steps}, and {percent(evaluated)} of those of "
        f"{len(held_out.shares[when])} held-out problems {f'after step {when}' if when else 'before the training'}: "
        f"{_points(ahead)}{held_out.sampling}."
    )
    return outcome(ahead.low > AHEAD, sentence, ahead, clearest(groups), ADVICE)


def _reference(held_out: HeldOut, last: int) -> int | None:
    """The step of the evaluation that steps up to `last` must be ahead of, None where it is still to come.

    It is the one before the training. Where the training made steps meanwhile, it is the better one of that and of the
    next evaluation.
    """
    if last <= 1:
        return 0
    later = [step for step in held_out.shares if step >= last]
    if not later:
        return None
    return max((0, min(later)), key=lambda step: sum(held_out.shares[step]) / max(len(held_out.shares[step]), 1))


def _first_groups(log: Log) -> dict[int, float]:
    """{position: share of right completions} of the groups of the first steps, whole steps at a time."""
    groups: dict[int, float] = {}
    for step in sorted({group.step for group in log.groups if group.step is not None and group.step <= MOST_STEPS}):
        groups |= measured(log, [at for at, group in enumerate(log.groups) if group.step == step], _right)
        if len({log.groups[at].prompt for at in groups}) >= (LEAST_GROUPS if step <= 1 else ENOUGH):
            break
    return groups


def _step(log: Log, position: int) -> int:
    return log.groups[position].step or 0


def _right(group: LoggedGroup) -> float | None:
    """The share of completions that the reward `accuracy` calls right, of those that it scored."""
    rewards = scored(group.rewards.get(GRADED, []))
    return sum(reward > 0.5 for reward in rewards) / len(rewards) if rewards else None


def _by_problem(log: Log, groups: dict[int, float]) -> dict[str, float]:
    """{prompt: the mean over its groups}: groups of one prompt are no independent values."""
    shares: dict[str, list[float]] = {}
    for position, share in groups.items():
        shares.setdefault(log.groups[position].prompt, []).append(share)
    return {prompt: sum(values) / len(values) for prompt, values in shares.items()}


def _first_lines(log: Log) -> tuple[list[float], int]:
    """(the accuracy of each line of metrics up to `MOST_STEPS`, the last of these steps)."""
    steps, values = series(log, [ACCURACY])
    early = {step: value for step, value in zip(steps, values, strict=True) if step is not None and step <= MOST_STEPS}
    return [min(1.0, max(0.0, value)) for value in early.values()], max(early, default=0)


def _lacking(problems: int, lines: int) -> str:
    if lines and not problems:
        return too_few(lines, LEAST_LINES, f"lines of metrics with {ACCURACY} up to step {MOST_STEPS}")
    return too_few(problems, LEAST_GROUPS, f"problems with verdicts up to step {MOST_STEPS}")


def _points(ahead: Interval) -> str:
    value, low, high = (100 * end for end in ahead)
    return f"{value:+.0f} points [{low:+.0f}, {high:+.0f}]"
