"""The pilot of a run: its report in closed forms, and the real trainer, whose first steps it must foresee."""

import itertools
import json
import math

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import TrainerState

from manypaths import recipe as recipes
from manypaths.cli import main
from manypaths.files import read_jsonl
from manypaths.methods import has_nonzero_std
from manypaths.preflight.pilot import (
    Generation,
    LastSteps,
    Pilot,
    cautions,
    cut_off_caution,
    duration,
    expected_batches,
    flat_caution,
    has_spread,
    page,
    prompts_needed,
    share_of,
)
from manypaths.preflight.workload import Workload
from manypaths.sections import Model, Problems, Recipe
from manypaths.statistics import wilson_interval
from manypaths.training.pilot import run_pilot
from manypaths.training.record import Recorder

NAN = math.nan
SPEC = Recipe(Model("m"), Problems("arithmetic"), {"num_generations": 4, "max_completion_length": 32})
WORKLOAD = Workload(
    per_device=8, accumulation=1, per_generation=1, iterations=1, group=4, processes=1, problems=40, steps=10
)
ZERO_STD, CLIPPED = "groups/zero_std", "completions/clipped_ratio"


def generation(raw, cut_off=0.0, seconds=2.0, mean_length=10.0):
    return Generation(raw, {"accuracy": raw}, mean_length, cut_off, seconds)


SAMPLED = []


def counted(completions, **_):
    """A reward of 0 that counts the completions."""
    SAMPLED.extend(completions)
    return [0.0] * len(completions)


def line_of(text, title):
    (line,) = [line for line in text.splitlines() if line.strip().startswith(title)]
    return " ".join(line.split())


# from rewards to a report


def test_the_shares_of_groups_are_counted():
    pilot = Pilot([generation([[1, 1, 1, 1], [0, 0, 0, 0]]), generation([[0, 1, 0, 0], [1, NAN, 1, 1]])], 3.0)
    assert pilot.spread.value == 0.25
    verdicts = pilot.verdicts("accuracy")
    assert (verdicts.right.value, verdicts.wrong.value, verdicts.correct.value) == (0.5, 0.25, (1 + 0 + 0.25 + 1) / 4)
    assert (pilot.spread.low, pilot.spread.high) == pytest.approx(wilson_interval(0.25, 4))


def test_the_report_has_the_measured_numbers_and_what_follows():
    pilot = Pilot([generation([[1, 1, 1, 1], [0, 1, 0, 0]], 0.25, 2.0), generation([[0, 0, 0, 1]] * 2, 0.0, 4.0)], 3.0)
    text = page(pilot, SPEC, WORKLOAD)
    assert "prompts 4, those of the first steps" in line_of(text, "prompts")
    assert line_of(text, "completions") == "completions 16, 4 of each prompt, in 2 generation batches"
    assert line_of(text, "groups with spread").startswith("groups with spread 75.0% [30.1%, 95.4%]")
    assert line_of(text, "rewards") == "rewards accuracy 0.438"
    assert line_of(text, "length") == "length 10.0 tokens; 12.5% cut off at 32"
    assert line_of(text, "a step") == "a step 6.0 s, of which sampling and scoring 50%"
    assert line_of(text, "the run").startswith(
        "the run 10 steps: 60 seconds, of which sampling and scoring 30 seconds."
    )
    assert max(map(len, text.splitlines())) <= 119


@pytest.mark.parametrize(("updates", "seconds"), [((2, 1, 4, 1), 2 / 2 + 3), ((4, 1, 1, 2), 2 * 4 / 2 + 3)])
def test_a_step_has_its_share_of_a_generation(updates, seconds):
    """A generation that serves two updates counts half in each; an update of two generations has both."""
    accumulation, _, per_generation, iterations = updates
    run = Workload(8, accumulation, per_generation, iterations, 4, 1)
    text = page(Pilot([generation([[0, 1, 0, 1]], seconds=2.0)], 3.0), SPEC, run)
    assert line_of(text, "a step").startswith(f"a step {seconds:.1f} s") and " the run  " not in text


def test_the_update_says_how_much_of_its_batch_it_ran():
    assert " 3.0 s, measured on one batch;" in page(Pilot([generation([[0, 1, 0, 1]])], 3.0), SPEC, WORKLOAD)
    text = page(Pilot([generation([[0, 1, 0, 1]])], 3.0, 0.75), SPEC, WORKLOAD)
    assert " 3.0 s, measured on 75% of one batch;" in " ".join(text.split())


def test_groups_without_a_scored_completion_have_no_spread_and_no_verdict():
    pilot = Pilot([generation([[NAN] * 4, [NAN] * 4])], 1.0)
    verdicts = pilot.verdicts("accuracy")
    assert (pilot.spread.value, verdicts.right.value, verdicts.wrong.value, verdicts.correct) == (0, 0, 0, None)
    text = page(pilot, SPEC, WORKLOAD)
    assert "accuracy not scored" in text and "not scored of the completions of a group on average, by accuracy" in text


@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_one_prompt_has_an_interval_that_says_how_little_it_shows(reward):
    spread = Pilot([generation([[reward] * 4])], 1.0).spread
    assert (spread.value, spread.low, spread.high) == (0, 0, pytest.approx(wilson_interval(0, 1)[1]))
    assert spread.high > 0.7
    with pytest.raises(ValueError, match="must have a generation batch"):
        Pilot([], 1.0)


def test_spread_is_that_of_the_trainer():
    groups = torch.randint(0, 2, (500, 3), generator=torch.Generator().manual_seed(0)).float() / 3
    groups[torch.rand(500, 3, generator=torch.Generator().manual_seed(1)) < 0.4] = NAN
    assert [has_spread(group) for group in groups.tolist()] == has_nonzero_std(groups).tolist()


def test_as_many_prompts_as_needed_and_no_more():
    for share in (0.0, 0.03, 0.5, 0.975, 1.0):
        count = prompts_needed(share)
        widths = [max(abs(end - share) for end in wilson_interval(share, n)) for n in (count - 1 or 1, count)]
        assert widths[1] <= 0.05 < widths[0]
    assert prompts_needed(0.5) == 381


def test_shares_between_0_and_1_have_wider_intervals_the_more_they_differ():
    alike, different = share_of([0.4, 0.5, 0.6, 0.5]), share_of([0.0, 1.0, 0.0, 1.0])
    assert alike.value == different.value == 0.5 and different.high - different.low > alike.high - alike.low


# dynamic sampling


def test_a_batch_of_one_group_is_drawn_as_often_as_a_geometric_number_says():
    for share, most in itertools.product((0.1, 0.5, 0.9), (1, 4, 10)):
        assert expected_batches(share, 1, most) == pytest.approx((1 - (1 - share) ** most) / share)
    assert expected_batches(0.0, 4, 10) == 10 and expected_batches(1.0, 4, 10) == 1


def test_the_expected_batches_are_those_of_all_outcomes():
    share, places, most, total = 0.3, 2, 3, 0.0
    for outcome in itertools.product((0, 1), repeat=places * most):
        drawn = next((b for b in range(1, most) if sum(outcome[: b * places]) >= places), most)
        total += drawn * math.prod(share if group else 1 - share for group in outcome)
    assert expected_batches(share, places, most) == pytest.approx(total)
    assert 1 < expected_batches(0.01, 2000, 3) <= 3


def test_dynamic_sampling_is_in_the_time_of_the_run():
    spec = Recipe(Model("m"), Problems("arithmetic"), SPEC.trainer)
    spec.dynamic_sampling.reward = "accuracy"
    text = page(Pilot([generation([[0, 0, 0, 0]] * 2, seconds=2.0)], 3.0), spec, WORKLOAD)
    assert line_of(text, "a step").startswith("a step 23.0 s") and "10.0 generation batches" in text


def test_the_time_of_the_run_is_that_of_its_generations_and_its_steps():
    """10 steps of a generation that serves 4: 3 generations, each of 10 batches of 2 s, and 10 updates of 3 s."""
    spec, run = Recipe(Model("m"), Problems("arithmetic"), SPEC.trainer), Workload(8, 1, 4, 1, 4, 1, 40, 10)
    for reward, text in ((None, "36 seconds, of which sampling and scoring 6 "), ("accuracy", "90 seconds, of which ")):
        spec.dynamic_sampling.reward = reward
        line = " ".join(page(Pilot([generation([[0, 0, 0, 0]] * 8)], 3.0), spec, run).split())
        assert f"the run 10 steps: {text}" in line
    assert "90 seconds, of which sampling and scoring 60 seconds" in line


def test_the_time_says_what_it_does_not_count():
    spec = Recipe(Model("m"), Problems("arithmetic"), SPEC.trainer)
    for reward, target, trained, texts in (
        (None, None, 0.5, []),
        ("accuracy", None, 1.0, []),
        ("accuracy", None, None, []),
        ("accuracy", None, 0.5, ["fewer flat groups in an update"]),
        (None, 0.25, None, ["prompts are passed over"]),
        ("accuracy", 0.25, 0.5, ["fewer flat groups in an update", "prompts are passed over"]),
    ):
        spec.dynamic_sampling.reward, spec.history.target = reward, target
        text = " ".join(page(Pilot([generation([[0, 1, 0, 1]])], 3.0, trained), spec, WORKLOAD).split())
        for part in ("fewer flat groups in an update", "prompts are passed over"):
            assert (part in text) == (part in texts)


# cautions


def test_a_caution_is_due_above_half_and_above_a_tenth():
    assert not flat_caution(0.5, SPEC) and not cut_off_caution(0.1, SPEC)
    assert not flat_caution(NAN, SPEC) and not cut_off_caution(NAN, SPEC)
    (flat,), (cut_off,) = flat_caution(0.51, SPEC), cut_off_caution(0.11, SPEC)
    assert "51% of the groups" in flat and "solves sometimes" in flat
    assert "set dynamic_sampling.reward" in flat and "set history.target" in flat
    both = Recipe(Model("m"), Problems("arithmetic"), {})
    both.dynamic_sampling.reward, both.history.target = "accuracy", 0.25
    assert flat_caution(0.51, both)[0].endswith("with smaller groups (trainer.num_generations).")
    assert "11% of the completions are cut off at 32 tokens" in cut_off and "mask_truncated_completions" in cut_off
    masked = Recipe(Model("m"), Problems("arithmetic"), {"mask_truncated_completions": True})
    assert "left out of the loss. Raise" in cut_off_caution(0.11, masked)[0]


@pytest.mark.parametrize(("reward", "advice"), [(0.0, "easier problems"), (1.0, "harder problems")])
def test_a_pilot_says_in_which_direction(reward, advice):
    pilot = Pilot([generation([[reward] * 4] * 3 + [[0, 1, 0, 1]])], 1.0)
    (flat,) = cautions(pilot, SPEC)
    assert flat.startswith("75% of the groups") and advice in flat
    assert cautions(Pilot([generation([[0, 1, 0, 1]])], 1.0), SPEC) == []


def test_the_log_cautions_once_over_ten_steps():
    log = LastSteps(SPEC)
    said = [log.add(step, {ZERO_STD: 0.9 if step > 10 else 0.4, CLIPPED: 0.0}) for step in range(1, 31)]
    (when,) = [step for step, sentences in enumerate(said, 1) if sentences]
    assert when == 13 and said[12] == ["in the last 10 steps " + flat_caution(0.55, SPEC)[0]]  # 7 x .4 + 3 x .9


def test_lines_of_several_steps_weigh_as_many():
    log = LastSteps(SPEC, step=20)
    assert not log.add(24, {ZERO_STD: 1.0}) and not log.add(28, {ZERO_STD: 0.1})
    assert not log.add(32, {ZERO_STD: 0.1})  # .4
    assert not log.add(33, {ZERO_STD: 1.0, CLIPPED: None})  # without the first line: below 10 steps; with it .45
    (sentence,) = log.add(43, {ZERO_STD: 0.6, CLIPPED: 0.1})
    assert sentence.startswith("in the last 10 steps 60%")


def test_a_resumed_log_counts_its_own_steps(tmp_path, capsys):
    recorder = Recorder(tmp_path, SPEC, {})
    recorder.on_train_begin(None, TrainerState(global_step=20), None)
    for step in range(21, 31):
        assert "Caution" not in capsys.readouterr().err, step
        recorder.on_log(None, TrainerState(global_step=step, max_steps=40), None, {"loss": 0.0, ZERO_STD: 1.0})
    assert "Caution: in the last 10 steps 100% of the groups" in capsys.readouterr().err


def test_durations_are_short():
    assert [duration(seconds) for seconds in (3.4, 119, 120, 7199, 7200)] == [
        "3 seconds", "119 seconds", "2 minutes", "120 minutes", "2.0 hours",
    ]  # fmt: skip


# the real trainer


@pytest.fixture
def settings(tiny_recipe):
    """Without dropout and without learning, so that a run's later steps sample from the policy of the pilot."""
    tiny_recipe["lora"]["lora_dropout"] = 0.0
    tiny_recipe["evaluation"] = None
    tiny_recipe["rewards"] = {"accuracy": 1.0, "test_run.seldom": 0.5}
    tiny_recipe["trainer"] |= {"learning_rate": 0.0, "save_strategy": "no"}
    return tiny_recipe


@pytest.fixture
def command(settings, tmp_path):
    """Runs `manypaths train` on the settings, as they are then -> the exit code."""

    def run(*words):
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(settings))
        return main(["train", str(path), *map(str, words)])

    return run


@pytest.mark.parametrize(
    ("own", "steps", "sections"),
    [
        ({}, 6, {}),
        ({"per_device_train_batch_size": 4, "gradient_accumulation_steps": 3, "steps_per_generation": 1}, 4, {}),
        ({"steps_per_generation": 2, "num_iterations": 2}, 12, {}),
        ({}, 6, {"select": {"count": 2, "rule": "max_variance"}}),
    ],
    ids=["a batch a step", "three batches a step", "four steps a batch", "two of each group"],
)
def test_a_pilot_samples_what_a_run_would_if_it_learnt_nothing(own, steps, sections, settings, command, tmp_path):
    settings |= sections
    settings["trainer"] |= own | {"max_steps": steps}
    run = tmp_path / "run"
    assert command("--out", run) == 0
    lines = [line for line in read_jsonl(run / "metrics.jsonl") if ZERO_STD in line]
    pilot, workload = run_pilot(recipes.read([str(tmp_path / "tiny.yaml")], []), tmp_path / "none", 12)
    assert workload.steps == steps and len(pilot.raw) == 12
    for logged, measured in {
        ZERO_STD: 1 - pilot.spread.value,
        CLIPPED: pilot.mean(lambda generation: generation.cut_off),
        "completions/mean_length": pilot.mean(lambda generation: generation.mean_length),
        "rewards/seldom/mean": torch.tensor(pilot.of("test_run.seldom")).mean().item(),
    }.items():
        assert sum(line[logged] for line in lines) / len(lines) == pytest.approx(measured), logged
    assert 0 < pilot.spread.value < 1
    assert pilot.update_seconds > 0 and all(generation.seconds > 0 for generation in pilot.generations)


def test_a_pilot_leaves_no_trace(settings, command, tmp_path, capsys):
    settings["trainer"] |= {"learning_rate": 1e-2, "save_strategy": "steps", "save_steps": 1, "log_completions": True}
    run, other = tmp_path / "run", tmp_path / "other"
    assert command("--pilot", 6, "--out", run) == 0
    printed = capsys.readouterr().out
    assert not run.exists() and "groups with spread" in printed and "Nothing was kept" in printed
    assert all(character.isprintable() for character in printed.replace("\n", ""))
    assert not any(name in printed for name in ("Completion", "Prompt", "assistant"))  # of TRL's table
    assert command("--out", run) == 0
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in run.rglob("*") if path.is_file()}
    assert main(["train", "--out", str(run), "--pilot", "3"]) == 0
    assert before == {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in run.rglob("*") if path.is_file()}
    assert command("--out", other) == 0
    weights, without = (load_file(folder / "model" / "adapter_model.safetensors") for folder in (run, other))
    assert weights.keys() == without.keys()
    for name, values in weights.items():
        torch.testing.assert_close(values, without[name], rtol=0, atol=0)


def test_a_model_that_is_always_wrong_is_foreseen_to_the_last_group(settings, command, tmp_path, capsys):
    settings["rewards"] = {"accuracy": 1.0}
    settings["method"] = {"skip_zero_advantage": True}
    settings["trainer"] |= {"max_steps": 12, "learning_rate": 1e-3}
    run = tmp_path / "run"
    assert command("--pilot", 20, "--out", run) == 0
    printed, warned = capsys.readouterr()
    assert line_of(printed, "groups with spread").startswith("groups with spread 0.0% [0.0%,")
    assert "measured on 0% of one batch" in line_of(printed, "an update")
    assert line_of(printed, "groups all wrong").startswith("groups all wrong 100.0% [")
    assert "Caution: 100% of the groups have equal rewards" in warned and "easier problems" in warned
    assert warned.count("are cut off at 8 tokens") == 1
    assert command("--out", run) == 0
    assert {line[ZERO_STD] for line in read_jsonl(run / "metrics.jsonl")} == {1.0}
    warned = capsys.readouterr().err
    assert warned.count("Caution: in the last 10 steps 100% of the groups") == 1
    assert warned.count("of the completions are cut off") == 1


def test_a_pilot_with_dynamic_sampling_samples_each_prompt_once(settings, command, capsys):
    settings["dynamic_sampling"] = {"reward": "accuracy", "max_batches": 3}
    settings["history"], settings["method"]["correct"] = {"target": 0.25}, "accuracy"
    settings["rewards"] = {"accuracy": 1.0, "test_pilot.counted": 0.0}
    SAMPLED.clear()
    assert command("--pilot", 4) == 0
    printed = capsys.readouterr().out
    assert len(SAMPLED) == 16
    assert line_of(printed, "completions").startswith("completions 16,") and "3.0 generation batches" in printed


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--pilot", "0"], "--pilot must be a number of prompts, 1 or more, got 0."),
        (["--pilot", "4", "--dry-run"], "--dry-run and --gpu must be left out of --pilot"),
        (["--pilot", "4", "--gpu", "h100"], "--dry-run and --gpu must be left out of --pilot"),
        (["--pilot", "4", "--processes", "1"], "--processes and --launch must be left out of --pilot"),
        (["--pilot", "4", "--launch", "zero2"], "--processes and --launch must be left out of --pilot"),
        (["--pilot", "41"], "--pilot must be at most 40, the problems of the training set, got 41."),
        (["--pilot", "4", "problems.options.count=1"], "--pilot must be at most 1,"),
        (["--pilot", "1", "problems.options.count=1"], "must fill a generation batch of 2 prompts, got 1 problems."),
        (["--pilot", "4", "trainer.temperature=0"], "trainer.temperature must be more than 0"),
    ],
)
def test_what_cannot_be_done_is_refused_before_a_model_is_loaded(words, sentence, settings, command, tmp_path, capsys):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (tmp_path / "broken" / "model.safetensors").write_text("found, and cannot be loaded")
    assert command(f"model.name={tmp_path / 'broken'}", *words) == 2
    assert sentence in capsys.readouterr().err


def test_the_dry_run_points_to_the_pilot(command, capsys):
    assert command("--dry-run") == 0
    assert "--pilot 32" in capsys.readouterr().out.splitlines()[-2]
