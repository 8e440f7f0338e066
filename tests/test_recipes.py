"""The shipped recipes: all of them can be composed, and a paper's recipe holds the settings that it published."""

from __future__ import annotations

import copy
import functools
import itertools
import json
import re
from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from project import ROOT, pyproject
from transformers import get_scheduler
from trl import GRPOConfig

from manypaths import recipe
from manypaths.methods.bind import bind_advantage, bind_reweight, bind_selection
from manypaths.methods.inputs import inputs_of
from manypaths.sections import Keys
from manypaths.training import run
from manypaths.training.trainer_config import SET_BY_THE_RUN, trainer_config
from manypaths.typed import check_arguments

KINDS = ("models", "variants", "methods", "problems", "papers")
MODELS, VARIANTS, METHODS, PROBLEMS, PAPERS = (
    [key.partition("/")[2] for key in recipe.shipped() if key.startswith(f"{kind}/")] for kind in KINDS
)
KEYS = {name: recipe.content([name]).get("method", {}) for name in METHODS}  # entropy, history and replay set none
REWEIGHTING = [name for name in METHODS if "reweight" in KEYS[name]]
GRADIENT = [name for name in METHODS if "importance_ratio" in KEYS[name]]
OUT = Path("runs", "nowhere")  # never written to

ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
MMR_LORA = {"r": 64, "lora_alpha": 128, "lora_dropout": 0.05, "target_modules": ALL_LINEAR}
R1 = {  # LoRA, and how many generation batches DAPO's dynamic sampling may take
    "r1-distill-qwen-1.5b": ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", None, 10),
    "r1-distill-qwen-7b": ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", MMR_LORA, 10),
    "r1-distill-llama-8b": ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", MMR_LORA, 20),
}
INSTRUCT = {
    "qwen2.5-0.5b-instruct": "Qwen/Qwen2.5-0.5B-Instruct",
    "qwen2.5-1.5b-instruct": "Qwen/Qwen2.5-1.5B-Instruct",
    "llama-3.2-1b-instruct": "meta-llama/Llama-3.2-1B-Instruct",
}
GRPO = {"loss": "grpo", "scale": "group", "clip": (0.2, 0.2)}
DR_GRPO = {"loss": "dr_grpo", "scale": "none", "clip": (0.2, 0.2)}
DAPO = {"loss": "dapo", "scale": "group", "clip": (0.2, 0.28), "beta": 0.0}
DAPO |= {"rewards": {"accuracy": 1.0, "cosine_as_released": 1.0}, "save_steps": 10}
MMR = {
    "problems": ("knoveleng/open-rs", "train", None, None),
    "seed": 2025,
    "num_generations": 6,
    "per_device_train_batch_size": 6,
    "gradient_accumulation_steps": 8,
    "completions": 48,
    "max_completion_length": 3584,
    "vllm": ("server", 4608, False),
    "temperature": 0.7,
    "learning_rate": 1e-6,
    "max_grad_norm": 1.0,
    "schedule": ("cosine_with_min_lr", {"min_lr_rate": 0.1}, 0.1),
    "beta": 0.04,
    "use_bias_correction_kl": False,
    "num_iterations": 1,
    "max_steps": 500,
    "save_steps": 50,
    "bf16": True,
    "gradient_checkpointing": True,
    "rewards": {"format_as_released": 1.0, "cosine_as_released": 2.0},
    "filtered": None,
    "embedder": ("jinaai/jina-embeddings-v2-small-en", {"max_tokens": 3584, "trust_remote_code": True}),
    "evaluation": None,
}
DRA = MMR | {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 12}  # 3 processes accumulate 4 times
RGRA = MMR | {
    "problems": ("gsm8k", "train", 1, 1800),
    "seed": 1,
    "num_generations": 8,
    "per_device_train_batch_size": 24,
    "gradient_accumulation_steps": 1,
    "completions": 24,
    "max_completion_length": 512,
    "vllm": None,
    "temperature": 1.0,
    "learning_rate": 1e-5,
    "schedule": ("linear", None, 5),
    "beta": 0.005,
    "max_steps": -1,
    "save_steps": 500,
    "rewards": {"accuracy": 1.0, "boxed": 0.1},
    "embedder": ("ngram", {}),
    "evaluation": ("gsm8k", "test", None, 1, 0.0, 1.0, 512),
}
PUBLISHED = {
    ("mmr-grpo", "grpo"): MMR | GRPO,
    ("mmr-grpo", "dr-grpo"): MMR | DR_GRPO,
    ("mmr-dapo", "dapo"): MMR | DAPO,
    ("mmr-dapo-dynamic", "dapo-dynamic"): MMR | DAPO | {"max_steps": 200, "filtered": "accuracy"},
    ("dra-grpo", "grpo"): DRA | GRPO,
    ("dra-grpo", "dr-grpo"): DRA | DR_GRPO,
    ("rgra-gsm8k", "grpo"): RGRA | GRPO,
}


@pytest.fixture(scope="module", autouse=True)
def every_file_is_parsed_once():
    parse = functools.cache(recipe.from_yaml)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "from_yaml", lambda text, what: copy.deepcopy(parse(text, what)))
        yield


def config_of(spec: recipe.Recipe) -> GRPOConfig:
    return trainer_config(spec, OUT)


SETS = PROBLEMS + PAPERS
SECTIONS = (MODELS, VARIANTS, METHODS, SETS)
COMPOSITIONS = [  # in which each pair of values of two sections occurs
    (
        MODELS[(row + column) % len(MODELS)],
        VARIANTS[(row + row // 8 + 3 * column) % len(VARIANTS)],
        method,
        SETS[column % len(SETS)],
    )
    for row, method in enumerate(METHODS)
    for column in range(max(map(len, (MODELS, VARIANTS, SETS))))
]


def test_each_pair_of_two_sections_is_composed():
    """Pairs are enough: a section merges by its own keys."""
    for first, second in itertools.combinations(range(len(SECTIONS)), 2):
        composed = {(names[first], names[second]) for names in COMPOSITIONS}
        missing = set(itertools.product(SECTIONS[first], SECTIONS[second])) - composed
        assert not missing, f"COMPOSITIONS must have these pairs too: {missing}. Change a factor of row or column."


def wants_correct(spec):
    method = spec.method
    bound = {
        "reweight": bind_reweight(method.reweight, method.options, "method.reweight", method.among_correct),
        "advantage": bind_advantage(method.advantage, method.advantage_options, "method.advantage"),
        "select": bind_selection(spec.select.rule, spec.select.count, spec.select.options, "select"),
    }
    wanted = [inputs_of(function, role) for role, function in bound.items() if function is not None]
    if spec.replay.weight is not None or spec.history.target is not None:
        return True
    return any("correct" in inputs for inputs in wanted)


def test_compositions_are_valid_as_far_as_no_file_is_needed():
    passed = set()  # settings that were checked in an earlier composition
    for names in COMPOSITIONS:
        spec = recipe.read(names)
        for kind, section, where in ((GRPOConfig, spec.trainer, "trainer."), (LoraConfig, spec.lora or {}, "lora.")):
            for item in section.items():
                if (key := json.dumps([where, item])) not in passed:  # each argument is checked by itself
                    check_arguments(kind, dict([item]), where, SET_BY_THE_RUN)
                    passed.add(key)
        sampling = spec.dynamic_sampling
        settings = [
            spec.trainer,
            spec.rewards,
            vars(spec.method),
            vars(sampling),
            vars(spec.replay),
            vars(spec.history),
        ]
        if (key := json.dumps(settings)) not in passed:
            config = config_of(spec)
            if spec.method.correct is None and wants_correct(spec):
                with pytest.raises(ValueError, match=r"must be given correct.* Set method\.correct=accuracy"):
                    run.method_arguments(spec, config)
            elif sampling.reward is None or sampling.reward in spec.rewards:
                run.method_arguments(spec, config)
            else:
                with pytest.raises(ValueError, match=r"dynamic_sampling\.reward must be one of"):
                    run.method_arguments(spec, config)
            passed.add(key)


@pytest.mark.parametrize("data", PROBLEMS + PAPERS)
def test_dynamic_sampling_names_a_reward_of_the_recipe_except_for_two_papers(data):
    spec = recipe.read(["smollm2-135m", "dapo-dynamic", "mmr", data])
    assert spec.dynamic_sampling.reward == "accuracy"
    assert ("accuracy" in spec.rewards) == (data not in ("mmr-grpo", "dra-grpo"))


def published(spec: recipe.Recipe) -> dict[str, object]:
    """The settings of a resolved recipe that papers publish."""
    config, data, held_out = config_of(spec), spec.problems, spec.evaluation
    same = [key for key in MMR if hasattr(config, key)]
    return {key: getattr(config, key) for key in same} | {
        "problems": (data.name, data.split, data.shuffle, data.limit),
        "completions": config.per_device_train_batch_size * config.gradient_accumulation_steps,
        "vllm": (config.vllm_mode, config.vllm_max_model_length, config.vllm_importance_sampling_correction)
        if config.use_vllm
        else None,
        "schedule": (config.lr_scheduler_type.value, config.lr_scheduler_kwargs, config.warmup_steps),
        "rewards": spec.rewards,
        "filtered": spec.dynamic_sampling.reward,
        "embedder": (spec.embedder.name, spec.embedder.options),
        "evaluation": held_out
        and (
            *(held_out.problems.name, held_out.problems.split, held_out.problems.limit),
            *(held_out.samples, held_out.temperature, held_out.top_p, held_out.max_new_tokens),
        ),
        "loss": config.loss_type,
        "scale": config.scale_rewards,
        "clip": (config.epsilon, config.epsilon if config.epsilon_high is None else config.epsilon_high),
    }


@pytest.mark.parametrize(("paper", "variant"), PUBLISHED)
def test_a_papers_recipe_holds_what_was_published(paper, variant):
    models = [*R1, *INSTRUCT] if paper == "rgra-gsm8k" else R1
    for model, method in itertools.product(models, ["none", "mmr", "mmr-released", "dra"]):
        spec = recipe.read([model, variant, method, paper])
        assert published(spec) == PUBLISHED[paper, variant], (model, method)
        assert config_of(spec).optim.startswith("adamw")
        assert spec.method.reweight == {"none": None, "dra": "dra"}.get(method, "mmr")
        assert (spec.method.advantage, spec.method.importance_ratio) == (None, True)


@pytest.mark.parametrize("paper", PAPERS)
def test_models_are_the_published_ones_with_their_lora(paper):
    for model, (name, lora, most) in R1.items():
        spec = recipe.read([model, "grpo", "none", paper])
        assert (spec.model.name, spec.dynamic_sampling.max_batches) == (name, most)
        if paper != "rgra-gsm8k":
            assert spec.lora == lora
    for model, name in INSTRUCT.items():
        spec = recipe.read([model, "grpo", "none", paper])
        assert spec.model.name == name
        assert spec.lora is not None
        assert spec.lora["r"] == 128


@pytest.mark.parametrize("model", MODELS)
def test_lora_of_the_rgra_paper_is_the_same_whatever_the_model_has(model):
    lora = {"r": 128, "lora_alpha": 256, "lora_dropout": 0.0, "target_modules": ALL_LINEAR}
    assert recipe.read([model, "grpo", "rgra", "rgra-gsm8k"]).lora == lora


@pytest.mark.parametrize(("paper", "steps"), [("mmr-grpo", 500), ("mmr-dapo-dynamic", 200), ("dra-grpo", 500)])
def test_the_rate_warms_up_over_a_tenth_of_the_steps_and_falls_to_a_tenth(paper, steps):
    config = config_of(recipe.read(["r1-distill-qwen-1.5b", "grpo", "mmr", paper]))
    assert config.max_steps == steps
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=config.learning_rate)
    schedule = get_scheduler(
        config.lr_scheduler_type, optimizer, config.get_warmup_steps(steps), steps, config.lr_scheduler_kwargs
    )
    rates = [schedule.get_last_lr()[0]]
    for _ in range(steps):
        optimizer.step()
        schedule.step()
        rates.append(schedule.get_last_lr()[0])
    assert rates[0] == 0
    assert rates.index(max(rates)) == steps // 10
    assert max(rates) == pytest.approx(1e-6)
    assert rates[-1] == pytest.approx(1e-7)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("paper", PAPERS)
def test_a_step_of_the_papers_rate_is_not_rounded_away(model, paper):
    spec = recipe.read([model, "grpo", "mmr", paper])
    kept_in = torch.float32 if spec.lora else getattr(torch, spec.model.dtype)  # PEFT keeps its adapters in float32
    weight = torch.nn.Parameter(torch.full([1], 0.02, dtype=kept_in))
    optimizer = torch.optim.AdamW([weight], lr=spec.trainer["learning_rate"], weight_decay=0.0)
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert weight.item() < torch.tensor(0.02, dtype=kept_in).item()


@pytest.mark.parametrize("paper", PAPERS)
def test_a_papers_recipe_sets_neither_model_nor_variant_nor_method(paper):
    content = recipe.content([paper])
    assert not {"model", "dynamic_sampling"} & set(content) and set(content["method"]) == {"correct"}
    variants = recipe.content(VARIANTS)["trainer"]
    assert set(variants) & set(content["trainer"]) <= {"num_generations", "beta"}  # groups and KL are the paper's


@pytest.mark.parametrize("before", PROBLEMS)
@pytest.mark.parametrize("paper", PAPERS)
def test_problems_named_before_a_papers_recipe_do_not_change_it(before, paper):
    alone, after = (recipe.read(["smollm2-135m", "grpo", "mmr", *names]) for names in ([paper], [before, paper]))
    for spec in (alone, after):
        spec.keys = Keys()  # of problems with many ways; a paper's method has none, and that of a recipe brings its own
        # of sets that are made; no other set reads them
        for problems in (spec.problems, spec.evaluation and spec.evaluation.problems):
            if problems is not None:
                problems.options = {}
    assert after == alone


@pytest.mark.parametrize("first", PAPERS)
@pytest.mark.parametrize("last", PAPERS)
def test_rewards_are_those_of_the_last_paper(first, last):
    alone, after = (recipe.read(["smollm2-135m", "grpo", "mmr", *names]) for names in ([last], [first, last]))
    assert after.rewards == alone.rewards
    assert after.problems == alone.problems


@pytest.mark.parametrize("methods", [REWEIGHTING, GRADIENT], ids=["rewards", "gradient"])
def test_the_last_of_two_methods_of_a_kind_counts(methods):
    for first, last in itertools.permutations(methods, 2):
        alone, after = (recipe.content(names)["method"] for names in ([last], [first, last]))
        options = {"options": None, "advantage_options": None}
        assert {**after, **options} == {**alone, **options}


def test_a_method_for_rewards_and_one_for_the_gradient_compose_in_any_order():
    for names in itertools.product(REWEIGHTING, GRADIENT):
        merged = recipe.content(names)
        assert merged == recipe.content(reversed(names))
        of_rewards = {"reweight", "options", "among_correct", "keep_equal_rewards"}
        assert {*of_rewards, "advantage", "importance_ratio"} == set(merged["method"]) - {"advantage_options"}


def test_replay_composes_with_every_method_in_any_order():
    for name in [*REWEIGHTING, *GRADIENT]:
        alone, merged = recipe.content([name]), recipe.content([name, "replay"])
        assert merged["replay"] == {"weight": 0.1, "capacity": 16} and merged["method"] == alone["method"]
        other = recipe.content(["replay", name])
        assert merged | {"keys": None} == other | {"keys": None}
        assert other["keys"] == alone.get("keys", merged["keys"])  # a method from keys and replay share them: the last


def test_a_history_composes_with_every_method_and_variant_in_any_order():
    for name in [*METHODS, *VARIANTS]:
        alone, merged = recipe.content([name]), recipe.content([name, "history"])
        assert merged == {**alone, **recipe.content(["history"])} == recipe.content(["history", name])


def test_the_two_smollm2_differ_in_the_name_alone():
    hub, package = (recipe.content([name]) for name in ("smollm2-135m", "smollm2-135m-pypi"))
    assert hub["model"].pop("name") != package["model"].pop("name")
    assert hub == package


SOURCE = re.compile(r"#(?: .*)? ?\[(paper|code|paper, code|old TRL|ours|unknown: ours)\]")


@pytest.mark.parametrize("paper", PAPERS)
def test_every_value_of_a_papers_recipe_has_its_source(paper):
    text = recipe.find(paper).read_text("utf-8")
    settings, _, departs = text.partition("\ndeparts:\n")
    assert all(line.startswith(("  - ", "    ")) for line in departs.splitlines())
    for line in settings.splitlines():
        value = line.partition("  #")[0]
        if not line.lstrip().startswith("#") and not value.endswith(":"):
            assert SOURCE.search(line), line


@pytest.mark.parametrize("paper", PAPERS)
def test_departures_of_a_papers_recipe_are_sentences(paper):
    sentences = recipe.content([paper])["departs"]
    assert len(set(sentences)) == len(sentences) > 0
    assert all(sentence.endswith(".") and sentence[0].isupper() for sentence in sentences)


def test_departures_of_dra_include_those_of_mmrs_settings():
    mmr, dra = (recipe.content([paper])["departs"] for paper in ("mmr-grpo", "dra-grpo"))
    assert {sentence for sentence in mmr if not sentence.startswith(("MMR", "Not evaluated"))} <= set(dra)


@pytest.mark.parametrize("name", recipe.shipped())
def test_a_recipe_begins_with_a_description_and_is_found_by_its_last_name(name):
    path = recipe.shipped()[name]
    lines = path.read_text("utf-8").splitlines()
    assert re.match(r"# \w", lines[0])
    assert max(map(len, lines)) <= 120
    assert recipe.find(path.stem) == recipe.find(name) == path


def test_every_recipe_is_packaged():
    build = pyproject()["tool"]["setuptools"]
    package = ROOT / "src" / "manypaths"
    packaged = {path for pattern in build["package-data"]["manypaths"] for path in package.glob(pattern)}
    existing = {path for path in (package / "recipes").rglob("*") if path.is_file()}
    assert existing <= packaged
    recipes = {path.relative_to(package / "recipes").with_suffix("").as_posix() for path in existing}
    others = {name for name in recipes if name.startswith(("launch/", "sweeps/"))}
    assert recipes - others == set(recipe.shipped())
