"""Logs of TRL: what its own trainer writes with log_completions comes back as groups, each completion once."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from datasets import Dataset
from forked import in_two_processes
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from manypaths import logs
from manypaths.cli import main
from manypaths.logs import Log, LoggedGroup, Options

PROMPTS = [{"prompt": f"{a} + 2 = ", "answer": str(a + 2)} for a in range(8)]
CHATS = [{"prompt": [{"role": "user", "content": row["prompt"]}]} for row in PROMPTS]


def letters(completions: list[Any], log_extra: Any = None, **_: Any) -> list[float]:
    texts = [text if isinstance(text, str) else text[0]["content"] for text in completions]
    if log_extra:
        log_extra("length", [len(text) for text in texts])
    return [sum(character.isalpha() for character in text) / 8 for text in texts]


def even(completions: list[Any], **_: Any) -> list[float | None]:
    codes = [sum(map(ord, str(text))) for text in completions]
    return [None if code % 5 == 0 else float(code % 2 == 0) for code in codes]


class Table(TrainerCallback):
    """What TRL's table of completions has after each step, by which the files are checked."""

    def __init__(self, trainer: Any) -> None:
        self.trainer, self.steps = trainer, {}

    def on_step_end(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        table = self.trainer._logs
        rewards = {name: list(values) for name, values in table["rewards"].items()}
        advantages = list(table["advantages"])
        self.steps[state.global_step] = list(table["prompt"]), list(table["completion"]), rewards, advantages


def train(
    tiny_model: Path, out: Path, prompts: list[Any] = PROMPTS, rewards: Any = (letters, even), **settings: Any
) -> Table:
    named = {"num_generations": 4, "per_device_train_batch_size": 8, "max_completion_length": 6, "logging_steps": 1}
    named |= {"learning_rate": 1e-2, "bf16": False, "use_cpu": True, "report_to": "none", "disable_tqdm": True}
    named |= {"max_steps": 3, "save_strategy": "no", "beta": 0.0, "log_completions": True, **settings}
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(tiny_model),
        reward_funcs=list(rewards),
        args=GRPOConfig(str(out), **named),
        train_dataset=Dataset.from_list(prompts),
        eval_dataset=Dataset.from_list(prompts[:2]) if "eval_steps" in settings else None,
        processing_class=AutoTokenizer.from_pretrained(tiny_model, padding_side="right"),
    )
    trainer.add_callback(table := Table(trainer))
    trainer.train()
    return table


def joined(parts: Any) -> list[Any]:
    return [value for part in parts for value in part]


def as_logged(values: list[float]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values]


def check(groups: list[LoggedGroup], table: tuple[Any, ...]) -> None:
    """The groups of a step are its rows in TRL's table."""
    prompts, completions, rewards, advantages = table
    assert [group.prompt for group in groups] == prompts[::4]
    assert joined(group.completions for group in groups) == completions
    assert joined(group.rewards["letters"] for group in groups) == rewards["letters"]
    assert joined(group.rewards["even"] for group in groups) == as_logged(rewards["even"])
    assert joined(group.advantages for group in groups) == advantages
    assert joined(group.extra["length"] for group in groups) == [len(text) for text in completions]
    pairs = zip(rewards["letters"], as_logged(rewards["even"]), strict=True)
    assert joined(group.total for group in groups) == pytest.approx(
        [first + (second or 0.0) for first, second in pairs]
    )


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Table]:
    out = tmp_path_factory.mktemp("trained")
    return out, train(tiny_model, out)


def of_step(log: Log, step: int) -> list[LoggedGroup]:
    return [group for group in log.groups if group.step == step]


def test_the_completions_of_a_training_come_back_by_group(trained: tuple[Path, Table]) -> None:
    out, table = trained
    for path in (out, out / "completions"):
        log = logs.read(path)
        assert (log.kind, log.path, len(log.groups)) == (logs.TRL, path, 6)
        for step in (1, 2, 3):
            check(of_step(log, step), table.steps[step])
    [single] = {len(logs.read(file).groups) for file in (out / "completions").iterdir()}
    assert single == 2
    assert all(group.correct is group.tokens is group.truncated is None for group in log.groups)
    assert any("plain sum of letters, even" in note for note in log.notes)
    assert any("unknown whether an evaluation" in note for note in log.notes)


def test_a_generation_of_several_steps_and_an_evaluation_count_once_and_not(tiny_model: Path, tmp_path: Path) -> None:
    """Steps 1 and 2 train on one generation, as do 3 and 4, and 5 and 6; evaluations write files 4 and 6."""
    settings = {"eval_strategy": "steps", "eval_steps": 4, "save_strategy": "steps", "save_steps": 6, "max_steps": 6}
    table = train(tiny_model, tmp_path, steps_per_generation=2, **settings, per_device_eval_batch_size=8)
    assert len(list(tmp_path.glob("completions/*.parquet"))) == 6
    log = logs.read(tmp_path)
    assert [group.step for group in log.groups] == joined([step] * 4 for step in (1, 3, 5))
    for step in (1, 3, 5):
        check(of_step(log, step), table.steps[step])
    assert any("completions_00004.parquet, completions_00006.parquet, which an" in note for note in log.notes)
    assert any(": completions_00002.parquet repeats" in note for note in log.notes)
    assert [line["step"] for line in log.metrics] == [1, 2, 3, 4, 5, 6]
    assert {"entropy", "completions/clipped_ratio", "rewards/even/mean"} <= log.metrics[0].keys()
    shorter = json.loads((tmp_path / "checkpoint-6" / "trainer_state.json").read_text())
    shorter["log_history"] = shorter["log_history"][:2]
    (tmp_path / "checkpoint-6" / "trainer_state.json").write_text(json.dumps(shorter))
    assert any("ends with step 2" in note for note in logs.read(tmp_path).notes)


def test_the_evaluation_is_read_as_training_only_where_nothing_says_so(tiny_model: Path, tmp_path: Path) -> None:
    train(tiny_model, tmp_path, eval_strategy="steps", eval_steps=3, per_device_eval_batch_size=8)
    assert any("unknown whether an evaluation" in note for note in logs.read(tmp_path).notes)
    state = {"log_history": [{"step": 3, "eval_reward": 0.5}, {"step": 1, "loss": 1.0}]}
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    log = logs.read(tmp_path)
    assert {group.step for group in log.groups} == {1, 2}
    assert [line["step"] for line in log.metrics] == [1, 3]
    with pytest.raises(ValueError, match=r"must hold completions of a training, got those of evaluations alone"):
        logs.read(tmp_path / "completions" / "completions_00003.parquet")
    for content, error in (('{"loss": 1}', "KeyError"), ('{"step": 1e999}', "OverflowError"), ("3", "TypeError")):
        (tmp_path / "trainer_state.json").write_text(f'{{"log_history": [{content}]}}')
        assert any(f"trainer_state.json is damaged ({error}" in note for note in logs.read(tmp_path).notes)


def test_chats_come_back_as_texts(tiny_model: Path, tmp_path: Path) -> None:
    table = train(tiny_model, tmp_path, CHATS, max_steps=1)
    _, completions, _, _ = table.steps[1]
    groups = logs.read(tmp_path).groups
    assert joined(group.completions for group in groups) == [chat[0]["content"] for chat in completions]
    assert all(group.prompt.endswith(" + 2 = ") for group in groups)


def in_one_of_two(tiny_model: Path, out: Path) -> Any:
    return train(tiny_model, out, per_device_train_batch_size=6, max_steps=1).steps


def test_two_processes_write_one_log_and_a_group_may_lie_in_both(tiny_model: Path, tmp_path: Path) -> None:
    steps = in_two_processes(in_one_of_two, tiny_model, tmp_path)
    log = logs.read(tmp_path)
    assert [group.step for group in log.groups] == [1, 1, 1]
    check(log.groups, steps[1])


def write(folder: Path, step: int, prompts: list[str], rewards: dict[str, list[float]], **more: Any) -> Path:
    """A file as TRL writes it; the advantages are those of the weighted sum in groups of equal prompts."""
    weights = more.pop("weights", {})
    rows = len(prompts)
    total = [sum(weights.get(name, 1.0) * values[row] for name, values in rewards.items()) for row in range(rows)]
    groups: dict[str, list[float]] = {}
    for prompt, value in zip(prompts, total, strict=True):
        groups.setdefault(prompt, []).append(value)
    means = {prompt: sum(values) / len(values) for prompt, values in groups.items()}
    advantages = [value - means[prompt] for prompt, value in zip(prompts, total, strict=True)]
    texts = [f"completion {step} {row}" for row in range(rows)]
    frame = {"step": [step] * rows, "prompt": prompts, "completion": texts, **rewards, **more, "advantage": advantages}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"completions_{step:05d}.parquet"
    pd.DataFrame(frame).to_parquet(path)
    return path


AB = ["a"] * 4 + ["b"] * 4
FIRST = [0.0, 1.0, 2.0, 5.0, 1.0, 0.0, 0.0, 3.0]
SECOND = [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0]


def test_weights_that_the_log_hides_make_the_total_unknown(tmp_path: Path) -> None:
    write(tmp_path, 1, AB, {"good": FIRST, "form": SECOND}, weights={"form": 3.0})
    log = logs.read(tmp_path)
    assert all(group.total == [None] * 4 for group in log.groups)
    assert [note for note in log.notes if "In 2 of 2 groups" in note and "--reward good=1" in note]
    weighted = logs.read(tmp_path, Options(rewards={"good": 1.0, "form": 3.0}))
    assert joined(group.total for group in weighted.groups) == [a + 3 * b for a, b in zip(FIRST, SECOND, strict=True)]
    assert not any("groups" in note for note in weighted.notes)
    wrong = logs.read(tmp_path, Options(rewards={"good": 1.0}))
    assert [group.rewards for group in wrong.groups] == [{"good": FIRST[:4]}, {"good": FIRST[4:]}]
    assert any("are not those of the sum that --reward names" in note for note in wrong.notes)


def test_weights_that_advantages_do_not_show_make_the_total_unknown(tiny_model: Path, tmp_path: Path) -> None:
    """A factor of the only reward; trainer_state.json has the mean of the weighted sum."""
    saving = {"save_strategy": "steps", "save_steps": 2, "max_steps": 2}
    for name, weight in (("one", 1.0), ("two", 2.0)):
        train(tiny_model, tmp_path / name, rewards=[letters], reward_weights=[weight], **saving)
    plain, weighted = (logs.read(tmp_path / name) for name in ("one", "two"))
    assert all(group.total == group.rewards["letters"] for group in plain.groups)
    assert all(group.total == [None] * 4 for group in weighted.groups)
    assert any("At 2 of 2 steps the mean reward in trainer_state.json is not" in note for note in weighted.notes)
    said = logs.read(tmp_path / "two", Options(rewards={"letters": 2.0}))
    assert said.groups[0].total == [2.0 * reward for reward in said.groups[0].rewards["letters"]]
    assert not any("mean reward" in note for note in [*said.notes, *plain.notes])


def test_rewards_that_do_not_move_the_advantages_make_the_total_unknown(tmp_path: Path) -> None:
    """A reward of weight 0 beside one that is constant: all advantages are 0."""
    write(tmp_path, 1, AB, {"good": [1.0] * 8, "form": SECOND}, weights={"form": 0.0})
    log = logs.read(tmp_path)
    assert all(group.total == [None] * 4 for group in log.groups)
    assert any("In 2 of 2 groups the advantages are not those of the plain sum" in note for note in log.notes)


@pytest.mark.parametrize(("scale", "weights"), [(1.0, {"good": -1.0, "form": 0.0}), (1e-4, {"form": 3.0})])
def test_advantages_that_fall_or_are_small_show_weights_too(tmp_path: Path, scale: float, weights: Any) -> None:
    rewards = {"good": [scale * own for own in FIRST], "form": [scale * own for own in SECOND]}
    write(tmp_path, 1, AB, rewards, weights=weights)
    assert all(group.total == [None] * 4 for group in logs.read(tmp_path).groups)


def test_the_log_of_the_last_checkpoint_counts(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        write(tmp_path / "completions", step, AB, {"good": FIRST})
    for last in (2, 10, 3):
        folder = tmp_path / f"checkpoint-{last}"
        folder.mkdir()
        entries: list[dict[str, Any]] = [{"step": step, "loss": 1.0} for step in range(1, last + 1)]
        state = {"log_history": [*entries, {"step": 3, "eval_loss": 1.0}] if last == 10 else entries}
        (folder / "trainer_state.json").write_text(json.dumps(state))
    log = logs.read(tmp_path)
    assert [line["step"] for line in log.metrics] == [*range(1, 11)]
    assert {group.step for group in log.groups} == {1, 2}


def test_completions_beside_evaluations_without_groups_are_read(tmp_path: Path) -> None:
    """`EvaluateProblems` alone writes script.json, and no groups.jsonl, into TRL's folder."""
    write(tmp_path / "completions", 1, AB, {"good": FIRST})
    (tmp_path / "script.json").write_text("{}")
    assert logs.read(tmp_path).kind == logs.TRL
    assert main(["inspect", str(tmp_path)]) == 0


def test_options_that_a_log_does_not_use_are_named(tmp_path: Path) -> None:
    write(tmp_path, 1, AB, {"good": FIRST})
    assert any("Not used: --step-column" in note for note in logs.read(tmp_path, Options(step="at")).notes)
    run = Path(__file__).parent / "data" / "old_run"
    notes = logs.read(run, Options(rewards={"accuracy": 2.0}, group="id")).notes
    assert any("Not used: --group-column, --reward, because" in note for note in notes)
    assert not any("Not used" in note for note in logs.read(run, Options(correct="accuracy")).notes)


def test_columns_of_numbers_are_rewards_unless_the_trainer_logged_others(tmp_path: Path) -> None:
    """A float that a reward function logged as extra looks like a reward; trainer_state.json names the rewards."""
    write(tmp_path, 1, AB, {"good": FIRST}, confidence=SECOND, seen=[1] * 8)
    doubtful = logs.read(tmp_path)
    assert list(doubtful.groups[0].rewards) == ["good", "confidence"] and doubtful.groups[0].total == [None] * 4
    assert doubtful.groups[0].extra == {"seen": [1] * 4}
    state = {"log_history": [{"step": 1, "rewards/good/mean": 1.0}]}
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    log = logs.read(tmp_path)
    assert list(log.groups[0].rewards) == ["good"] and log.groups[0].total == FIRST[:4]
    assert log.groups[0].extra == {"confidence": SECOND[:4], "seen": [1] * 4}


def test_a_reward_or_a_column_that_is_named_says_what_is_correct(tmp_path: Path) -> None:
    write(tmp_path, 1, AB, {"good": FIRST}, right=[True, False] * 4)
    assert logs.read(tmp_path, Options(correct="good")).groups[0].correct == [False, True, True, True]
    assert logs.read(tmp_path, Options(correct="right")).groups[0].correct == [True, False, True, False]
    with pytest.raises(ValueError, match=r"has no column 'accuracy'\. It has step, prompt, completion, good, right"):
        logs.read(tmp_path, Options(correct="accuracy"))


def test_groups_that_are_ambiguous_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "twice", 1, ["a"] * 8 + ["b"] * 4, {"good": [*FIRST, 0.0, 1.0, 0.0, 0.0]})
    with pytest.raises(ValueError, match=r"got 1 group of 4, 1 group of 8, such as .* Give .* --group-size 4"):
        logs.read(tmp_path / "twice")
    log = logs.read(tmp_path / "twice", Options(group_size=4))
    assert [len(group.completions) for group in log.groups] == [4, 4, 4]
    rewards = [0.0, 1.0, 1.0, 0.0, 3.0, 1.0, 1.0, 3.0]
    write(tmp_path / "fits", 1, ["a"] * 8, {"good": [0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0]})
    with pytest.raises(ValueError, match=r"8 completions in a row, whose advantages also sum to 0 in groups of 2"):
        logs.read(tmp_path / "fits")
    write(tmp_path / "pairs", 1, ["a"] * 4, {"good": [0.0, 1.0, 1.0, 0.0]})
    with pytest.raises(ValueError, match=r"4 completions in a row, whose advantages also sum to 0 in groups of 2"):
        logs.read(tmp_path / "pairs")
    write(tmp_path / "proven", 1, ["a"] * 8, {"good": rewards})
    [group] = logs.read(tmp_path / "proven").groups
    assert group.total == rewards
    halves = logs.read(tmp_path / "proven", Options(group_size=4))
    assert any("In 2 of 2 groups of 4 the advantages do not sum to 0" in note for note in halves.notes)
    write(tmp_path / "alone", 1, ["a", "b", "c"], {"good": [0.0, 1.0, 1.0]})
    with pytest.raises(ValueError, match=r"must have 2 completions or more, got 1 for every prompt"):
        logs.read(tmp_path / "alone")
    with pytest.raises(ValueError, match=r"--group-size must be the number of completions of a prompt, got 3"):
        logs.read(tmp_path / "proven", Options(group_size=3))


def test_a_prompt_that_comes_again_in_a_step_is_another_group(tmp_path: Path) -> None:
    write(tmp_path, 1, [*AB, *["a"] * 4], {"good": [*FIRST, 0.0, 1.0, 0.0, 0.0]})
    assert [group.prompt for group in logs.read(tmp_path).groups] == ["a", "b", "a"]


def test_damaged_files_are_named_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = write(tmp_path, 1, AB, {"good": FIRST}), tmp_path / "completions_00002.parquet"
    bad.write_bytes(good.read_bytes()[:200])
    other = tmp_path / "completions_00003.parquet"
    pd.DataFrame({"step": [3], "prompt": ["\x1b[31m"]}).to_parquet(other)
    log = logs.read(tmp_path)
    assert [group.step for group in log.groups] == [1, 1]
    assert sum(note.startswith("Left out") for note in log.notes) == 2
    for path, words in ((bad, "is not a whole parquet file"), (other, "has no column 'completion'")):
        assert main(["inspect", str(path)]) == 2
        assert words in (error := capsys.readouterr().err) and "Traceback" not in error and "\x1b" not in error
    pd.DataFrame({"step": [4], "prompt": ["a"], "completion": [7], "advantage": [0.0]}).to_parquet(bad)
    assert main(["inspect", str(bad)]) == 2
    assert "row 1: a completion must be a text or chat messages, got '7'" in capsys.readouterr().err


def test_a_page_shows_the_log_and_says_what_it_does_not_know(
    trained: tuple[Path, Table], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = trained
    assert main(["inspect", str(out), "--out", str(tmp_path / "page.html")]) == 0
    text, (printed, noted) = (tmp_path / "page.html").read_text("utf-8"), capsys.readouterr()
    assert printed == f"{tmp_path / 'page.html'}\n" and "similarity of the completions is unknown" in noted
    data = page_data(text)
    assert data["kind"] == "TRL completions" and all(group["similarity"] is None for group in data["groups"])
    assert main(["inspect", str(out), "--embedder", "ngram", "--out", str(tmp_path / "page.html")]) == 0
    assert "similarity" not in capsys.readouterr().err
    data = page_data((tmp_path / "page.html").read_text("utf-8"))
    for group in data["groups"]:
        for at, completion in enumerate(group["completions"]):
            others = [value for place, value in enumerate(group["similarity"][at]) if place != at]
            assert completion["similarity"] == max(others)
            assert group["similarity"][at][completion["nearest"]] == max(others) and completion["nearest"] != at


def page_data(text: str) -> Any:
    start = text.index('<script type="application/json" id="data">') + len('<script type="application/json" id="data">')
    return json.loads(text[start : text.index("</script>", start)])
