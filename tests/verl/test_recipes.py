"""Each shipped recipe of a method that verl can follow, by the same settings, on groups of different sizes."""

import json

import pytest
import torch
from test_advantages import at, grpo
from test_verl import advantages, put, similarities

from manypaths import keys, recipe
from manypaths.methods.bind import bind_advantage, bind_reweight
from manypaths.methods.inputs import inputs_of

NAMES = [name for name in recipe.shipped() if name.startswith("methods/")]
METHODS = {name: {"reweight": None, "advantage": None, **recipe.content([name]).get("method", {})} for name in NAMES}
OF_VERL = [name for name, method in METHODS.items() if method["reweight"] or method["advantage"]]
TEXTS = {  # by uid: right answers are 5 and 7
    "a": ["2 + 3 = 5", "3 + 2 = 5", "10 / 2 = 5", "so 6 = 6", "2 + 3 = 6", "no idea", "2 + 4 = 6", "1 + 6 = 7"],
    "b": ["7 - 2 = 5", "7 - 2 = 6"],
    "c": ["1 + 2 + 4 = 7"],
    "d": ["no idea", "1 = 2", "no"],
}
ORDER = "aaaaadcbdabada"  # the uid of each row
PLACES = [(uid, ORDER[:row].count(uid)) for row, uid in enumerate(ORDER)]


def answers():
    """(uid, session, output): text and score, which is 0.8 for a right answer and up to 0.2 for brevity."""
    texts = {place: TEXTS[place[0]][place[1]] for place in PLACES}
    return {
        (*place, 0): (text, 0.8 * text.endswith(("5", "7")) + 0.2 - len(text) / 100) for place, text in texts.items()
    }


def settings(name):
    """The overrides of verl's command that say what a recipe says."""
    method, named = METHODS[name], recipe.content([name]).get("keys", {})
    diversity = {"method": method["reweight"], "correct": "score", "keys": named.get("name")}
    renamed = ("options", "among_correct", "keep_equal_rewards", "advantage", "advantage_options")
    diversity |= {setting: method[setting] for setting in renamed if setting in method}
    flat = {f"diversity.{key}": value for key, value in diversity.items() if value is not None}
    for key in ("diversity.options", "diversity.advantage_options"):
        flat |= {f"{key}.{option}": value for option, value in flat.pop(key, {}).items()}
    return [f"+{key}={json.dumps(value)}" for key, value in flat.items()]


def by_hand(name, texts, scores, tokenizer, progress):
    """The advantages of one uid, by the functions alone."""
    method, named = METHODS[name], recipe.content([name]).get("keys", {})
    among, equal = (method.get(key, False) for key in ("among_correct", "keep_equal_rewards"))
    reweight = bind_reweight(method["reweight"], method.get("options", {}), "x", among, equal)
    advantage = bind_advantage(method["advantage"], method.get("advantage_options", {}), "x")
    lengths = [len(tokenizer(text)["input_ids"]) + 1 for text in texts]
    given = {"rewards": scores, "similarity": similarities(texts), "correct": [float(score > 0.5) for score in scores]}
    given["logprobs"] = [-float(length) for length in lengths]
    inputs = {key: torch.tensor([values]) for key, values in given.items()}
    inputs |= {"lengths": torch.tensor([lengths]), "progress": torch.tensor(progress)}
    if named:
        inputs["keys"] = keys.bind(named["name"], {})(texts, [""] * len(texts)).unsqueeze(0)
    if reweight is not None:
        inputs["rewards"] = reweight(*(inputs[key] for key in inputs_of(reweight, "reweight")))
    inputs["advantages"] = torch.tensor([grpo(inputs["rewards"][0].tolist())])
    if advantage is not None:
        return advantage(*(inputs[key] for key in inputs_of(advantage, "advantage")))[0]
    return inputs["advantages"][0]


@pytest.mark.parametrize("name", OF_VERL)
def test_a_recipe_has_the_advantages_of_its_functions(queue, trainer, tokenizer, name):
    ours = at(3, trainer(*settings(name), "actor_rollout_ref.rollout.n=8"))
    actual, _, _ = advantages(queue, ours, put(queue, tokenizer, answers()))
    expected = {}
    for uid, texts in TEXTS.items():
        scores = [answers()[uid, session, 0][1] for session in range(len(texts))]
        values = by_hand(name, texts, scores, tokenizer, 2 / 8)
        expected |= {(uid, session): value for session, value in enumerate(values)}
    assert len(expected) == len(PLACES) and any(expected.values())
    torch.testing.assert_close(actual, torch.stack([expected[place] for place in PLACES]), rtol=1e-4, atol=1e-4)
