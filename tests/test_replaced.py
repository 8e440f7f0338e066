"""Recipes of one kind that contradict each other are named before a run; those that are meant to be merged are not."""

import copy
import dataclasses
import itertools
import json
from pathlib import Path

import pytest
import yaml

from manypaths import recipe
from manypaths.cli import main
from manypaths.preflight.replaced import replaced
from manypaths.training.grid import jobs, read_grid, replaced_in

SHIPPED_METHODS = [name.removeprefix("methods/") for name in recipe.shipped() if name.startswith("methods/")]
CONTENT = {name: recipe.content([name]) for name in SHIPPED_METHODS}
JOINING = ("entropy", "history")  # set no key that another method sets
GRIDS = [*recipe.shipped_grids().values(), *Path(__file__).parents[1].glob("bench/*.yaml")]
GRIDS = [path for path in GRIDS if "recipes" in yaml.safe_load(path.read_text())]


@pytest.mark.parametrize(
    ("words", "setting"),
    [
        ("smollm2-135m grpo dr-grpo gsm8k", "trainer.loss_type=dr_grpo instead of grpo"),
        ("smollm2-135m tiny-0.2m colouring", "model.name=./models/tiny-0.2m instead of HuggingFaceTB/SmolLM2-135M-"),
        ("gsm8k grpo svamp", "problems.name=svamp instead of gsm8k"),
        ("gsm8k mmr-grpo", "problems.name=knoveleng/open-rs instead of gsm8k"),
        ("none grpo mmr", "method.reweight=mmr instead of null"),
        ("methods/maxrl rarity", "method.advantage=rarity instead of maxrl"),
        ("rarity replay", "keys.name=answer instead of equations"),
        ("select-mmr select-pods", "select.rule=max_variance instead of mmr"),
    ],
)
def test_what_the_later_of_two_recipes_of_a_kind_replaces_is_named(words, setting):
    [sentence] = replaced(words.split())
    assert setting in sentence and sentence.endswith("Leave out the one that is not meant.")


@pytest.mark.parametrize(
    "words",
    [
        "r1-distill-qwen-7b grpo mmr-paper mmr-grpo",
        "smollm2-135m grpo select-mmr mmr history entropy gsm8k",
        "smollm2-135m-pypi dr-grpo mmr arithmetic quickstart",
        "dapo dapo-dynamic",
        "mmr maxrl",
        "mmr methods/mmr",
        "rarity replay keys.name=equations",
        "mmr dra method={reweight: mmr}",
    ],
)
def test_recipes_that_are_meant_to_be_merged_are_not_named(words):
    assert replaced(words.split() if "{" not in words else [*words.split()[:2], words.split(maxsplit=2)[2]]) == []


def merged(*names):
    content = {}
    for name in names:
        recipe._merge(content, copy.deepcopy(CONTENT[name]))
    return content


def test_a_sentence_is_there_exactly_where_the_order_of_two_methods_matters():
    for first, second in itertools.combinations(SHIPPED_METHODS, 2):
        there, back = merged(first, second), merged(second, first)
        order_matters = json.dumps(there, sort_keys=True) != json.dumps(back, sort_keys=True)
        assert bool(replaced([first, second])) == order_matters, (first, second)
        assert not (order_matters and {first, second} & {*JOINING}), (first, second)


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_no_grid_of_this_project_contradicts_itself(path):
    grid = read_grid(path)
    assert replaced_in(jobs(dataclasses.replace(grid, seeds=grid.seeds[:1]))) == []


def test_a_users_file_on_top_is_meant(tmp_path):
    (tmp_path / "own.yaml").write_text("trainer: {loss_type: dapo}\n")
    assert replaced(["grpo", str(tmp_path / "own.yaml")]) == []


@pytest.mark.parametrize("words", [["train", "--dry-run", "--processes", "2"], ["train", "--pilot", "0"], ["recipes"]])
def test_each_command_says_it_once_before_anything_else(words, capsys):
    main([*words, "smollm2-135m", "grpo", "dr-grpo", "none", "gsm8k"])
    first, *others = capsys.readouterr().err.splitlines()
    assert first.startswith("Caution: grpo and dr-grpo are both variants. ") and not any("both" in x for x in others)


def test_a_sweep_says_it_once_with_the_first_run(tmp_path, capsys):
    grid = {"recipes": ["smollm2-135m", "arithmetic", "{method}"], "grid": {"method": {"dr": ["grpo", "dr-grpo"]}}}
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump({**grid, "seeds": [1, 2]}))
    assert main(["sweep", str(path), "--dry-run", "--out", str(tmp_path / "out")]) == 0
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("Caution: In dr-1, grpo and dr-grpo are both variants.")


def test_explain_says_it_of_each_method_that_it_shows(tmp_path, capsys):
    lines = [{"prompt": "p", "completion": f"word {reward}", "reward": reward} for reward in (0.0, 1.0, 1.0, 0.0)]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = [
        "explain",
        str(tmp_path / "log.jsonl"),
        "--correct",
        "reward",
        "--method",
        "mmr",
        "--method",
        "maxrl focal",
    ]
    assert main(words) == 0
    assert capsys.readouterr().out.count("maxrl and focal are both methods. ") == 1
