"""Evaluation with a hand-written `generate`: what is measured and written, and that it resumes."""

from __future__ import annotations

import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from forked import run_command

from manypaths.embed import NgramEmbedder
from manypaths.evaluation.evaluate import evaluate, evaluate_sets
from manypaths.evaluation.generate import Sample
from manypaths.evaluation.sampling import Sampler, Sampling, settings_of
from manypaths.evaluation.summary import add_moment, moments
from manypaths.files import atomic_write, read_json, read_jsonl
from manypaths.problems import Problem
from manypaths.results import check_settings, write_settings
from manypaths.statistics import estimate, interval, wilson_interval

PROBLEMS = [Problem(f"p{number}", f"{number} + {number}?", str(2 * number)) for number in range(1, 5)]


def boxed(table):
    """A generate whose completions have the answers of `table`, by question, in a box; None gives one without a box."""

    def generate(prompts, n):
        rows = [table[prompt.removeprefix("Q: ")] for prompt in prompts]
        return [["I give up" if answer is None else rf"so \boxed{{{answer}}}" for answer in row[:n]] for row in rows]

    return generate


def slowly(generate, seconds):
    """A generate that pauses before it samples."""

    def paused(prompts, n):
        time.sleep(seconds)
        return generate(prompts, n)

    return paused


RIGHT_ONCE = {"1 + 1?": [2, 3], "2 + 2?": [None, 4], "3 + 3?": [6, 6], "4 + 4?": [1, None]}


def test_accuracy_is_the_share_of_correct_problems_and_all_completions_are_written_in_order(tmp_path):
    out = tmp_path / "deep" / "completions.jsonl"
    began = time.perf_counter()
    measures = evaluate(PROBLEMS, slowly(boxed(RIGHT_ONCE), 0.05), prompt="Q: {question}", out=out)
    assert 0.05 <= measures["seconds"] <= time.perf_counter() - began
    assert measures["accuracy"] == 2 / 4
    assert (measures["low"], measures["high"]) == pytest.approx(wilson_interval(2 / 4, 4))
    assert (measures["problems"], measures["samples"], measures["boxed"]) == (4, 1, 3 / 4)
    assert read_jsonl(out)[0] == {
        "id": "p1",
        "question": "1 + 1?",
        "answer": "2",
        "samples": [{"text": r"so \boxed{2}", "tokens": None, "truncated": None, "answer": "2", "correct": True}],
        "timed_out": 0,
    }
    assert [line["id"] for line in read_jsonl(out)] == ["p1", "p2", "p3", "p4"]
    assert [path.name for path in out.parent.iterdir()] == ["completions.jsonl"]


def test_sets_and_moments_of_a_training_are_recorded_in_the_same_files(tmp_path):
    settings = settings_of(Sampling(), model="m", backend="transformers", prompt="Q: {question}")
    sampler = Sampler(boxed(RIGHT_ONCE), 2, "cpu")
    for step, moment in enumerate(("before", "step-1")):
        assert moment not in moments(tmp_path)
        measures = evaluate_sets({moment: PROBLEMS}, sampler, tmp_path, settings)[moment]
        add_moment(tmp_path, moment, step, "sums", measures)
        assert read_json(tmp_path / "summary.json")[moment] == {"step": step, **measures}
    assert moments(tmp_path) == {"before", "step-1"} == set(read_json(tmp_path / "summary.json"))
    counts = {"p1": [1, 1, [1], 1.0], "p2": [1, 0, [], 0.0], "p3": [1, 1, [1], 1.0], "p4": [1, 0, [], 0.0]}
    assert read_json(tmp_path / "counts.json") == {"before": {"sums": counts}, "step-1": {"sums": counts}}
    written = read_json(tmp_path / "settings.json")
    assert [environment["device"] for environment in written.pop("environments")] == ["cpu"]
    assert written == settings
    (tmp_path / "counts.json").write_text("[")
    with pytest.raises(ValueError, match=r"counts\.json is damaged"):
        moments(tmp_path)


def test_the_first_of_several_processes_alone_writes_settings(tmp_path):
    settings = settings_of(Sampling(), model="m", backend="transformers", prompt="Q: {question}")
    lines = []

    def evaluated(process):
        sampler = Sampler(boxed(RIGHT_ONCE), 2, f"device {process}")
        gathered = {"processes": (process, 2), "gather": lambda own: lines.extend(own) or lines}
        return evaluate_sets({"sums": PROBLEMS}, sampler, tmp_path, settings, **gathered)

    with pytest.raises(KeyError):  # here it does not wait for the lines of the first process
        evaluated(1)
    assert not (tmp_path / "settings.json").exists()
    assert evaluated(0)["sums"]["problems"] == 4
    (environment,) = read_json(tmp_path / "settings.json")["environments"]
    assert environment["device"] == "device 0"


def test_settings_of_a_folder_stay_and_environments_are_added(tmp_path):
    for device in ("cpu", "cuda", "cpu"):
        check_settings(tmp_path, {"seed": 1})
        write_settings(tmp_path, {"seed": 1}, {"device": device})
        (tmp_path / "sums.jsonl").write_text("")
    assert read_json(tmp_path / "settings.json")["environments"] == [{"device": "cuda"}, {"device": "cpu"}]
    with pytest.raises(ValueError, match="seed 1 there, 2 here"):
        check_settings(tmp_path, {"seed": 2})
    (tmp_path / "settings.json").unlink()
    with pytest.raises(ValueError, match="holds no results"):
        check_settings(tmp_path, {"seed": 1})


def test_accuracy_of_several_samples_is_the_mean_of_the_problems_means(tmp_path):
    out = tmp_path / "completions.jsonl"
    measures = evaluate(PROBLEMS, boxed(RIGHT_ONCE), prompt="Q: {question}", samples=2, out=out)
    assert measures["accuracy"] == pytest.approx((0.5 + 0.5 + 1 + 0) / 4)
    assert (measures["samples"], measures["boxed"]) == (2, 6 / 8)
    over_problems = interval(estimate([0.5, 0.5, 1.0, 0.0]))
    assert (measures["low"], measures["high"]) == over_problems != pytest.approx(wilson_interval(4 / 8, 8))
    verdicts = [[sample["correct"] for sample in json.loads(line)["samples"]] for line in out.read_text().splitlines()]
    assert verdicts == [[True, False], [False, True], [True, True], [False, False]]


def test_the_prompt_reaches_generate_with_the_question_in_it():
    seen = []

    def generate(prompts, n):
        seen.extend(prompts)
        return [[""] * n for _ in prompts]

    evaluate(PROBLEMS[:1], generate, prompt=[{"role": "user", "content": r"{question} \boxed{}"}], samples=3)
    assert seen == [[{"role": "user", "content": r"1 + 1? \boxed{}"}]]


def test_a_generate_that_leaves_out_a_problem_is_an_error():
    with pytest.raises(ValueError):
        evaluate(PROBLEMS, lambda prompts, n: [["x"] * n for _ in prompts[1:]], prompt="{question}")


@pytest.mark.parametrize(("problems", "samples"), [([], 1), (PROBLEMS, 0)])
def test_nothing_to_measure_is_an_error(problems, samples):
    with pytest.raises(ValueError, match="1 or more"):
        evaluate(problems, boxed(RIGHT_ONCE), prompt="Q: {question}", samples=samples)


def test_a_file_is_written_whole_or_stays_as_it_was(tmp_path):
    path = tmp_path / "deep" / "file.json"
    atomic_write(path, "old")
    with pytest.raises(UnicodeEncodeError):
        atomic_write(path, "new \ud800")
    assert path.read_text() == "old"
    atomic_write(path, "new ü")
    assert path.read_text(encoding="utf-8") == "new ü"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.json"]


def test_lengths_truncation_and_similarity_are_kept(tmp_path):
    def generate(prompts, n):
        return [[Sample("same words", 2, False), Sample("same words", 8, True)] for _ in prompts]

    named = {"prompt": "{question}", "samples": 2, "embedder": NgramEmbedder()}
    measures = evaluate(PROBLEMS, generate, out=tmp_path / "a.jsonl", **named)
    assert (measures["tokens"], measures["truncated"]) == (5.0, 0.5)
    assert measures["similarity"] == pytest.approx(1.0, abs=1e-5)


class Counting:
    """Completions that depend on the prompt alone; call number `death` is interrupted."""

    def __init__(self, death=None):
        self.death, self.calls = death, []

    def __call__(self, prompts, n):
        if len(self.calls) == self.death:
            raise KeyboardInterrupt
        self.calls.append(list(prompts))
        return [
            [f"{prompt} \\boxed{{{random.Random(prompt + str(k)).randint(1, 9)}}}" for k in range(n)]
            for prompt in prompts
        ]


@pytest.mark.parametrize("at_once", [1, 2, 3, 10])
def test_a_finished_batch_is_never_sampled_again_and_the_file_is_the_same(tmp_path, at_once):
    named = {"prompt": "{question}", "samples": 3, "at_once": at_once}
    problems = [Problem(f"p{number}", f"{'long ' * (number % 4)}{number}", str(number)) for number in range(11)]
    whole = Counting()
    expected = evaluate(problems, whole, out=tmp_path / "whole.jsonl", **named)
    out, calls = tmp_path / "cut.jsonl", []
    for death in (0, 1, 0, 2, None):
        generate = Counting(death)
        try:
            actual = evaluate(problems, generate, out=out, **named)
        except KeyboardInterrupt:
            part = tmp_path / "cut.jsonl.part"
            if part.exists():
                part.write_text(part.read_text() + '{"id": "p', encoding="utf-8")  # an incomplete line
        calls += generate.calls
    assert calls == whole.calls
    assert out.read_text() == (tmp_path / "whole.jsonl").read_text()
    again = evaluate(problems, Counting(0), out=out, **named)
    for measures in (actual, again):
        assert {**measures, "seconds": 0} == {**expected, "seconds": 0}


def in_threads(count, problems, out, deaths, **named):
    """(all calls of generate, measures) of an evaluation in processes: here threads that gather over a barrier."""
    barrier, gathered = threading.Barrier(count), {}
    generates = [Counting(death) for death in deaths]

    def work(which):
        def gather(own):
            gathered[which] = own
            barrier.wait()
            return [line for place in range(count) for line in gathered[place]]

        try:
            return evaluate(problems, generates[which], out=out, processes=(which, count), gather=gather, **named)
        except KeyboardInterrupt:
            return barrier.abort()
        except threading.BrokenBarrierError:
            return None

    with ThreadPoolExecutor(count) as pool:
        measures = list(pool.map(work, range(count)))
    return [call for generate in generates for call in generate.calls], measures


@pytest.mark.parametrize("at_once", [1, 3])
def test_processes_share_the_batches_and_the_file_is_the_same(tmp_path, at_once):
    """Also where they were stopped, and other numbers of processes resume."""
    named = {"prompt": "{question}", "samples": 2, "at_once": at_once}
    problems = [Problem(f"p{number}", f"{'long ' * (number % 4)}{number}", str(number)) for number in range(11)]
    whole, out = Counting(), tmp_path / "shared.jsonl"
    expected = evaluate(problems, whole, out=tmp_path / "whole.jsonl", **named)
    first, nothing = in_threads(2, problems, out, [1, None], **named)
    assert nothing == [None, None] and not out.exists() and len(first) >= 2
    second, actual = in_threads(3, problems, out, [None] * 3, **named)
    assert sorted(first + second) == sorted(whole.calls)
    assert out.read_text() == (tmp_path / "whole.jsonl").read_text()
    assert [{**measures, "seconds": 0} for measures in actual] == [{**expected, "seconds": 0}] * 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shared.jsonl", "whole.jsonl"]


def test_a_batch_that_was_half_written_is_sampled_again_whole(tmp_path):
    named = {"prompt": "{question}", "at_once": 2}
    evaluate(PROBLEMS, Counting(), out=tmp_path / "whole.jsonl", **named)
    first = (tmp_path / "whole.jsonl").read_text().splitlines(keepends=True)[0]
    (tmp_path / "cut.jsonl.part").write_text(first)
    generate = Counting()
    evaluate(PROBLEMS, generate, out=tmp_path / "cut.jsonl", **named)
    assert len(generate.calls) == 2
    assert (tmp_path / "cut.jsonl").read_text() == (tmp_path / "whole.jsonl").read_text()
    stale = json.loads(first)
    stale["samples"][0]["text"] = "of another batch"
    (tmp_path / "shared.jsonl.part").write_text(json.dumps(stale) + "\n")
    in_threads(2, PROBLEMS, tmp_path / "shared.jsonl", [None, None], **named)
    assert (tmp_path / "shared.jsonl").read_text() == (tmp_path / "whole.jsonl").read_text()


def test_completions_of_other_questions_are_not_taken_for_these(tmp_path):
    out, named = tmp_path / "a.jsonl", {"prompt": "{question}", "at_once": 1}
    evaluate(PROBLEMS, Counting(), out=out, **named)
    others = [*PROBLEMS[:3], Problem("p4", "something else", "7")]
    generate = Counting()
    evaluate(others, generate, out=out, **named)
    assert generate.calls == [["something else"]]
    assert [line["question"] for line in read_jsonl(out)] == [problem.question for problem in others]


def test_killed_three_times_a_command_ends_with_the_same_files(tiny_model, tmp_path):
    """A real model, the real command, SIGKILL."""
    words = ["--problems", "arithmetic", "--limit", "40", "--samples", "4", "--temperature", "1"]
    words += ["--max-new-tokens", "8", "--batch-size", "8"]
    output = tmp_path / "output"

    def start(out):
        return run_command(["evaluate", str(tiny_model), *words, "--out", str(out)], output)

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = start(whole)
    process.join()
    assert process.exitcode == 0, output.read_text()
    reached = 0
    for _ in range(3):
        process = start(killed)
        while len(read_jsonl(killed / "arithmetic.jsonl.part")) <= reached:
            assert process.is_alive(), output.read_text()
            time.sleep(0.001)
        process.kill()
        process.join()
        reached = len(read_jsonl(killed / "arithmetic.jsonl.part"))
        assert 0 < reached < 40
    process = start(killed)
    process.join()
    assert process.exitcode == 0, output.read_text()
    for path in whole.iterdir():
        assert (killed / path.name).read_text() == path.read_text()
    assert sorted(path.name for path in killed.iterdir()) == sorted(path.name for path in whole.iterdir())
