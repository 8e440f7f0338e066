"""Recipes: how they merge and what they refuse. What the shipped ones say is tested in test_recipes.py."""

from __future__ import annotations

import dataclasses
import itertools
import random
from pathlib import Path

import pytest
import yaml

from manypaths import recipe
from manypaths.recipe import dump, find, read, read_recorded, shipped
from manypaths.sections import Pretrain, Problems
from manypaths.typed import check_arguments
from manypaths.yaml_text import Loader, canonical, from_yaml, to_yaml

KINDS = ("models", "variants", "methods", "problems", "papers")
BY_KIND = [[name for name in shipped() if name.startswith(f"{kind}/")] for kind in KINDS]
BASE = ("smollm2-135m", "grpo", "mmr", "arithmetic")


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def again(spec: recipe.Recipe, folder: Path) -> recipe.Recipe:
    return read([write(folder / "dumped.yaml", dump(spec))])


def test_every_shipped_recipe_is_of_a_known_kind_and_none_is_missing():
    assert all(BY_KIND)
    assert sorted(itertools.chain(["quickstart"], *BY_KIND)) == sorted(shipped())


def test_the_quickstart_goes_on_top_and_survives_a_dump(tmp_path):
    spec = read(["smollm2-135m-pypi", "grpo", "dra", "arithmetic", "quickstart"])
    assert again(spec, tmp_path) == spec
    assert spec.model.end_tokens == ["\n", "\n\n"]
    assert "{question}" in spec.prompt


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_uses_names_that_the_libraries_know_and_survives_a_dump(name, tmp_path):
    from peft import LoraConfig
    from trl import GRPOConfig

    fill = [other for other in BASE if not name.endswith(f"/{other}")]
    spec = read([*fill, name])
    assert again(spec, tmp_path) == spec
    check_arguments(GRPOConfig, spec.trainer, "trainer.")
    check_arguments(LoraConfig, spec.lora or {}, "lora.")


@pytest.mark.parametrize("name", ["methods/mmr", "mmr"])
def test_a_shipped_recipe_goes_by_its_path_or_its_last_name(name):
    assert find(name) == shipped()["methods/mmr"]


def test_mappings_merge_and_everything_else_replaces_from_left_to_right(tmp_path):
    first = write(
        tmp_path / "first.yaml",
        "model: {name: here, dtype: float32, end_tokens: [a, b]}\n"
        "problems: {name: svamp, options: {x: {y: 1, z: 2}}}\n"
        "trainer: {max_steps: 1, learning_rate: 1e-3}\n"
        "rewards: {accuracy: 1.0}\n",
    )
    second = write(
        tmp_path / "second.yaml",
        "model: {end_tokens: [c]}\nproblems: {options: {x: {z: 3}}}\ntrainer: {max_steps: 2}\nrewards: {boxed: 0.5}\n",
    )
    spec = read([first, second])
    assert (spec.model.name, spec.model.dtype, spec.model.end_tokens) == ("here", "float32", ["c"])
    assert spec.problems == Problems("svamp", options={"x": {"y": 1, "z": 3}})
    assert spec.trainer == {"max_steps": 2, "learning_rate": 1e-3}
    assert spec.rewards == {"accuracy": 1.0, "boxed": 0.5}
    assert read([second, first]).trainer["max_steps"] == 1


def test_overrides_come_last_and_reach_any_depth():
    spec = read(
        BASE, ["trainer.max_steps=5", "evaluation.problems.options.count=7", "method.options.lam=0.5", "seed=3"]
    )
    assert spec.trainer["max_steps"] == 5
    assert spec.evaluation.problems.options["count"] == 7
    assert spec.evaluation.problems.options["held_out"] is True
    assert spec.method.options["lam"] == 0.5
    assert spec.seed == 3
    assert read(BASE, ["seed=3", "seed=4"]).seed == 4


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-6", 1e-6), ("1E-6", 1e-6), ("5.0e-4", 5e-4), ("-2e3", -2000.0), (".5e1", 5.0), ("3", 3), ("1e", "1e")],
)
def test_numbers_are_read_as_people_write_them(text, value, tmp_path):
    file = write(tmp_path / "rate.yaml", f"trainer: {{learning_rate: {text}}}\n")
    for spec in (read([*BASE, file]), read(BASE, [f"trainer.learning_rate={text}"])):
        assert spec.trainer["learning_rate"] == value
        assert type(spec.trainer["learning_rate"]) is type(value)


def test_an_integer_may_stand_for_a_float_and_becomes_one():
    temperature = read(BASE, ["evaluation.temperature=1"]).evaluation.temperature
    assert temperature == 1.0
    assert type(temperature) is float


@pytest.mark.parametrize("text", ["a=b", 'prompt=What is "{question}"? a = b', "prompt={question: [}", "noequals"])
def test_an_override_is_a_key_an_equals_sign_and_yaml(text):
    if text.startswith("prompt=What"):
        assert read(BASE, [text]).prompt == 'What is "{question}"? a = b'
    else:
        with pytest.raises(ValueError, match=r"Unknown recipe key|not YAML|section\.key=value"):
            read(BASE, [text])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("max_steps=5", "'max_steps'. An argument of TRL's GRPOConfig is written trainer.max_steps."),
        ("learning_rate=1", "written trainer.learning_rate."),
        ("model=llama", "model must be a section with keys, got 'llama'. Write model.name=..."),
        ("evaluation=5", "evaluation must be a section with keys, got 5. Write evaluation.problems=..."),
    ],
)
def test_a_key_outside_of_its_section_is_named_with_it(override, words):
    with pytest.raises(ValueError) as caught:
        read(BASE, [override])
    assert words in str(caught.value)


def test_a_missing_section_is_named_with_its_first_key():
    with pytest.raises(ValueError, match=r"no 'problems'.*the override problems\.name=\.\.\."):
        read(["smollm2-135m", "grpo"])
    with pytest.raises(ValueError, match=r"no 'model'.*the override model\.name=\.\.\."):
        read(["grpo", "gsm8k"])


@pytest.mark.parametrize(
    ("override", "key", "near"),
    [
        ("traner.max_steps=1", "traner", "trainer"),
        ("model.dtyp=float32", "model.dtyp", "dtype"),
        ("evaluation.problems.splitt=test", "evaluation.problems.splitt", "split"),
        ("method.option.lam=1", "method.option", "options"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest(override, key, near):
    with pytest.raises(ValueError) as caught:
        read(BASE, [override])
    assert f"{key!r}" in str(caught.value)
    assert f"Did you mean {near!r}?" in str(caught.value)


def test_a_key_near_to_none_is_answered_with_all_of_them():
    with pytest.raises(ValueError, match=r"Known: .*embedder.*trainer"):
        read(BASE, ["zzzzzz=1"])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("seed=true", ["seed must be int", "True"]),
        ("seed=one", ["seed must be int", "'one'"]),
        ("seed=1.5", ["seed must be int", "1.5"]),
        ("evaluation.samples=true", ["evaluation.samples must be int", "True"]),
        ("evaluation.temperature=hot", ["evaluation.temperature must be float", "'hot'"]),
        ("evaluation.temperature=false", ["evaluation.temperature must be float", "False"]),
        ("problems.limit=ten", ["problems.limit must be int | None", "'ten'"]),
        ("model.name=[a]", ["model.name must be str", "['a']"]),
        ("model.end_tokens=stop", ["model.end_tokens must be list[str]", "'stop'"]),
        ("rewards.accuracy=high", ["rewards must be dict[str, float | None]", "'high'"]),
        ("model=tiny", ["model must be a section with keys", "'tiny'"]),
        ("trainer=fast", ["trainer must be dict[str, Any]", "'fast'"]),
        ("evaluation=often", ["evaluation must be a section with keys", "'often'"]),
    ],
)
def test_a_wrong_type_is_answered_with_key_expected_and_given(override, words):
    with pytest.raises(ValueError) as caught:
        read(BASE, [override])
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("section", "content", "words"),
    [
        ("trainer", {"learning_rat": 1.0}, ["'trainer.learning_rat'", "Did you mean 'learning_rate'?"]),
        ("trainer", {"learning_rate": "high"}, ["trainer.learning_rate must be float", "'high'"]),
        ("trainer", {"max_steps": True}, ["trainer.max_steps must be int", "True"]),
        ("trainer", {"max_steps": 1.5}, ["trainer.max_steps must be int", "1.5"]),
        ("trainer", {"output_dir": "x"}, ["trainer.output_dir is set by the run itself"]),
        ("lora", {"lora_alpa": 1}, ["'lora.lora_alpa'", "Did you mean 'lora_alpha'?"]),
        ("lora", {"r": "many"}, ["lora.r must be int", "'many'"]),
    ],
)
def test_arguments_of_the_libraries_are_checked_without_making_anything(section, content, words):
    from peft import LoraConfig
    from trl import GRPOConfig

    with pytest.raises(ValueError) as caught:
        check_arguments({"trainer": GRPOConfig, "lora": LoraConfig}[section], content, f"{section}.", ["output_dir"])
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_arguments_of_the_libraries_may_be_integers_for_floats_and_null_where_they_allow_it():
    from peft import LoraConfig
    from trl import GRPOConfig

    check_arguments(GRPOConfig, {"learning_rate": 1, "temperature": 0.5, "epsilon_high": None}, "trainer.")
    check_arguments(LoraConfig, {"r": 4, "target_modules": ["q_proj"]}, "lora.")
    check_arguments(LoraConfig, {"target_modules": "all-linear"}, "lora.")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mrr", ["'mrr'", "Did you mean 'mmr'?"]),
        ("method/mmr", ["Did you mean 'methods/mmr'?"]),
        ("gone.yaml", ["'gone.yaml'", "does not exist"]),
    ],
)
def test_an_unknown_recipe_is_named_with_the_nearest(name, words):
    with pytest.raises(ValueError) as caught:
        find(name)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("names", "key"), [(["grpo", "mmr", "arithmetic"], "model"), (["smollm2-135m", "grpo"], "problems"), ([], "model")]
)
def test_a_required_key_that_is_missing_is_named(names, key):
    with pytest.raises(ValueError, match=f"no '{key}'"):
        read(names)


def test_a_required_key_that_is_null_is_named():
    with pytest.raises(ValueError, match=r"model\.name"):
        read(BASE, ["model.name=null"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"trainer: [1", "not YAML"),
        (b"\xff\xfe\xfa", "not YAML"),
        (b"- a\n- b\n", "must hold keys and values, got list"),
        (b"", "got NoneType"),
        (b"just words", "got str"),
    ],
)
def test_a_file_that_is_no_mapping_in_yaml_is_named(content, words, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        read([str(path)])
    assert str(path) in str(caught.value)


def test_no_tag_in_a_recipe_makes_an_object(tmp_path):
    with pytest.raises(ValueError, match="not YAML"):
        read([write(tmp_path / "bad.yaml", "model: !!python/object/apply:os.getcwd []\n")])


def test_a_recipe_includes_others_before_itself(tmp_path):
    write(tmp_path / "low.yaml", "seed: 1\ntrainer: {max_steps: 1, beta: 0.1}\n")
    middle = write(tmp_path / "middle.yaml", f"include: [{tmp_path}/low.yaml]\ntrainer: {{max_steps: 2}}\n")
    top = write(tmp_path / "top.yaml", f"include: [grpo, {middle}]\nseed: 3\n")
    assert recipe.content([top]) == {
        "seed": 3,
        "method": {"skip_zero_advantage": None},
        "trainer": {"loss_type": "grpo", "scale_rewards": "group", "num_generations": 8, "max_steps": 2, "beta": 0.1},
    }
    round_about = tmp_path / "round.yaml"
    write(round_about, f"include: [{round_about}]\n")
    with pytest.raises(ValueError, match="includes itself"):
        recipe.content([str(round_about)])


def test_a_reward_of_null_is_left_out():
    assert read([*BASE, "gsm8k"]).rewards == {"accuracy": 1.0, "boxed": 0.1}
    assert read([*BASE, "gsm8k"], ["rewards.boxed=null"]).rewards == {"accuracy": 1.0}


def random_texts(seed: int, count: int) -> list[str]:
    letters = [*"-+.:#~ 0123456789eExXo_'\"\\{}[],&*!|>%@`?=<nytNYTaf\t\n\r", "\0", "\x1b", "\x7f", "\x85", "\xa0"]
    letters += ["\u2028", "\u2029", "\ufeff", "\ud800", "\uffff", "é", "漢", "🙂", "yes", "null", "---"]
    draw = random.Random(seed)
    return ["".join(draw.choices(letters, k=draw.randint(0, 12))) for _ in range(count)]


def test_any_text_survives_a_dump():
    texts = ["1e5", "1E5", "-1e-5", ".5e1", "1e+5", "1.e5", "+1", "1_000", "0x1", "0o7", "1:30", ".inf", "2024-01-01"]
    texts += ["", "~", "null", "yes", "no", ": ", "#", "=", "<<", "- a", "? a", "{question}"]
    texts += [" a", "a ", "a\n", "\n", "word " * 40, *random_texts(seed=1, count=3000)]
    content = {"list": texts, "keys": dict.fromkeys(texts, 1)}
    loaded = yaml.load(to_yaml(content), Loader)
    assert loaded == content
    assert [type(value) for value in loaded["list"]] == [str] * len(texts)


def test_texts_that_look_like_something_else_survive_the_dump_of_a_recipe(tmp_path):
    texts = ["model.end_tokens=['1e5', 'yes', '~', '2024-01-01']", "problems.split='1e5'", "model.name='1e5'"]
    spec = read(BASE, texts)
    assert again(spec, tmp_path) == spec


@pytest.mark.parametrize(
    ("key", "whole", "point"),
    [
        ("rewards.accuracy", "1", "1.0"),
        ("evaluation.temperature", "1", "1.0"),
        ("method.options.lam", "1", "1.0"),
        ("trainer.learning_rate", "1", "1e0"),
        ("trainer.lr_scheduler_kwargs.min_lr_rate", "0", "-0.0"),
        ("lora.lora_dropout", "0", "0.0"),
        ("reward_options.cosine.min_value_correct", "1", "1.0"),
        ("embedder.options.weights", "[1, 2]", "[1.0, 2.0]"),
    ],
)
def test_whole_numbers_are_one_recipe_with_and_without_a_point(key, whole, point):
    integer, floating = (read(BASE, ["rewards.cosine=1.0", f"{key}={value}"]) for value in (whole, point))
    first, second = (to_yaml(canonical(dataclasses.asdict(spec))) for spec in (integer, floating))
    assert first == second
    assert type(integer.rewards["accuracy"]) is type(floating.rewards["accuracy"]) is float


def test_true_is_not_one():
    assert canonical({"a": True, "b": [1.0, 1.5, "1.0"]}) == {"a": True, "b": [1, 1.5, "1.0"]}
    assert to_yaml(canonical({"a": True})) != to_yaml(canonical({"a": 1.0}))


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("model.dtype=int8", "model.dtype must be one of bfloat16, .*, got 'int8'"),
        ("problems.limit=0", "problems.limit must be 1 or more, got 0"),
        ("evaluation.problems.limit=0", "problems.limit must be 1 or more, got 0"),
        ("dynamic_sampling.max_batches=0", "dynamic_sampling.max_batches must be 1 or more, got 0"),
        ("replay.weight=0", "replay.weight must be above 0, got 0"),
        ("replay.weight=.nan", "replay.weight must be above 0, got nan"),
        ("replay.capacity=0", "replay.capacity must be 1 or more, got 0"),
        ("history.target=1.5", "history.target must be from 0 to 1, got 1.5"),
        ("history.discount=-0.1", "history.discount must be from 0 to 1, got -0.1"),
        ("history.explore=0", "history.explore must be from 0.05 to 0.95, got 0"),
        ("history.prior=.nan", "history.prior must be from 0 to 1000, got nan"),
        ("history.step=2", "history.step must be from 0 to 1, got 2"),
        ("record.every=0", "record.every must be 1 or more, got 0"),
        ("record.groups=0", "record.groups must be 1 or more, got 0"),
        ("prompt=What?", "prompt must contain {question}, got 'What\\?'"),
        ("prompt=[{role: user, content: What}]", "prompt must contain {question}, got"),
    ],
)
def test_a_value_out_of_its_range_is_refused_as_the_recipe_is_read(override, complaint):
    with pytest.raises(ValueError, match=complaint):
        read(BASE, [override])
    assert read(BASE, ["record.groups=null", "problems.limit=null", "model.dtype=float64"]).record.groups is None


def test_a_name_of_an_earlier_version_is_refused_where_a_user_writes_it(tmp_path):
    own = write(tmp_path / "own.yaml", "method: {policy_ratio: false}\n")
    for names, overrides in (([own], []), ([], ["method.policy_ratio=false"])):
        with pytest.raises(ValueError, match=r"method\.policy_ratio must have .* method\.importance_ratio\. Rename it"):
            read([*BASE, *names], overrides)


def test_a_name_of_an_earlier_version_is_read_in_a_recipe_that_was_recorded(tmp_path, monkeypatch):
    monkeypatch.setitem(recipe.RENAMED_KEYS, "evaluation.problems.amount", "evaluation.problems.limit")
    monkeypatch.setitem(recipe.RENAMED_VALUES, "method.reweight", {"marginal": "mmr"})
    spec = read(BASE, ["method.importance_ratio=false", "method.reweight=mmr", "evaluation.problems.limit=3"])
    text = dump(spec).replace("importance_ratio", "policy_ratio").replace("reweight: mmr", "reweight: marginal")
    path = Path(write(tmp_path / "recipe.yaml", text.replace("limit: 3", "amount: 3")))
    assert read_recorded(path) == spec != read_recorded(path, ["method.reweight=dra"])
    with pytest.raises(
        ValueError, match=r"method\.reweight must be mmr, got 'marginal', its name of an earlier version"
    ):
        read_recorded(path, ["method.reweight=marginal"])


def test_every_name_of_an_earlier_version_has_a_name_of_today():
    from manypaths.methods import ADVANTAGES

    spec = dataclasses.asdict(read(BASE))
    for old, new in recipe.RENAMED_KEYS.items():
        section, _, key = new.rpartition(".")
        assert (
            old.rpartition(".")[0] == section and key in spec[section] and old.rpartition(".")[2] not in spec[section]
        )
    for key, names in recipe.RENAMED_VALUES.items():
        functions = {"method.advantage": ADVANTAGES}[key]
        assert set(names.values()) <= set(functions) and not set(names) & set(functions)


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("samples=4", r"evaluation\.samples must be 1 with evaluation\.temperature 0, got 4"),
        ("samples=0", r"evaluation\.samples must be 1 or more, got 0"),
        ("every=0", r"evaluation\.every must be 1 or more, got 0"),
        ("max_new_tokens=0", r"evaluation\.max_new_tokens must be 1 or more, got 0"),
        ("batch_size=-1", r"evaluation\.batch_size must be 1 or more, got -1"),
        ("temperature=-1", r"evaluation\.temperature must be 0 \(greedy\) or more, got -1\.0"),
        ("temperature=.nan", r"evaluation\.temperature must be 0 \(greedy\) or more, got nan"),
        ("top_p=0", r"evaluation\.top_p must be above 0 and at most 1, got 0\.0"),
        ("top_p=1.5", r"evaluation\.top_p must be above 0 and at most 1, got 1\.5"),
    ],
)
def test_an_evaluation_that_cannot_be_is_refused(override, complaint):
    with pytest.raises(ValueError, match=complaint):
        read(BASE, [f"evaluation.{override}"])
    assert read(BASE, ["evaluation.samples=4", "evaluation.temperature=0.6"]).evaluation.samples == 4


@pytest.mark.parametrize("text", ["010", "-07", "00", "12:00", "1:30.5", "2024-01-01", "2024-01-01 10:00:00"])
def test_what_yaml_makes_another_number_of_or_a_date_is_text(text, tmp_path):
    base = ["smollm2-135m", "grpo", "gsm8k"]
    with pytest.raises(ValueError, match="seed must be int, got"):
        read(base, [f"seed={text}"])
    spec = read(base, [f"problems.split={text}", f"problems.options={{a: {text}}}"])
    assert spec.problems.split == spec.problems.options["a"] == text
    (tmp_path / "dumped.yaml").write_text(dump(spec))
    assert read([str(tmp_path / "dumped.yaml")]) == spec


def test_a_key_that_earlier_versions_lack_has_its_default():
    spec = dataclasses.asdict(read(["smollm2-135m", "none", "arithmetic"], ["method.correct=null"]))
    for name, default in recipe.ADDED_KEYS.items():
        section, _, key = name.rpartition(".")
        settings = spec[section] or dataclasses.asdict(Pretrain()) if section else spec
        assert settings[key] == default


@pytest.mark.parametrize(("text", "cluster"), [("start-1", "start-1"), ("3", 3), ("null", None)])
def test_a_cluster_is_a_name_or_a_number(text, cluster, tmp_path):
    spec = read(BASE, [f"cluster={text}"])
    assert spec.cluster == cluster and again(spec, tmp_path) == spec
    with pytest.raises(ValueError, match="cluster must be"):
        read(BASE, ["cluster=[1]"])


@pytest.mark.parametrize("text", ["seed: 1\nseed: 2\n", "trainer: {max_steps: 1, beta: 0, 'max_steps': 2}\n"])
def test_a_key_that_stands_twice_is_refused_and_not_dropped(text, tmp_path):
    (tmp_path / "twice.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"twice.yaml is not YAML: .* the key '(seed|max_steps)' is there twice"):
        recipe.content([str(tmp_path / "twice.yaml")])


def test_a_key_may_replace_one_of_a_merged_mapping():
    assert from_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\n", "t")["b"] == {"x": 3, "y": 2}
