"""Groups are the trainer's, or rows of the data set: one question about many images is many prompts."""

import json
import warnings

import numpy as np
import pytest
import torch
import yaml
from datasets import Dataset
from PIL import Image
from test_trl import length, trainer_of, vowels
from test_wrapper import WORDS, expected, same, wrapped

from manypaths.cli import main
from manypaths.grouping import group_size, row_hashes

QUESTION = "How many are there?"
ASK = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}]


def image(number):
    return Image.new("RGB", (4, 4), (number, 0, 0))


def columns_of(kind, rows):
    """The columns that a trainer passes, one value per completion, each a new object."""
    if kind == "images in a column":
        return [ASK] * len(rows), {"images": [[image(row)] for row in rows]}
    if kind == "images in the prompt":
        blocks = [[{"type": "image", "image": image(row)}, {"type": "text", "text": QUESTION}] for row in rows]
        return [[{"role": "user", "content": block}] for block in blocks], {}
    if kind == "arrays":
        return [QUESTION] * len(rows), {"image": [np.full((2, 2), row) for row in rows]}
    return [QUESTION] * len(rows), {"answer": [str(row) for row in rows]}


KINDS = ["images in a column", "images in the prompt", "arrays", "another column"]


@pytest.mark.parametrize("kind", KINDS)
def test_one_question_and_many_rows_are_many_groups(kind):
    for rows in ([0, 0, 1, 1, 2, 2, 3, 3], [0, 0, 0, 0, 1, 1, 1, 1]):
        size = rows.count(0)
        prompts, columns = columns_of(kind, rows)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            adjusted = wrapped(vowels, 4, num_generations_eval=2)(prompts, WORDS, **columns)
        scores = vowels(WORDS)
        groups = [slice(start, start + size) for start in range(0, 8, size)]
        same(adjusted, [reward for group in groups for reward in expected(WORDS[group], scores[group])])


def test_a_column_that_changes_within_a_group_is_no_row():
    """A column that the rollout fills per completion does not separate prompts."""
    prompts, columns = columns_of("images in a column", [0] * 4 + [1] * 4)
    columns["turns"] = list(range(8))
    adjusted = wrapped(vowels, 4)(prompts, WORDS, **columns, completion_ids=[[row] for row in range(8)])
    same(adjusted, expected(WORDS[:4], vowels(WORDS)[:4]) + expected(WORDS[4:], vowels(WORDS)[4:]))


def test_equal_content_has_equal_hashes_and_other_content_others():
    kinds = [columns_of(kind, [0, 0, 1]) for kind in KINDS]
    for prompts, columns in kinds:
        first, again, other = row_hashes(prompts, columns)
        assert first == again and first[0] == other[0] and first[1] != other[1]
    assert group_size(["a"] * 4, [4], [{}] * 4) == 4


@pytest.mark.parametrize("kind", KINDS[:3])
def test_groups_that_are_not_whole_are_refused_though_their_question_is_one(kind):
    prompts, columns = columns_of(kind, [0, 0, 0, 1, 1, 1, 1, 1])
    with pytest.raises(ValueError, match="got 8 completions in runs of 3, 5"):
        wrapped(vowels, 4)(prompts, WORDS, **columns)


def set_of_one_question(count):
    return Dataset.from_list([{"prompt": "2 + 2 =", "answer": str(row)} for row in range(count)])


def own_trainer(tiny_model, tmp_path, reward, **sizes):
    trainer = trainer_of(tiny_model, tmp_path, rewards=reward, steps=1, **sizes)
    trainer.train_dataset = trainer.eval_dataset = set_of_one_question(8)
    return trainer


@pytest.mark.parametrize("rows", ["differ", "are equal"])
def test_in_trls_trainer_the_size_is_the_trainers(rows, tiny_model, tmp_path):
    """Evaluation groups of another size, which the user did not set; and equal rows, which no hash separates."""
    trainer = own_trainer(tiny_model, tmp_path, wrapped(vowels, 4), num_generations=4, num_generations_eval=2)
    if rows == "are equal":
        trainer.eval_dataset = trainer.eval_dataset.remove_columns("answer")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="num_generations is")
        trainer.evaluate()
        texts, logged = list(trainer._logs["completion"]), list(trainer._logs["rewards"]["adjusted"])
        groups = [slice(start, start + 2) for start in range(0, len(texts), 2)]
        same(logged, [reward for group in groups for reward in expected(texts[group], vowels(texts[group]))])
        trainer.train()
    texts, logged = (
        list(column)[-8:] for column in (trainer._logs["completion"], trainer._logs["rewards"]["adjusted"])
    )
    groups = [slice(0, 4), slice(4, 8)]
    same(logged, [reward for group in groups for reward in expected(texts[group], vowels(texts[group]))])


def test_a_size_that_is_not_the_trainers_is_refused(tiny_model, tmp_path):
    trainer = own_trainer(tiny_model, tmp_path, wrapped(length, 2), num_generations=4)
    with pytest.raises(ValueError, match="num_generations must be the trainer's own, 4, got 2"):
        trainer.train()


def test_a_run_records_the_golds_of_every_problem_with_the_prompt(tiny_recipe, tmp_path):
    """Two problems may have one text and other answers, as the same question about two images has."""
    rows = [{"problem": QUESTION, "answer": str(4 + row % 2)} for row in range(8)]
    (tmp_path / "set.json").write_text(json.dumps(rows))
    tiny_recipe |= {"problems": {"name": str(tmp_path / "set.json")}, "evaluation": None, "rewards": {"boxed": 1.0}}
    tiny_recipe["trainer"] |= {"max_steps": 1, "save_strategy": "no"}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_recipe))
    assert main(["train", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "run")]) == 0
    lines = (tmp_path / "run" / "groups.jsonl").read_text().splitlines()
    assert [json.loads(line)["answer"] for line in lines] == ["4 or 5"] * 2


def test_a_function_that_logs_is_not_a_trainer():
    class Logger:
        num_generations = 2

        def log(self, name, value):
            self.last = name, value

    adjusted = wrapped(vowels, 4)(["a"] * 4 + ["b"] * 4, WORDS, log_metric=Logger().log)
    torch.testing.assert_close(adjusted, wrapped(vowels, 4)(["a"] * 4 + ["b"] * 4, WORDS))
