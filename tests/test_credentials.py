"""Tokens, keys of APIs and passwords reach neither script.json nor the hub."""

from __future__ import annotations

import functools
import json

import pytest

from manypaths.cli import main
from manypaths.credentials import HIDDEN, credentials_in, is_credential
from manypaths.trl.described import described


class Judge:
    """An embedder or a reward function that asks a server."""

    def __init__(self) -> None:
        self.model, self.api_key, self.max_tokens = "large", "sk-secret", 5


@pytest.mark.parametrize("name", ["token", "hub_token", "api_key", "apikey", "OPENAI_API_KEY", "db_password", "secret"])
def test_a_credential_is_known_by_its_name(name):
    assert is_credential(name, "x") and credentials_in({"a": [{name: "x"}]}) == [f"a.{name}"]
    assert not any(is_credential(name, value) for value in (None, "", 5, HIDDEN, "<HUB_TOKEN>"))


@pytest.mark.parametrize("name", ["max_tokens", "tokenizer", "key", "keys", "pad_token", "eos_token", "answer_key"])
def test_other_settings_are_none(name):
    assert not is_credential(name, "x")


def test_what_is_recorded_of_a_script_has_no_credential():
    settings = {"model_init_kwargs": {"token": "hf_secret", "dtype": "float32"}, "judge": Judge()}
    shown = described({**settings, "reweight": functools.partial(print, api_key="sk-secret", weight=2)})
    assert "secret" not in json.dumps(shown)
    assert shown["model_init_kwargs"] == {"token": HIDDEN, "dtype": "float32"}
    assert shown["judge"] == "Judge(model='large', api_key=<hidden>, max_tokens=5)"
    assert shown["reweight"] == "print(api_key=<hidden>, weight=2)" and not credentials_in(shown)


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_run_whose_settings_hold_a_credential_is_not_published(more, tmp_path, capsys):
    (tmp_path / "script.json").write_text(json.dumps({"reward_options": {"judge": {"api_key": "sk-secret"}}}))
    assert main(["publish", str(tmp_path), "--dataset", "ada/groups", *more]) == 2
    printed = capsys.readouterr()
    assert "got reward_options.judge.api_key" in printed.err and "sk-secret" not in printed.err + printed.out
