"""Logs in JSON lines: our run folder, verl's rollouts and anybody's lines; no group is guessed, no line is lost."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from manypaths import logs
from manypaths.cli import main, parser
from manypaths.logs import LoggedGroup, Options, arguments

Entry = dict[str, Any]
HOSTILE = [
    "</script><script>alert(1)</script>",
    "\x1b[2J\x1b[31m",
    "\u202e\u2028\ud800",
    "{{data}} ${1}",
    "",
    "a" * 9000,
]


def write(path: Path, entries: list[Entry]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), "utf-8")
    return path


def line(prompt: str = "a", text: str = "x", reward: float | None = 1.0, **more: Any) -> Entry:
    return {"prompt": prompt, "completion": text, "reward": reward, **more}


def blocks(*prompts: str, size: int = 3, **more: Any) -> list[Entry]:
    return [line(prompt, f"{prompt}{at}", float(at), **more) for prompt in prompts for at in range(size)]


def shape(groups: list[LoggedGroup]) -> list[tuple[int | None, str, int]]:
    return [(group.step, group.prompt, len(group.completions)) for group in groups]


# Anybody's lines


def test_lines_with_the_usual_columns_are_read(tmp_path: Path) -> None:
    more = {"advantage": 0.5, "correct": True, "tokens": 7, "truncated": False, "source": "web"}
    entries = [line(prompt, "x", reward, step=2, **more) for prompt in ("a", "b") for reward in (1.0, None)]
    log = logs.read(write(tmp_path / "log.jsonl", entries))
    assert log.kind == logs.LINES and shape(log.groups) == [(2, "a", 2), (2, "b", 2)]
    group = log.groups[0]
    assert group.rewards == {"reward": [1.0, None]} and group.total == [1.0, None]
    assert (group.advantages, group.correct, group.tokens) == ([0.5] * 2, [True] * 2, [7] * 2)
    assert group.truncated == [False] * 2 and group.extra == {"source": ["web"] * 2}


def test_columns_are_named_and_paths_reach_into_them(tmp_path: Path) -> None:
    entries = [
        {
            "q": "a",
            "out": [{"role": "assistant", "content": text}],
            "r": {"ok": at, "form": 0.5},
            "at": 3,
            "tokens": [1],
        }
        for at, text in enumerate("xy")
    ]
    said = Options("q", "out", "at", rewards={"r.ok": 1.0, "r.form": 2.0}, correct="r.ok")
    [group] = logs.read(write(tmp_path / "log.jsonl", entries), said).groups
    assert (group.step, group.completions, group.total, group.correct) == (3, ["x", "y"], [1.0, 2.0], [False, True])
    assert group.rewards == {"r.ok": [0.0, 1.0], "r.form": [0.5, 0.5]} and group.tokens is None


def test_a_row_may_be_a_group(tmp_path: Path) -> None:
    entries = [
        {"prompt": "a", "completions": ["x", "y"], "rewards": [0, 1], "tokens": [4, 5]},
        {"prompt": "a", "completions": ["z", "z", "z"], "rewards": [1, 1, None], "tokens": [4, 5, 6]},
    ]
    path = write(tmp_path / "log.jsonl", entries)
    first, second = logs.read(path).groups
    assert (first.total, second.total, second.tokens) == ([0.0, 1.0], [1.0, 1.0, None], [4, 5, 6])
    entries[1]["rewards"] = [1, 1]
    with pytest.raises(ValueError, match=r"log.jsonl, line 2: 'rewards' must be a list of 3, one for each completion"):
        logs.read(write(path, entries))


@pytest.mark.parametrize("suffix", [".json", ".parquet"])
def test_other_tables_are_read_by_the_same_columns(tmp_path: Path, suffix: str) -> None:
    path, entries = tmp_path / f"log{suffix}", blocks("a", "b", step=1)
    if suffix == ".json":
        path.write_text(json.dumps(entries))
    else:
        pd.DataFrame(entries).to_parquet(path)
    log = logs.read(path)
    assert log.kind == (logs.LINES if suffix == ".json" else logs.TABLE)
    assert shape(log.groups) == [(1, "a", 3), (1, "b", 3)]


def test_without_steps_only_neighbours_are_a_group(tmp_path: Path) -> None:
    log = logs.read(write(tmp_path / "log.jsonl", blocks("a", "b", "a")))
    assert shape(log.groups) == [(None, "a", 3), (None, "b", 3), (None, "a", 3)]
    assert any("no step" in note for note in log.notes)
    shuffled = blocks("a", "b", "c", size=4)
    random.Random(0).shuffle(shuffled)
    with pytest.raises(ValueError, match=r"must have the same number of completions, got"):
        logs.read(write(tmp_path / "log.jsonl", shuffled))
    with_steps = [{**entry, "step": 1} for entry in shuffled]
    assert sorted(shape(logs.read(write(tmp_path / "log.jsonl", with_steps)).groups)) == [(1, p, 4) for p in "abc"]


def test_groups_of_any_order_come_back_by_step(tmp_path: Path) -> None:
    """Brute force: completions with the step and the group in their text, in any order."""
    draw = random.Random(1)
    entries = [
        line(f"prompt {number}", f"{step} {number}", draw.random(), step=step)
        for step in (3, 1, 2)
        for number in range(5)
        for _ in range(4)
    ]
    draw.shuffle(entries)
    groups = logs.read(write(tmp_path / "log.jsonl", entries)).groups
    assert [group.step for group in groups] == [1] * 5 + [2] * 5 + [3] * 5
    for group in groups:
        assert set(group.completions) == {f"{group.step} {group.prompt.split()[1]}"}
        expected = [entry["reward"] for entry in entries if entry["completion"] == group.completions[0]]
        assert group.total == expected


def test_files_without_steps_end_their_groups(tmp_path: Path) -> None:
    """The last prompt of a file and the first of the next are two groups, and so are chats of one text."""
    write(tmp_path / "rank0.jsonl", blocks("a", "b"))
    write(tmp_path / "rank1.jsonl", blocks("b", "c"))
    assert shape(logs.read(tmp_path).groups) == [(None, prompt, 3) for prompt in "abbc"]
    chats: list[Any] = [[{"role": "user", "content": text} for text in texts] for texts in (["a", "b"], ["a\nb"])]
    lines = [line(chat, str(at)) for chat in chats for at in range(2)]
    path = write(tmp_path / "chats" / "log.jsonl", lines)
    assert shape(logs.read(path).groups) == [(None, "a\nb", 2)] * 2


REFUSED = {
    "two numbers of completions": (blocks("a", step=1) + blocks("b", size=2, step=1), "1 group of 2, 1 group of 3"),
    "blocks of one prompt": (blocks("a", "b", "a", "b", step=1), "6 completions in blocks of 3"),
    "one completion each": (blocks("a", "b", size=1, step=1), "must have 2 completions or more, got 1 for every"),
}


@pytest.mark.parametrize(("entries", "words"), REFUSED.values(), ids=REFUSED)
def test_ambiguous_groups_are_refused(tmp_path: Path, entries: list[Entry], words: str) -> None:
    with pytest.raises(ValueError, match=rf"{words}[\s\S]*--(group-size|step-column)"):
        logs.read(write(tmp_path / "log.jsonl", entries))


def test_a_stated_size_splits_blocks_and_leaves_out_the_rest_with_a_note(tmp_path: Path) -> None:
    entries = blocks("a", "b", "a", step=1) + blocks("c", size=2, step=1)
    log = logs.read(write(tmp_path / "log.jsonl", entries), Options(group_size=3))
    assert shape(log.groups) == [(1, "a", 3), (1, "a", 3), (1, "b", 3)]
    assert [note for note in log.notes if note.startswith("2 completions of 1 prompt are left out")]


def test_a_log_with_steps_twice_says_so(tmp_path: Path) -> None:
    """As a training that was resumed appends them."""
    entries = blocks("a", "b", step=1) + blocks("c", "d", step=2) * 2
    path = write(tmp_path / "log.jsonl", entries)
    with pytest.raises(ValueError, match=r"2 groups of 3, 2 groups of 6, such as 6 of 'c' of .* --group-size 3;"):
        logs.read(path)
    log = logs.read(path, Options(group_size=3))
    assert len(log.groups) == 6
    assert any("2 prompts have more completions than 3" in note and "logged them twice" in note for note in log.notes)
    assert not any("logged them twice" in note for note in logs.read(path, Options(group_size=6)).notes)


def test_the_files_of_two_processes_are_one_log(tmp_path: Path) -> None:
    """Each process may have whole groups, which is clear, or the halves of a group, which must be said."""
    write(tmp_path / "whole" / "rank0.jsonl", blocks("a", "b", step=1) + blocks("c", step=2))
    write(tmp_path / "whole" / "rank1.jsonl", blocks("d", step=1) + blocks("a", step=2))
    log = logs.read(tmp_path / "whole")
    assert shape(log.groups) == [(1, "a", 3), (1, "b", 3), (1, "d", 3), (2, "c", 3), (2, "a", 3)]
    for rank in (0, 1):
        write(tmp_path / "halves" / f"rank{rank}.jsonl", blocks("a", "b", step=1))
    with pytest.raises(ValueError, match=r"rank0.jsonl and rank1.jsonl have completions of the same prompt"):
        logs.read(tmp_path / "halves")
    write(tmp_path / "mixed" / "rank0.jsonl", blocks("a", step=1))
    write(tmp_path / "mixed" / "rank1.jsonl", blocks("a"))
    with pytest.raises(ValueError, match=r"rank1.jsonl must have a step, as other files"):
        logs.read(tmp_path / "mixed")
    for size, count in ((3, 4), (6, 2)):
        assert len(logs.read(tmp_path / "halves", Options(group_size=size)).groups) == count


def test_a_column_of_groups_decides(tmp_path: Path) -> None:
    entries = [line("a", str(at), step=1, id=at % 2) for at in range(5)] + [line("b", step=1, id=9)]
    log = logs.read(path := write(tmp_path / "log.jsonl", entries), Options(group="id"))
    assert [group.completions for group in log.groups] == [["0", "2", "4"], ["1", "3"]]
    assert "Left out: 1 group of a single completion." in log.notes
    write(path, [line("a", id=1), line("b", id=1)])
    with pytest.raises(
        ValueError, match=r"completions of group '1' must have one prompt, got another in log.jsonl, li"
    ):
        logs.read(path, Options(group="id"))


def test_a_column_of_groups_is_by_step_and_no_size_splits_it(tmp_path: Path) -> None:
    entries = [line("a", f"{step} {at}", step=step, id=0) for step in (2, 1) for at in range(2)]
    path = write(tmp_path / "log.jsonl", entries)
    assert [group.completions for group in logs.read(path, Options(group="id")).groups] == [
        ["1 0", "1 1"],
        ["2 0", "2 1"],
    ]
    write(path, [*entries, *[line("b", step=3, id=7) for _ in range(4)]])
    log = logs.read(path, Options(group="id", group_size=2))
    assert len(log.groups) == 2 and any("4 completions of 1 prompt are left out" in note for note in log.notes)


def test_a_half_is_not_correct(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", [line("a", reward=reward) for reward in (0.5, 0.51)])
    assert logs.read(path, Options(correct="reward")).groups[0].correct == [False, True]


def test_each_row_says_its_group_or_none_does(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", [line("a", step=1, id=at) for at in (1, 1, None, None)])
    with pytest.raises(ValueError, match=r"log.jsonl, line 3: 'id' must name a group, got null"):
        logs.read(path, Options(group="id"))
    write(path, [{"prompt": "a", "completion": ["x", "y"], "reward": [0, 1]}, line("a"), line("a")])
    with pytest.raises(ValueError, match=r"log.jsonl, line 2 must say its group as other rows do, got none"):
        logs.read(path)


def test_a_first_row_without_a_value_hides_no_column(tmp_path: Path) -> None:
    unscored: Entry = {"correct": None, "tokens": None, "advantage": None, "truncated": None}
    scored: Entry = {"correct": True, "tokens": 3, "advantage": 0.5, "truncated": False}
    path = write(tmp_path / "log.jsonl", [line("a", **unscored), line("a", "y", **scored)])
    [group] = logs.read(path).groups
    assert (group.correct, group.tokens, group.advantages) == ([None, True], [None, 3], [None, 0.5])
    assert group.truncated == [None, False] and not group.extra
    rows = [{"prompt": "a", "completions": ["x", "y"], "rewards": [0, 1], "tokens": own} for own in (None, [4, 5])]
    first, second = logs.read(write(path, rows)).groups
    assert (first.tokens, second.tokens) == (None, [4, 5])


def test_the_steps_of_a_solution_are_no_steps_of_a_training(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", [line("a", str(at), steps=at // 2) for at in range(4)])
    [group] = logs.read(path).groups
    assert group.step is None and group.extra["steps"] == [0, 0, 1, 1]


def test_what_later_rows_of_a_group_hold_is_kept(tmp_path: Path) -> None:
    [group] = logs.read(write(tmp_path / "log.jsonl", [line("a"), line("a", "y", note="late")])).groups
    assert group.extra == {"note": [None, "late"]}


BAD = {
    "an endless number": (b'{"prompt": "a", "completion": "x", "reward": 1%s}\n' % (b"0" * 400), "'reward' must be"),
    "not JSON": (b'{"prompt": \n', "line 2, is damaged"),
    "not an object": (b"[1]\n", "line 2, is damaged"),
    "nested without end": (b"[" * 100_000 + b"\n", "line 2, is damaged"),
    "no completion": (b'{"prompt": "a", "reward": 1}\n', "line 2 has no column 'completion'"),
    "a number for a text": (b'{"prompt": "a", "completion": 3, "reward": 1}\n', "line 2: a completion must be a text"),
    "a text for a number": (
        b'{"prompt": "a", "completion": "x", "reward": "1"}\n',
        "line 2: 'reward' must be a number",
    ),
}


@pytest.mark.parametrize(("content", "words"), BAD.values(), ids=BAD)
def test_a_damaged_line_is_named(tmp_path: Path, content: bytes, words: str, capsys: Any) -> None:
    path = tmp_path / "log.jsonl"
    first, last = (json.dumps(line(reward=reward)).encode() + b"\n" for reward in (0, 1))
    path.write_bytes(first + content + last)
    assert main(["inspect", str(path)]) == 2
    assert words in (error := capsys.readouterr().err) and "Traceback" not in error
    path.write_bytes(first + last + last[:-20])
    log = logs.read(path)
    assert (
        shape(log.groups) == [(None, "a", 2)] and "The last line of log.jsonl is incomplete and left out." in log.notes
    )


def test_a_step_that_is_missing_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", [line(step=1), line(step=None)])
    with pytest.raises(ValueError, match=r"log.jsonl, line 2: 'step' must be a whole number, got null"):
        logs.read(path)


def test_a_negative_length_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", [line(tokens=1), line(tokens=-1)])
    with pytest.raises(ValueError, match=r"log.jsonl, line 2: 'tokens' must be 0 or more, got -1"):
        logs.read(path)


def test_what_is_no_log_is_refused_with_what_can_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path, tmp_path / "x.txt"):
        if path.suffix:
            path.write_text("x")
        with pytest.raises(ValueError, match=r"JSON lines with prompt, completion and reward"):
            logs.read(path)
    with pytest.raises(
        ValueError, match=r"has no column 'reward'. It has prompt, completion. Name it: --reward COLUMN"
    ):
        logs.read(write(tmp_path / "log.jsonl", [{"prompt": "a", "completion": "x"}]))
    with pytest.raises(ValueError, match=r"holds no completion\. log.jsonl is empty"):
        logs.read(write(tmp_path / "log.jsonl", []))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_reach_neither_the_terminal_nor_the_page(tmp_path: Path, text: str, capsys: Any) -> None:
    entries = [line(text + "?", text, float(at), step=1, **{text or "x": text}) for at in range(2)]
    path = write(tmp_path / "log.jsonl", entries)
    assert main(["inspect", str(path), "--embedder", "ngram"]) == 0
    page = (tmp_path / "log.inspect.html").read_text("utf-8")
    assert "alert(1)</script>" not in page and "\x1b" not in page
    write(path, [*entries, line(text, text, 0.0, step=1)])
    assert main(["inspect", str(path)]) == 2
    printed = capsys.readouterr()
    assert (printed.out + printed.err).replace("\n", "").isprintable()


# verl's rollouts, in the order of verl's older trainer; tests/verl has those of its own function


def rollout(step: int, prompt: str, text: str, score: float, **more: Any) -> Entry:
    return {"input": prompt, "output": text, "gts": "4", "score": score, "step": step, **more}


def test_verl_rollouts_are_grouped_by_prompt_whatever_their_order(tmp_path: Path) -> None:
    draw = random.Random(0)
    for step in (1, 2, 10):
        rows = [rollout(step, p, f"{p} {at}", float(at), acc=at > 1) for p in "abc" for at in range(4)]
        draw.shuffle(rows)
        write(tmp_path / f"{step}.jsonl", rows)
    log = logs.read(tmp_path)
    assert log.kind == logs.VERL and [group.step for group in log.groups] == [1] * 3 + [2] * 3 + [10] * 3
    for group in log.groups:
        places = [int(text.split()[1]) for text in group.completions]
        assert sorted(places) == [0, 1, 2, 3] and group.total == group.rewards["score"] == [float(at) for at in places]
        assert group.correct == [at > 1 for at in places] and group.extra["gts"] == ["4"] * 4
    assert len(logs.read(tmp_path / "2.jsonl").groups) == 3
    write(tmp_path / "notes.jsonl", [{"a": 1}])
    assert any("notes.jsonl" in note for note in logs.read(tmp_path).notes)


def test_verl_rollouts_of_several_outputs_count_once_and_paddings_not_at_all(tmp_path: Path) -> None:
    """uid is PROMPT_ROLLOUT_OUTPUT, and may come again in a later step."""
    for step in (1, 2):
        rows = [
            rollout(step, "a", f"first {step}", 0.0, uid="p_0_0"),
            rollout(step, "a and more", f"last {step}", 1.0, uid="p_0_1"),
            rollout(step, "a", f"other {step}", 0.5, uid="p_1_0"),
            rollout(step, "", "", 0.0, uid=f"pad{'0' * 32}_0_0"),
        ]
        write(tmp_path / f"{step}.jsonl", rows)
    log = logs.read(tmp_path)
    assert [(group.step, group.completions, group.total) for group in log.groups] == [
        (step, [f"last {step}", f"other {step}"], [1.0, 0.5]) for step in (1, 2)
    ]
    assert any(note.startswith("2 empty completions") for note in log.notes)
    assert any(note.startswith("2 outputs of rollouts with several are left out") for note in log.notes)


def test_acc_that_is_no_truth_value_is_the_score_and_says_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "1.jsonl", [rollout(1, "a", "x", at, acc=at) for at in (0.0, 1.0)])
    assert logs.read(path).groups[0].correct is None
    assert any("give --correct acc" in note for note in logs.read(path).notes)
    assert logs.read(path, Options(correct="acc")).groups[0].correct == [False, True]


# Our own run folder


def test_a_run_folder_is_read_with_what_its_method_did(tmp_path: Path) -> None:
    run = Path(__file__).parent / "data" / "old_run"
    log = logs.read(run)
    lines = [json.loads(text) for text in (run / "groups.jsonl").read_text("utf-8").splitlines()]
    assert log.kind == logs.RUN and len(log.groups) == len(lines)
    for group, entry in zip(log.groups, lines, strict=True):
        completions = entry["completions"]
        assert group.completions == [completion["text"] for completion in completions]
        assert group.total == [completion["raw"] for completion in completions]
        assert group.extra["adjusted"] == [completion["adjusted"] for completion in completions]
        assert group.extra["similarity"] == entry["similarity"] and group.extra["number"] == entry["group"]
        assert group.correct == [completion["rewards"]["accuracy"] > 0.5 for completion in completions]
    assert [row["step"] for row in log.metrics] == sorted(row["step"] for row in log.metrics)
    assert logs.read(run / "groups.jsonl").groups == log.groups
    with pytest.raises(ValueError, match=r"--correct must be a reward of .*, got 'nothing', which no group has"):
        logs.read(run, Options(correct="nothing"))


def test_accuracy_is_correctness_in_runs_of_recipes_alone(tmp_path: Path) -> None:
    """A script may give any function that name. The lines may be in any order, and a reward may be infinite."""
    for step in (2, 1):
        completions = [
            {"text": "x", "rewards": {"accuracy": reward}, "raw": raw, "adjusted": None, "advantage": 0.0}
            for reward, raw in ((0.5, 1.0), (1.0, 2.0))
        ]
        with (tmp_path / "groups.jsonl").open("a") as file:
            entry = {"step": step, "group": 0, "prompt": "a", "completions": completions, "similarity": None}
            file.write(json.dumps(entry).replace('"raw": 2.0', '"raw": 1e999') + "\n")
    (tmp_path / "script.json").write_text("{}")
    log = logs.read(tmp_path)
    assert [(group.step, group.total, group.correct) for group in log.groups] == [
        (at, [1.0, None], None) for at in (1, 2)
    ]
    assert logs.read(tmp_path, Options(correct="accuracy")).groups[0].correct == [False, True]


# The options


def test_options_are_those_of_the_command_line(tmp_path: Path) -> None:
    words = ["--prompt-column", "q", "--reward", "a", "--reward", "b=0.5", "--reward", "x=y=2", "--group-size", "8"]
    parsed = parser().parse_args(["inspect", "log.jsonl", *words, "--correct", "a"])
    assert arguments.options(parsed) == Options(
        "q", rewards={"a": 1.0, "b": 0.5, "x=y": 2.0}, correct="a", group_size=8
    )
    for bad in (
        ["--reward", "a=b"],
        ["--reward", "a=nan"],
        ["--group-size", "1"],
        ["--reward", "a", "--reward", "a=2"],
    ):
        with pytest.raises(ValueError, match="must"):
            arguments.options(parser().parse_args(["inspect", "log.jsonl", *bad]))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0, 1], None),
        ([-1.0, 1.0], None),
        ([False, True], None),
        ([0, 0], None),
        ([0.0, 0.5, 1.0, 1.0], "3 different values, 0 to 1. Those above 0.5 count as correct: 2 of 4 completions"),
        ([62.5, 90.0], "2 different values, 62.5 to 90. Those above 0.5 count as correct: 2 of 2 completions"),
        ([0.1, 0.2], "2 different values, 0.1 to 0.2. Those above 0.5 count as correct: 0 of 2 completions"),
    ],
)
@pytest.mark.parametrize("is_reward", [False, True])
def test_values_that_are_no_verdicts_are_noted(
    tmp_path: Path, values: list[float], words: str | None, is_reward: bool
) -> None:
    rows = [{"prompt": "p", "completion": str(place), "score": value} for place, value in enumerate(values)]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row | {"reward": float(row["score"])}) + "\n" for row in rows))
    name = "reward" if is_reward else "score"
    notes = [note for note in logs.read(path, Options(correct=name)).notes if "different values" in note]
    assert [note.startswith(f"{name} has {words}") for note in notes] == ([] if words is None else [True])
    assert not any("different values" in note for note in logs.read(path, Options()).notes)
