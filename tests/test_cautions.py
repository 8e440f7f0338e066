"""An advantage that is 0 in every group, and a selection that works against it, are named before a run."""

import pytest

from manypaths import recipe
from manypaths.methods import ADVANTAGES
from manypaths.preflight.cautions import cautions


def cautions_of(*names):
    words = ["smollm2-135m", "grpo", "gsm8k", *(name for name in names if "=" not in name)]
    return cautions(recipe.read(words, [name for name in names if "=" in name]))


@pytest.mark.parametrize(
    ("names", "when"),
    [
        (["passk", "trainer.num_generations=4"], ""),
        (["passk", "method.advantage_options.k=8"], ""),
        (["passk", "method.advantage_options.k=[8,1]"], " at the beginning of the training"),
        (["passk", "method.advantage_options.k=[1,8,8]"], " in the middle and at the end of the training"),
        (["pkpo", "method.advantage_options.k=9"], ""),
        (["pkpo", "method.advantage_options.k=8", "method.advantage_options.estimator=sloo"], ""),
    ],
)
def test_an_advantage_that_is_0_in_every_group_is_named(names, when):
    size = 4 if "trainer.num_generations=4" in names else 8
    [sentence] = cautions_of(*names, f"trainer.num_generations={size}")
    expected = f"method.advantage={names[0]} gives 0 to all completions in groups of {size}{when}, however many"
    assert sentence.startswith(expected) and sentence.endswith("or change method.advantage_options.")


def test_several_advantages_are_named_together():
    settings = ["method.advantage=[passk,focal]", "method.advantage_options.passk.k=8"]
    [sentence] = cautions_of("trainer.num_generations=8", *settings)
    assert sentence.startswith("method.advantage=passk, focal gives 0 to all completions in groups of 8, however")


@pytest.mark.parametrize("method", ADVANTAGES)
def test_no_advantage_is_0_everywhere_by_its_defaults(method):
    assert cautions_of(f"method.advantage={method}", "trainer.num_generations=8") == []
    assert cautions_of("passk", "method.advantage_options.k=[7,1]", "trainer.num_generations=8") == []


@pytest.mark.parametrize("advantage", ["maxrl", "passk", "pkpo", "focal", "[focal,ucpo]"])
@pytest.mark.parametrize("rule", ["mmr", "max_variance"])
def test_a_selection_that_changes_the_share_an_advantage_depends_on_is_named(advantage, rule):
    words = [f"method.advantage={advantage}", "select.count=4", "trainer.num_generations=8"]
    [sentence] = cautions_of(f"select.rule={rule}", *words)
    of = advantage.strip("[").partition(",")[0]
    assert (
        sentence.startswith(f"select.rule={rule} changes the share of right") and f"advantage={of} depends" in sentence
    )
    assert cautions_of("select.rule=random", *words) == []
    assert cautions_of(f"select.rule={rule}", "method.advantage=rarity", *words[1:]) == []


def test_a_selection_of_everything_is_named():
    words = ["select.rule=max_variance", "select.count=8"]
    assert cautions_of(*words, "trainer.num_generations=16") == []
    [sentence] = cautions_of(*words, "trainer.num_generations=8")
    assert sentence.startswith("select.count=8 leaves no completion out of groups of 8.")
