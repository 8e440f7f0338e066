"""Evaluation: what is counted and written for a hand-written `generate`, and the sampler on a tiny model."""

from __future__ import annotations

import itertools
import json
import math

import pytest
import torch

from manypaths import checkpoint
from manypaths.evaluate import evaluate, sampler, wilson_interval, write_whole
from manypaths.problems import Problem

PROBLEMS = [Problem(f"p{number}", f"{number} + {number}?", str(2 * number)) for number in range(1, 5)]


def answers(table):
    """A generate function that says what `table` holds for a question, in a box; None is an answer without a box."""

    def generate(prompts, n):
        said = [table[prompt.removeprefix("Q: ")] for prompt in prompts]
        return [["I give up" if one is None else rf"so \boxed{{{one}}}" for one in each[:n]] for each in said]

    return generate


RIGHT_ONCE = {"1 + 1?": [2, 3], "2 + 2?": [None, 4], "3 + 3?": [6, 6], "4 + 4?": [1, None]}


def test_accuracy_counts_the_first_answers_and_every_answer_is_written_in_order(tmp_path):
    out = tmp_path / "deep" / "answers.jsonl"
    found = evaluate(PROBLEMS, answers(RIGHT_ONCE), prompt="Q: {question}", out=out)
    assert found["accuracy"] == 2 / 4
    assert (found["low"], found["high"]) == wilson_interval(0.5, 4)
    assert (found["problems"], found["samples"], found["boxed"]) == (4, 1, 3 / 4)
    assert found["seconds"] >= 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["id"] for line in lines] == ["p1", "p2", "p3", "p4"]
    assert lines[0] == {
        "id": "p1",
        "question": "1 + 1?",
        "answer": "2",
        "samples": [{"text": r"so \boxed{2}", "answer": "2", "correct": True}],
    }
    assert lines[1]["samples"] == [{"text": "I give up", "answer": None, "correct": False}]


def test_of_several_samples_the_mean_of_means_counts(tmp_path):
    out = tmp_path / "answers.jsonl"
    found = evaluate(PROBLEMS, answers(RIGHT_ONCE), prompt="Q: {question}", samples=2, out=out)
    assert found["accuracy"] == pytest.approx((0.5 + 0.5 + 1 + 0) / 4)
    assert (found["samples"], found["boxed"]) == (2, 6 / 8)
    assert (found["low"], found["high"]) == wilson_interval(0.5, 4), "the interval is over problems, not samples"
    verdicts = [[one["correct"] for one in json.loads(line)["samples"]] for line in out.read_text().splitlines()]
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
        evaluate(problems, answers(RIGHT_ONCE), prompt="Q: {question}", samples=samples)


@pytest.mark.parametrize("count", [1, 3, 10, 128, 1319, 10**9])
def test_the_interval_is_wilsons_and_lies_within_0_and_1(count):
    z = 1.959964
    for hits in {0, 1, count // 3, count // 2, count - 1, count}:
        share = hits / count
        low, high = wilson_interval(share, count)
        assert 0 <= low <= share <= high <= 1
        assert low < high
        assert math.copysign(1, low) == 1
        for bound in (low, high):  # the closed form: bounds solve (share - p)^2 = z^2 p (1 - p) / count
            assert (share - bound) ** 2 == pytest.approx(z * z * bound * (1 - bound) / count, rel=1e-6, abs=1e-15)


def test_the_interval_is_known_for_one_case_and_shrinks_with_the_count():
    assert wilson_interval(0.3, 50) == pytest.approx((0.191040, 0.437495), abs=1e-5)
    widths = [high - low for low, high in (wilson_interval(0.3, count) for count in (10, 20, 40, 400, 4000))]
    assert all(later < earlier for earlier, later in itertools.pairwise(widths))


def test_a_file_is_written_whole_or_stays_as_it_was(tmp_path):
    path = tmp_path / "deep" / "file.json"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "new \ud800")
    assert path.read_text() == "old"
    write_whole(path, "new ü")
    assert path.read_text(encoding="utf-8") == "new ü"
    assert [each.name for each in path.parent.iterdir()] == ["file.json"]


PROMPTS = ["12 + 7 =", "a", "The answer to everything is", "{x}", "9", "one two three four five six", "a\nb", "zz zz"]


@pytest.fixture(scope="module")
def loaded(tiny_model):
    return checkpoint.load(str(tiny_model), dtype="float32")


def draw(loaded, prompts=PROMPTS, n=1, **named):
    return sampler(*loaded, **{"max_new_tokens": 8, **named})(prompts, n)


def test_greedy_answers_belong_to_their_prompts_whatever_the_batch(loaded):
    together = draw(loaded)
    assert len({each[0] for each in together}) == len(PROMPTS), "the answers tell the prompts apart"
    alone = [draw(loaded, [prompt])[0] for prompt in PROMPTS]
    assert together == alone
    for batch_size in (1, 3, 5):
        assert draw(loaded, batch_size=batch_size) == together
    assert draw(loaded, PROMPTS[::-1], batch_size=3) == together[::-1]
    assert draw(loaded, n=2, batch_size=3) == [each * 2 for each in together]


def test_samples_depend_on_the_seed_alone(loaded):
    hot = {"temperature": 1.0, "n": 4, "batch_size": 5}
    first = draw(loaded, seed=3, **hot)
    torch.rand(7)  # what the global state is does not matter
    assert draw(loaded, seed=3, **hot) == first
    assert draw(loaded, seed=4, **hot) != first
    assert all(len(each) == 4 for each in first)
    assert any(len(set(each)) > 1 for each in first)
    assert draw(loaded, seed=3) == draw(loaded, seed=4), "greedy needs no seed"


def test_a_tiny_nucleus_is_greedy(loaded):
    assert draw(loaded, temperature=1.0, top_p=1e-6) == draw(loaded)


def test_the_random_state_outside_is_left_alone(loaded):
    before = torch.get_rng_state()
    draw(loaded, temperature=1.0)
    assert torch.equal(torch.get_rng_state(), before)


def test_messages_go_through_the_chat_template(loaded):
    messages = [[{"role": "user", "content": prompt}] for prompt in PROMPTS]
    texts = [f"<|user|>{prompt}<|end|>\n<|assistant|>" for prompt in PROMPTS]
    assert draw(loaded, messages) == draw(loaded, texts)


def test_no_prompts_give_no_answers(loaded):
    assert draw(loaded, []) == []


@pytest.mark.parametrize("named", [{"batch_size": 0}, {"batch_size": -1}, {"max_new_tokens": 0}, {"temperature": -1.0}])
def test_settings_that_make_no_answers_are_refused(loaded, named):
    with pytest.raises(ValueError):
        draw(loaded, **named)
