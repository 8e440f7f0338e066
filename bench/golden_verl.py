"""Three steps of verl's whole loop with every method, for `bench/golden.py`, run by pytest.

python -m pytest -p no:cacheprovider bench/golden_verl.py      # writes $GOLDEN_FILE
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path[:0] = [str(TESTS / "verl"), str(TESTS)]
spec = importlib.util.spec_from_file_location("tests_conftest", TESTS / "conftest.py")
assert spec is not None and spec.loader is not None
shared = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shared)
conftest, training = importlib.import_module("conftest"), importlib.import_module("test_training")
# the fixtures, which pytest finds by these names
tiny_model, train = shared.tiny_model, training.train
configure, elsewhere, queue, tokenizer = conftest.configure, conftest.elsewhere, conftest.queue, conftest.tokenizer

METHODS = {
    "none": ["trainer.v1.trainer_mode=sync"],
    "mmr": ["+diversity.method=mmr"],
    "mmr-fixed": ["+diversity.method=mmr", "+diversity.options.lam=0.7"],
    "mmr-keep-equal": ["+diversity.method=mmr", "+diversity.keep_equal_rewards=true"],
    "dra": ["+diversity.method=dra"],
}
LEARNED = ("actor/pg_loss", "actor/grad_norm", "actor/entropy", "critic/advantages/max", "critic/advantages/min")


def test_record(train, tmp_path):
    result = {}
    for name, overrides in METHODS.items():
        (tmp_path / "log.jsonl").unlink(missing_ok=True)
        steps = train("trainer.total_training_steps=3", *overrides)
        assert len(steps) == 3
        result[name] = [[float(step[key]).hex() for key in LEARNED] for step in steps]
    Path(os.environ["GOLDEN_FILE"]).write_text(json.dumps(result))
