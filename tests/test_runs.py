"""Run folders become `Run`s: one that the real trainer made, copies of it that lack something, and rubbish."""

import json
import math
import shutil
from pathlib import Path
from statistics import fmean

import pytest
import yaml

from manypaths.cli import main
from manypaths.comparison.compare import compare
from manypaths.comparison.configurations import grouped
from manypaths.comparison.read import read
from manypaths.comparison.runs import read_evaluation, read_run
from manypaths.files import read_jsonl
from manypaths.graded import count_all
from manypaths.names import METRICS, PARTS, shown_metrics
from manypaths.results import share_correct

STEPS = 10
OLD = Path(__file__).parent / "data" / "old_run"  # of commit 5ee801e


@pytest.fixture(scope="session")
def trained(tiny_model, tmp_path_factory):
    """A run folder as the trainer leaves it, evaluated before, every 5 steps and after."""
    folder = tmp_path_factory.mktemp("runs")
    content = {
        "model": {"name": str(tiny_model), "dtype": "float32"},
        "lora": {"r": 2, "target_modules": ["q_proj", "v_proj"]},
        "problems": {"name": "arithmetic", "options": {"count": 40, "seed": 1}},
        "prompt": "{question} ",
        "rewards": {"test_run.letters": 1.0},
        "method": {"reweight": "mmr"},
        "trainer": {
            "num_generations": 4,
            "per_device_train_batch_size": 8,
            "max_completion_length": 8,
            "max_steps": STEPS,
            "save_strategy": "no",
            "bf16": False,
            "disable_tqdm": True,
        },
        "evaluation": {
            "problems": {"name": "arithmetic", "options": {"count": 8, "seed": 2, "held_out": True}},
            "samples": 2,
            "temperature": 1.0,
            "max_new_tokens": 4,
            "every": 5,
        },
        "seed": 7,
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(content))
    assert main(["train", str(folder / "tiny.yaml"), "--out", str(folder / "tiny-7")]) == 0
    evaluation = folder / "tiny-7" / "evaluation"  # a random model is never right: these verdicts are made up
    counts = json.loads((evaluation / "counts.json").read_text())
    for number, when in enumerate(counts):
        lines = read_jsonl(evaluation / f"{when}.jsonl")
        for index, line in enumerate(lines):
            for sample, verdict in enumerate(line["samples"]):
                verdict["correct"] = (3 * number + 5 * index + 2 * sample) % 7 < 3
                verdict["answer"] = [None, "1", "2"][(index + sample * number) % 3]
        write_lines(evaluation / f"{when}.jsonl", lines)
        counts[when]["arithmetic"] = count_all(lines)
    (evaluation / "counts.json").write_text(json.dumps(counts))
    return folder / "tiny-7"


@pytest.fixture
def copy(trained, tmp_path):
    """A copy of it that a test may damage."""
    return shutil.copytree(trained, tmp_path / trained.name)


def write_lines(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def spent(line):
    return sum(line[f"seconds/{part}"] for part in PARTS)


def test_a_run_folder_is_read_whole(trained):
    run, lines = read_run(trained), read_jsonl(trained / "metrics.jsonl")
    assert (run.name, run.seed, run.notes) == ("tiny-7", 7, [])
    assert run.settings["method.reweight"] == "mmr" and run.settings["trainer.max_steps"] == STEPS
    assert run.settings["problems.options.count"] == 40 and "seed" not in run.settings
    where = json.loads((trained / "environment.json").read_text())
    gpus = [f"{where['gpus'].count(name)} x {name}" for name in dict.fromkeys(where["gpus"])]
    cpu = f"{where['cpu']}, " if where["cpu"] else ""
    assert run.machine == (", ".join(gpus) or f"{cpu}{where['cores']} cores, {where['threads']} threads")
    assert [step for step, _ in run.clock] == list(range(1, STEPS + 1))
    assert [when for _, when in run.clock] == pytest.approx(
        [sum(map(spent, lines[:count])) for count in range(1, STEPS + 1)]
    )
    assert run.parts == {part: pytest.approx(fmean(line[f"seconds/{part}"] for line in lines)) for part in PARTS}
    assert sum(run.parts.values()) * STEPS == pytest.approx(run.clock[-1][1])
    verls = {"diversity/raw_reward", "diversity/adjusted_reward"}
    of_parts = {name for name in METRICS if name.startswith(("history/", "update/"))}  # which this run leaves out
    assert {*METRICS, "diversity/lam"} - verls - of_parts <= set(run.curves) == {*shown_metrics(lines[0])}
    for key, curve in run.curves.items():
        assert curve == [(line["step"], line[key]) for line in lines]
    assert list(run.results) == [0, 5, STEPS]
    accuracies = set()
    for step, when in ((0, "before"), (5, "step-5"), (STEPS, "after")):
        score = run.results[step]["arithmetic"]
        lines = read_jsonl(trained / "evaluation" / f"{when}.jsonl")
        shares = {line["id"]: share_correct(line) for line in lines}
        assert score.by_problem("accuracy") == shares and len(lines) == 8
        assert score.mean("accuracy") == pytest.approx(fmean(shares.values()))
        assert score.measures == ["accuracy", "pass@2", "distinct@2", "majority"]
        accuracies.add(score.mean("accuracy"))
    assert len(accuracies) == 3


def test_a_run_folder_of_an_earlier_version_is_read_under_todays_names():
    run, lines = read_run(OLD), read_jsonl(OLD / "metrics.jsonl")
    assert run.settings["method.importance_ratio"] is False and "method.policy_ratio" not in run.settings
    for name, old in (
        ("groups/zero_std", "groups/without_spread"),
        ("diversity/vendi_score", "diversity/effective_number"),
    ):
        assert run.curves[name] == [(line["step"], line[old]) for line in lines] and old not in run.curves
    assert list(run.results) == [0, 3] and run.notes == []
    assert run.clock[-1] == (3, pytest.approx(sum(map(spent, lines))))


def test_runs_that_differ_by_their_seed_alone_are_of_one_group(trained, tmp_path):
    groups = []
    for name, key, value in (("other seed", "seed", 8), ("other method", "method", {"reweight": None})):
        copied = shutil.copytree(trained, tmp_path / name)
        content = yaml.safe_load((copied / "recipe.yaml").read_text())
        (copied / "recipe.yaml").write_text(yaml.safe_dump({**content, key: value}, sort_keys=False))
        groups.append(read_run(copied).group)
    assert read_run(trained).group == groups[0] != groups[1]


def test_whole_numbers_with_and_without_a_point_are_one_configuration(trained, copy):
    text = (copy / "recipe.yaml").read_text()
    (copy / "recipe.yaml").write_text(text.replace("letters: 1.0", "letters: 1").replace("seed: 7", "seed: 8"))
    assert (copy / "recipe.yaml").read_text() != text
    ours, theirs = read_run(trained), read_run(copy)
    assert ours.group == theirs.group and (ours.seed, theirs.seed) == (7, 8)


def test_without_metrics_there_are_no_times_and_the_rest_is_as_it_was(trained, copy):
    (copy / "metrics.jsonl").unlink()
    run, whole = read_run(copy), read_run(trained)
    assert (run.clock, run.parts, run.curves) == ([], {}, {})
    assert math.isnan(run.seconds_at(5))
    assert run.results == whole.results


def test_where_no_seconds_were_measured_there_are_no_times(trained, copy):
    lines = read_jsonl(copy / "metrics.jsonl")
    write_lines(
        copy / "metrics.jsonl",
        [{key: value for key, value in line.items() if not key.startswith("seconds/")} for line in lines],
    )
    run, whole = read_run(copy), read_run(trained)
    assert (run.clock, run.parts) == ([], {}) and math.isnan(run.seconds_at(0))
    assert (run.curves, run.results) == (whole.curves, whole.results)


def test_a_last_line_that_was_cut_off_is_left_out(trained, copy):
    lines = (copy / "metrics.jsonl").read_text().splitlines(keepends=True)
    (copy / "metrics.jsonl").write_text("".join(lines[:7]) + lines[7][:40])
    run, whole = read_run(copy), read_run(trained)
    assert run.clock == whole.clock[:7]
    assert {key: curve[:7] for key, curve in whole.curves.items()} == run.curves


def test_of_a_step_that_ran_twice_the_later_counts(trained, copy):
    lines = read_jsonl(copy / "metrics.jsonl")
    first = [{**line, "seconds/update": 100.0, "reward": -5.0} for line in lines[2:6]]
    write_lines(copy / "metrics.jsonl", [*lines[:2], *first, *lines[2:]])
    run, whole = read_run(copy), read_run(trained)
    assert (run.clock, run.parts, run.curves) == (whole.clock, whole.parts, whole.curves)


def as_before(folder):
    """Make the results in a folder those of an earlier version, which wrote shares in place of counts."""
    counts = json.loads((folder / "counts.json").read_text())
    of_moments = {
        when: {name: {id: own[1] / own[0] for id, own in of.items()} for name, of in counts[when].items()}
        for when in counts
    }
    (folder / "shares.json").write_text(json.dumps(of_moments))
    (folder / "counts.json").unlink()


def test_without_counts_the_completions_are_counted(trained, copy):
    (copy / "evaluation" / "counts.json").unlink()
    assert read_run(copy).results == read_run(trained).results
    shutil.copy(trained / "evaluation" / "counts.json", copy / "evaluation")
    as_before(copy / "evaluation")
    assert read_run(copy) == read_run(trained)


def test_of_an_earlier_version_without_completions_the_shares_are_left_and_a_sentence_says_so(trained, copy):
    as_before(copy / "evaluation")
    for path in (copy / "evaluation").glob("*.jsonl"):
        path.unlink()
    run, whole = read_run(copy), read_run(trained)
    for step, scores in run.results.items():
        assert scores["arithmetic"].shares == whole.results[step]["arithmetic"].by_problem("accuracy")
        assert scores["arithmetic"].measures == ["accuracy"]
    assert len(run.results) == 3 and run.notes == [
        "tiny-7 has no pass@K, distinct@K and majority in 3 of 3 evaluations, whose completions are gone."
    ]
    text = (copy / "evaluation" / "settings.json").read_text()
    (copy / "evaluation" / "settings.json").write_text(text.replace('"samples": 2', '"samples": 1'))
    assert read_run(copy).notes == []  # one completion has none of these measures


def test_completions_that_were_not_counted_by_key_have_every_measure_but_distinct_right_answers(trained, copy):
    counts = json.loads((copy / "evaluation" / "counts.json").read_text())
    for own in counts["after"]["arithmetic"].values():
        own[2] = None
    (copy / "evaluation" / "counts.json").write_text(json.dumps(counts))
    run, whole = read_run(copy), read_run(trained)
    assert run.results[STEPS]["arithmetic"].measures == ["accuracy", "pass@2", "majority"]
    assert run.results[5] == whole.results[5]
    assert run.notes == ["tiny-7 has no distinct@K in 1 of 3 evaluations, which did not count by key."]


def test_a_run_of_an_earlier_version_has_steps_0_and_the_last(trained, copy):
    summary = json.loads((copy / "evaluation" / "summary.json").read_text())
    old = {when: {key: summary[when][key] for key in summary[when] if key != "step"} for when in ("before", "after")}
    (copy / "evaluation" / "summary.json").write_text(json.dumps(old))
    (copy / "evaluation" / "counts.json").unlink()
    run, whole = read_run(copy), read_run(trained)
    assert run.results == {step: whole.results[step] for step in (0, STEPS)}


def test_without_evaluation_there_is_a_note(copy):
    shutil.rmtree(copy / "evaluation")
    run = read_run(copy)
    assert run.results == {} and run.clock
    assert run.notes == ["tiny-7 has no evaluation yet, so no accuracy."]


def test_a_run_under_way_says_how_far_it_is(trained, copy):
    (copy / "summary.json").unlink()
    assert read_run(copy).notes == ["tiny-7 is not finished: 10 of 10 steps."]
    write_lines(copy / "metrics.jsonl", read_jsonl(copy / "metrics.jsonl")[:6])
    for name in ("summary", "counts"):
        path = copy / "evaluation" / f"{name}.json"
        path.write_text(
            json.dumps({when: all for when, all in json.loads(path.read_text()).items() if when != "after"})
        )
    run, whole = read_run(copy), read_run(trained)
    assert run.notes == ["tiny-7 is not finished: 6 of 10 steps."]
    assert run.results == {step: whole.results[step] for step in (0, 5)}


def test_lines_that_hold_means_of_several_steps_give_the_same_clock(trained, copy):
    lines, means = read_jsonl(copy / "metrics.jsonl"), []
    for start in (0, 5):
        some = lines[start : start + 5]
        seconds = {key: fmean(line[key] for line in some) for key in some[0] if key.startswith("seconds/")}
        means.append({**some[-1], **seconds})
    write_lines(copy / "metrics.jsonl", means)
    run, whole = read_run(copy), read_run(trained)
    seconds = dict(whole.clock)
    assert run.clock == [(5, pytest.approx(seconds[5])), (10, pytest.approx(seconds[10]))]
    assert run.parts == pytest.approx(whole.parts)


def test_what_manypaths_evaluate_adds_are_benchmarks_of_its_step(trained, copy):
    small = ["--problems", "arithmetic", "--limit", "3", "--max-new-tokens", "4"]
    assert main(["evaluate", str(copy), *small, "--out", str(copy / "evaluation" / "step-7")]) == 0
    added = copy / "evaluation" / "step-7"
    shutil.copytree(added, copy / "evaluation" / "step-5")
    (copy / "evaluation" / "step-5" / "arithmetic.jsonl").rename(copy / "evaluation" / "step-5" / "svamp.jsonl")
    (copy / "evaluation" / "step-5" / "counts.json").unlink()  # of a version without
    run, whole = read_run(copy), read_run(trained)
    shares = {line["id"]: share_correct(line) for line in read_jsonl(added / "arithmetic.jsonl")}
    assert list(run.results) == [0, 5, 7, STEPS] and len(shares) == 3
    assert run.results[7] == read_evaluation(added).results[0] and list(run.results[7]) == ["arithmetic"]
    assert run.results[7]["arithmetic"].by_problem("accuracy") == shares
    assert run.results[5].pop("svamp") == run.results[7]["arithmetic"]
    assert {step: run.results[step] for step in (0, 5, STEPS)} == whole.results


@pytest.mark.parametrize("missing", ["recipe.yaml", "evaluation/counts.json"])
def test_the_evaluations_of_a_run_are_no_results_of_their_own(missing, copy):
    (copy / missing).unlink()
    runs, [refused] = read([copy / "evaluation"])
    assert runs == [] and f"Give the run's folder, {str(copy)!r}" in refused


def test_seconds_at_a_step_lie_on_a_line(copy):
    lines = read_jsonl(copy / "metrics.jsonl")
    write_lines(copy / "metrics.jsonl", [lines[4], lines[9]])
    run = read_run(copy)
    five, ten = spent(lines[4]) * 5, spent(lines[4]) * 5 + spent(lines[9]) * 5
    for step, expected in ((0, 0), (1, five / 5), (5, five), (6.5, five + 0.3 * (ten - five)), (10, ten)):
        assert run.seconds_at(step) == pytest.approx(expected)
    assert math.isnan(run.seconds_at(10.1)) and math.isnan(run.seconds_at(11))


def test_results_of_manypaths_evaluate_are_a_run_of_one_step(trained, tmp_path):
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(ValueError, match="has no finished benchmark yet"):
        read_evaluation(tmp_path)
    shutil.copy(trained / "evaluation" / "after.jsonl", tmp_path / "arithmetic.jsonl")
    (run,), refused = read([tmp_path])
    (score,), (own,) = (scores.values() for scores in (run.results[0], read_run(trained).results[STEPS]))
    assert refused == [] and score.counts == own.counts
    assert math.isnan(run.seconds_at(0)) and score.sampling == run.settings == {} and not run.trained


@pytest.mark.parametrize("share", ["NaN", "null", "7.0", "-0.1", "Infinity", '"1"'])
def test_what_is_no_share_of_correct_samples_leaves_the_run_out(share, trained, copy):
    as_before(copy / "evaluation")
    (copy / "evaluation" / "after.jsonl").unlink()
    shares = json.loads((copy / "evaluation" / "shares.json").read_text())
    problem = next(iter(shares["after"]["arithmetic"]))
    shares["after"]["arithmetic"][problem] = json.loads(share)
    (copy / "evaluation" / "shares.json").write_text(json.dumps(shares))
    runs, [refused] = read([trained, copy])
    assert [run.name for run in runs] == [trained.name]
    value = json.loads(share, parse_constant=lambda _: None)  # what is no number in JSON is missing
    assert f"must be from 0 to 1, got {value!r} for the problem {problem!r}." in refused
    assert str(copy) in refused


def test_how_completions_were_sampled_is_read_from_wherever_it_is_recorded(trained, copy, tmp_path):
    """By `train`, by an earlier version, which left it to the recipe, and by `evaluate`, also of a checkpoint."""
    expected = {"backend": "transformers", "dtype": "float32", "prompt": "{question} ", "samples": 2}
    expected |= {"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 4, "keys": "answer"}
    assert [score.sampling for scores in read_run(trained).results.values() for score in scores.values()] == [
        expected
    ] * 3
    (copy / "evaluation" / "settings.json").unlink(missing_ok=True)
    assert read_run(copy).results[5]["arithmetic"].sampling == expected
    settings = {"model": "m", "temperature": 0.6, "prompt": "Q: {question}", "limit": None, "seed": 3}
    for folder in (tmp_path / "results", copy / "evaluation" / "step-5"):
        folder.mkdir()
        (folder / "settings.json").write_text(json.dumps(settings))
        shutil.copy(trained / "evaluation" / "after.jsonl", folder / "aime24.jsonl")
    more = {"temperature": 0.6, "prompt": "Q: {question}", "keys": "answer"}
    run = read_evaluation(tmp_path / "results")
    assert run.results[0]["aime24"].sampling == read_run(copy).results[5]["aime24"].sampling == more
    expected = {"model.name": "m", "prompt": "Q: {question}"}
    assert run.settings == expected | {"evaluation.temperature": 0.6, "evaluation.keys": "answer"}


@pytest.mark.parametrize(
    "counts",
    [
        *("3", "null", "[1]", "[2, 1, [1], 1, 0]", "[2, 3, [3], 1]", "[2, -1, null, 1]", "[0, 0, [], 0]"),
        *("[2, 1, [1, 1], 1]", "[2, 1, [1, 0], 1]", "[2, 1, 1, 1]", "[2.0, 1, [1], 1]", "[true, 1, [1], 1]"),
        *("[2, 1, [1], 1.5]", '[2, 1, [1], "1"]'),
    ],
)
def test_what_are_no_counts_leaves_the_run_out(counts, trained, copy):
    path = copy / "evaluation" / "counts.json"
    written = json.loads(path.read_text())
    problem = next(iter(written["after"]["arithmetic"]))
    written["after"]["arithmetic"][problem] = json.loads(counts)
    path.write_text(json.dumps(written))
    runs, [refused] = read([trained, copy])
    assert [run.name for run in runs] == [trained.name]
    assert str(path) in refused and f"for the problem {problem!r}." in refused and "[correct by key]" in refused


def test_runs_of_several_starts_are_one_configuration_where_these_are_clusters(trained, tmp_path):
    def made(name, **changes):
        copied = shutil.copytree(trained, tmp_path / name)
        content = yaml.safe_load((copied / "recipe.yaml").read_text())
        content["model"]["name"] = changes.pop("model", content["model"]["name"])
        (copied / "recipe.yaml").write_text(yaml.safe_dump({**content, **changes}))
        return read_run(copied)

    alone, other = read_run(trained), made("other", model="start-2", seed=8)
    assert alone.group != other.group and alone.cluster is other.cluster is None and "cluster" not in alone.settings
    first, second = made("a", cluster="one"), made("b", cluster=2, model="start-2", seed=8)
    assert first.group == second.group not in (alone.group, other.group)
    assert (first.cluster, second.cluster) == ("one", "2") and {"cluster", "model.name"}.isdisjoint(first.settings)
    assert made("c", cluster=2, prompt="Q: {question}").group != first.group
    equal_seeds, repeated = made("d", cluster=2), made("e", cluster="one")
    assert not any("more than once" in note for note in compare([first, equal_seeds])["notes"])
    assert any("has seed 7 more than once" in note for note in compare([first, repeated])["notes"])


def nothing(folder):
    shutil.rmtree(folder)


def no_run(folder):
    shutil.rmtree(folder)
    folder.write_text("This is no run.")


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (nothing, "it does not exist"),
        (no_run, "has no recipe.yaml and no results"),
        (empty, "has no recipe.yaml and no results"),
    ],
)
def test_what_is_no_run_is_named_and_the_others_are_read(make, complaint, trained, tmp_path):
    make(bad := shutil.copytree(trained, tmp_path / "bad"))
    read_runs, (sentence,) = read([bad, trained])
    assert [run.name for run in read_runs] == ["tiny-7"]
    assert str(bad) in sentence and complaint in sentence and "\n" not in sentence and sentence.endswith(".")


DEEP = "[" * 100_000
DAMAGES = {
    "recipe.yaml": [
        b"a: [1, {",
        b"- a\n- list\n",
        b"",
        b"\xff\xfe\x00rubbish",
        b"a: !!python/object:os.system x\n",
        b"5",
    ],
    "evaluation/counts.json": [b'{"before": {"arith', b"[1, 2]", b'{"before": [1]}', DEEP.encode(), b"\x80\x81"],
    "evaluation/summary.json": [b"", b'{"before": 3}', b"null", DEEP.encode()],
    "metrics.jsonl": [b"\x00\xff\xfe\x80\n" * 9, b"rubbish\n", b"[1]\n", b'{"loss": 1}\n', DEEP.encode() + b"\n"],
}
NAMELESS = (b'{"before": [1]}', b'{"before": 3}', b'{"loss": 1}\n')  # sound JSON of another form
CASES = [(name, content) for name, contents in DAMAGES.items() for content in contents]


@pytest.mark.parametrize(("name", "content"), CASES, ids=[f"{name}: {content[:16]!r}" for name, content in CASES])
def test_a_broken_run_is_named_and_the_others_are_read(name, content, trained, tmp_path):
    for copy in ("a", "b", "c"):
        shutil.copytree(trained, tmp_path / copy, ignore=shutil.ignore_patterns("model", "checkpoints", "*.html"))
    (tmp_path / "b" / name).write_bytes(content)
    read_runs, (sentence,) = read([tmp_path])
    assert [run.name for run in read_runs] == ["a", "c"]
    assert all(run == read_run(tmp_path / run.name) for run in read_runs)
    assert str(tmp_path / "b") in sentence and len(sentence) < 500
    assert Path(name).name in sentence or content in NAMELESS
    assert sentence.endswith(".") and "\n" not in sentence


def test_run_folders_of_one_name_are_named_by_their_paths(trained, tmp_path):
    ignored = shutil.ignore_patterns("model", "checkpoints")
    folders = [shutil.copytree(trained, tmp_path / method / "7", ignore=ignored) for method in ("grpo", "mmr")]
    recipe = folders[0] / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("reweight: mmr", "reweight: null"))
    runs, refused = read(folders)
    assert refused == [] and [run.name for run in runs] == ["grpo", "mmr"]
    assert [group.name for group in grouped(runs).groups] == ["grpo", "mmr"]
    assert read(folders[:1])[0][0].name == "7"
