"""Names of runs from their paths: different where the paths differ, equal but for the seed where only the seed does."""

import itertools
import random
import re
from pathlib import Path

import pytest

from manypaths.comparison.run_names import RunName, of_model, of_paths


def named(*paths):
    return list(of_paths([Path("/w") / path for path in paths]).values())


@pytest.mark.parametrize(
    ("paths", "groups"),
    [
        (["grpo"], ["grpo"]),
        (["runs/grpo", "runs/mmr"], ["grpo", "mmr"]),
        (["grpo/results", "mmr/results"], ["grpo", "mmr"]),
        (["grpo/output/trainer_state.json", "mmr/output/trainer_state.json"], ["grpo", "mmr"]),
        (["grpo/checkpoint-5", "mmr/checkpoint-9"], ["grpo", "mmr"]),
        (["x/grpo/a/results", "y/grpo/a/results"], ["x", "y"]),
        (["x/grpo/a/results", "x/mmr/b/results"], ["grpo/a", "mmr/b"]),
        (["a/results", "a/b/results"], ["a", "a/b"]),
        (["grpo/results", "mmr/results", "base"], ["grpo", "mmr", "base"]),
        (["grpo/results", "mmr/results", "x/grpo"], ["grpo/results", "mmr/results", "x/grpo"]),
        (["a/results_1.json", "a/results_2.json"], ["results_1.json", "results_2.json"]),
        (["a/grpo.jsonl", "b/grpo.jsonl", "c/mmr.jsonl"], ["a", "b", "mmr"]),
        (["grpo/progress.csv", "mmr/progress.csv"], ["grpo", "mmr"]),
        (["a/checkpoint-5", "a/checkpoint-9"], ["checkpoint-5", "checkpoint-9"]),
    ],
)
def test_a_name_is_what_differs(paths, groups):
    assert [run.label for run in named(*paths)] == groups
    assert [(run.name, run.seed) for run in named(*paths)] == [(group, None) for group in groups]


@pytest.mark.parametrize(
    ("paths", "groups", "seeds"),
    [
        (["grpo-seed1", "grpo-seed2", "mmr_seed1"], ["grpo", "grpo", "mmr"], [1, 2, 1]),
        (["grpo/seed1/output", "grpo/seed2/output", "mmr/seed1/output"], ["grpo", "grpo", "mmr"], [1, 2, 1]),
        (["grpo/seed-1", "grpo/seed_2"], ["grpo", "grpo"], [1, 2]),
        (["seed1/grpo", "seed2/grpo", "seed1/mmr"], ["grpo", "grpo", "mmr"], [1, 2, 1]),
        (["x/grpo-seed1", "y/grpo-seed2"], ["x", "y"], [1, 2]),
        (["grpo-seed1", "grpo_seed1"], ["grpo-seed1", "grpo_seed1"], [None, None]),
        (["grpo-1", "grpo-2", "mmr-s3"], ["grpo-1", "grpo-2", "mmr-s3"], [None, None, None]),
        (["seed1/x-seed2", "seed1/x-seed3"], ["x-seed2", "x-seed3"], [None, None]),
    ],
)
def test_only_the_word_seed_makes_seeds_of_one_group(paths, groups, seeds):
    runs = named(*paths)
    assert [run.seed for run in runs] == seeds
    assert [run.label for run in runs] == groups
    same = [[one.group == other.group for other in runs] for one in runs]
    assert same == [[one == other for other in groups] for one in groups]


def test_models_in_a_folder_have_its_name_before_theirs():
    folder = RunName("out-seed5", "/w/out", 5)
    assert of_model(folder, "me/mmr-seed3") == ("out/me/mmr-seed3", "/w/out/me/mmr", 3)
    assert of_model(folder, "mmr") == ("out/mmr", "/w/out/mmr", None)
    assert of_model(folder, "seed7").seed is None and of_model(folder, "mmr").label == "out/mmr"


def test_names_have_no_control_characters():
    (run,) = named("gr\x1b[31mpo-seed2")
    assert run.name == "gr\\x1b[31mpo-seed2" and run.name.isprintable()


def without_seed(path):
    parts = [re.sub("[-_]?seed[0-9]+$", "", part) for part in path.parts]
    while len(parts) > 2 and parts[-1] == "checkpoint-5":
        parts.pop()
    return [part for part in parts if part]


@pytest.mark.parametrize("trial", range(300))
def test_different_paths_never_share_a_name(trial):
    chance = random.Random(trial)
    words = ["a", "b", "results", "grpo", "grpo-seed1", "seed1", "seed2", "checkpoint-5", "a-seed2", "a_seed2"]
    deep = {tuple(chance.choices(words, k=chance.randint(1, 4))) for _ in range(chance.randint(1, 12))}
    paths = [Path("/", *parts) for parts in sorted(deep)]
    runs = of_paths(paths)
    assert list(runs) == paths and len({run.name for run in runs.values()}) == len(paths)
    for (one, first), (other, second) in itertools.combinations(runs.items(), 2):
        if first.group == second.group:
            assert first.seed != second.seed and without_seed(one) == without_seed(other)
    shuffled = list(runs)
    chance.shuffle(shuffled)
    assert of_paths(shuffled) == runs
