"""What the dry run says of the methods of a recipe: inputs with their sources, options, and cautions."""

import json

import pytest

from manypaths import recipe
from manypaths.methods import ADVANTAGES, REWEIGHTERS
from manypaths.methods.inputs import inputs_of, options_of
from manypaths.preflight.cautions import cautions
from manypaths.preflight.dry_run import page
from manypaths.training.trainer_arguments import methods_and_keys

RECIPES = [name for name in recipe.shipped() if name.startswith("methods/")]
QUICKSTART = ["smollm2-135m-pypi", "grpo", "arithmetic", "quickstart"]
PASS = "one more forward pass a generation, without gradient"


def read(*words):
    return recipe.read([*QUICKSTART, *(w for w in words if "=" not in w)], [w for w in words if "=" in w])


def loss_of(spec):
    """The rows of the page about the loss, each in one line."""
    section = page(spec, QUICKSTART).partition("\nLoss\n")[2].partition("\n\n")[0]
    rows, last = {}, ""
    for line in section.splitlines():
        key, text = line[2:20].strip(), line[20:]
        last = key or last
        rows[last] = f"{rows[last]} {text}" if last in rows else text
    return rows


def wanted(spec):
    """The inputs of a recipe's methods, as the training binds them."""
    bound = methods_and_keys(spec)
    names = {own for role in ("reweight", "advantage") if bound[role] for own in inputs_of(bound[role], role)}
    return names | ({"correct", "keys"} if bound["replay"] else set())


PLACEBOS = [name for name in RECIPES if {"similarity", "keys"} & wanted(read(name)) and name != "methods/replay"]
CASES = [*((name, []) for name in RECIPES), *((name, ["method.shuffled=true"]) for name in PLACEBOS)]


@pytest.mark.parametrize(("name", "more"), CASES, ids=lambda part: "".join(part))
def test_each_input_of_a_method_is_named_with_its_source(name, more):
    spec = read(name, *more)
    sources = {"correct": "accuracy > 0.5", "keys": spec.keys.name, "similarity": spec.embedder.name, "logprobs": PASS}
    sources |= {"lengths": "tokens", "progress": "steps", "advantages": "TRL"}
    shown = loss_of(spec)
    named = shown.get("inputs", "").replace(PASS, "a pass")  # which has a comma
    expected = {f"{own} by {sources[own]}".replace(PASS, "a pass") if own in sources else own for own in wanted(spec)}
    assert {*named.split(", ")} - {""} == expected
    assert ("forward pass" in " ".join(shown.values())) == ("logprobs" in wanted(spec))


@pytest.mark.parametrize("name", RECIPES)
def test_each_option_of_a_method_is_shown_with_its_value(name):
    spec, method = read(name), read(name).method
    names = [method.advantage] if isinstance(method.advantage, str) else method.advantage or []
    of_each = {own: method.advantage_options if len(names) == 1 else method.advantage_options.get(own) for own in names}
    methods = [("reweighting", REWEIGHTERS[method.reweight], method.options)] if method.reweight else []
    methods += [("advantage", ADVANTAGES[own], of_each[own] or {}) for own in names]
    for row, function, chosen in methods:
        values = {option.name: option.default for option in options_of(function)} | chosen
        listed = ", ".join(f"{option} {json.dumps(value)}" for option, value in values.items()) or "no options"
        assert (
            f"{function.__name__}{' among the right completions' * method.among_correct} ({listed})"
            in loss_of(spec)[row]
        )


def test_several_advantages_are_said_in_their_order():
    [first, second] = loss_of(read("maxrl-rarity"))["advantage"].split(", then ")
    assert first == "maxrl (partial_credit false, eps 0.0)"
    assert second.startswith('rarity (alpha 0.5, rule "redistributed", clip null) in place of TRL\'s: reward minus')
    assert second.endswith("; each gets the advantages of the one before it")


def test_a_placebo_is_said_where_there_is_one():
    rows = loss_of(read("mmr", "maxrl-rarity", "method.shuffled=true"))
    assert rows["reweighting"] == 'mmr among the right completions, shuffled: a placebo (lam null, ties "diverse")'
    assert "maxrl (" in rows["advantage"] and "rarity, shuffled: a placebo (" in rows["advantage"]


def test_an_input_without_a_source_says_what_to_set():
    rows = loss_of(read("gapo", "method.correct=null", "keys.name=null"))
    expected = "rewards, correct by nothing (set method.correct), keys by nothing (set keys.name)"
    assert rows["inputs"] == expected
    assert loss_of(read("dra-paper", "embedder.name=keys", "keys.name=answer"))["inputs"].endswith("by equal keys")


IS_WARNED = {"mmr": True, "dra": True, "evol": True, "darling": True, "unlikeliness": True}
IS_WARNED |= {"gapo": False, "darling_correct": False, "ips": False}


@pytest.mark.parametrize("name", REWEIGHTERS)
def test_a_method_that_tells_wrong_completions_apart_has_a_caution(name):
    """gapo gives one number to all of a group without a right completion; the other two leave it as it is."""
    spec = read("none", f"method.reweight={name}", "keys.name=answer")
    assert [f"{name} acts on all completions" in sentence for sentence in cautions(spec)] == [True] * IS_WARNED[name]
