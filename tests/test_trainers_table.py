"""The table of docs/trainers.md says what the trainers accept."""

import runpy
from pathlib import Path

import pytest
from test_slime import arguments, with_texts
from test_trl import vowels

from manypaths.embed import NgramEmbedder
from manypaths.keys import answer
from manypaths.methods.bind import TABLES
from manypaths.slime import post_process_rewards
from manypaths.trl import DiverseGRPOTrainer
from manypaths.wrapper import DiverseReward

SCRIPT = runpy.run_path(str(Path(__file__).parent.parent / "bench" / "trainers_table.py"))
ROWS = [line.strip("| \n").split(" | ") for line in SCRIPT["table"]().splitlines()]
METHODS = [(role, name) for role, methods in TABLES.items() for name in methods]


def test_the_page_has_the_table_that_the_script_makes():
    shown = SCRIPT["shown"](SCRIPT["PAGE"].read_text("utf-8"))
    assert shown == SCRIPT["table"](), "run: python bench/trainers_table.py --write"


@pytest.mark.parametrize(("role", "name"), METHODS, ids=[name for _, name in METHODS])
def test_a_trainer_takes_exactly_what_its_cell_says(role, name):
    """With all settings; of DiverseGRPOTrainer the next complaint is about the model. (verl: tests/verl.)"""
    row = dict(zip(ROWS[0], ROWS[2 + METHODS.index((role, name))], strict=True))
    method = {role: TABLES[role][name]}
    settings = {"embedder": NgramEmbedder(), "keys": answer}

    def refusal(function, *positional, **named):
        try:
            function(*positional, **method, **settings, **named)
        except (ValueError, TypeError, OSError) as error:
            return str(error)
        return ""

    ours = refusal(DiverseGRPOTrainer, "/no/such/model", vowels, correct=0)
    assert ("must be given" in ours) == (row["`DiverseGRPOTrainer`"] != "yes"), ours
    named = {} if role == "reweight" else {"reweight": TABLES["reweight"]["mmr"]}
    wrapped = refusal(DiverseReward, vowels, num_generations=4, correct=0, **named)
    assert (wrapped == "") == (row["`DiverseReward`"] == "yes"), wrapped
    missing = row["`DiverseReward`"].removeprefix("no ")
    assert missing == "yes" or (missing if role == "reweight" else "advantage") in wrapped
    by_slime = refusal(post_process_rewards, arguments(), with_texts(), correct="reward", progress=0.5)
    assert (by_slime == "") == (row["slime"] == "yes"), by_slime
