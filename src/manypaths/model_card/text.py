"""The Markdown of a model card, and its metadata.

Names, options and recipes may hold anything. They appear in code spans, in fenced blocks that they cannot end, and in
YAML that was written from values; no completion appears at all.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from manypaths import statistics
from manypaths.model_card.papers import GRPO, LOSSES, RLOO, WORDS, Paper, bibtex, papers
from manypaths.model_card.training import Settings, Training
from manypaths.printable import lines, one_line
from manypaths.tables import markdown
from manypaths.yaml_text import to_yaml

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
FILES = (".json", ".jsonl", ".csv", ".tsv", ".parquet", ".gz")
SHIPPED = {"gsm8k": "openai/gsm8k", "svamp": "ChilleD/SVAMP"}  # problems that come with the package, on the hub
OPTIONAL = {  # a part of the method -> the setting that is null where the part is not used
    "select": "rule",
    "history": "target",
    "replay": "weight",
    "dynamic_sampling": "reward",
    "keys": "name",
    "embedder": "name",
}
TRAINER = (
    "num_generations",
    "max_completion_length",
    "temperature",
    "learning_rate",
    "beta",
    "loss_type",
    "scale_rewards",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "num_iterations",
)


def card(training: Training, license: str | None = None) -> str:
    """The README.md of a model: metadata for the hub, then what `sections` says.

    Args:
        training: What is known of the training.
        license: An identifier of the hub, such as apache-2.0; None where it is not known, which leaves it out.
    """
    front = to_yaml(_metadata(training, license))
    base = hub_id(_name_of(training.settings.get("model")))
    start = f"[{base}](https://huggingface.co/{base})" if base else code(_name_of(training.settings.get("model")))
    weights = "a LoRA adapter of" if training.settings.get("lora") else "those of"
    trainer = "RLOOTrainer" if _is_rloo(training.settings) else "GRPOTrainer"
    opening = (
        f"The weights are {weights} {start} after {_count(training.steps, 'update')} of {_title(training.settings)}, "
        f"by manypaths on [TRL](https://github.com/huggingface/trl)'s {trainer}."
    )
    terms = "" if license else "\n\nThe licence is not recorded here; the terms of the base model apply to its weights."
    return f"---\n{front}---\n\n# {code(training.name)}\n\n{opening}{terms}\n\n{sections(training)}"


def sections(training: Training) -> str:
    """What manypaths did: accuracy, method, training, recipe, versions and citations, as sections of a card."""
    parts = {
        "Accuracy": _accuracy(training),
        "Method": _method(training),
        "Training": _training(training),
        "Recipe": _recipe(training),
        "Versions": _versions(training.environment),
        "Citations": "\n\n".join(fenced(bibtex(paper), "bibtex") for paper in _papers(training.settings)),
    }
    return "\n".join(f"## {title}\n\n{text}\n" for title, text in parts.items() if text)


def code(text: object) -> str:
    """A text as a code span of one line, whatever it contains."""
    line = one_line(text, 200) or " "
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    return f"{ticks} {line} {ticks}" if len(ticks) > 1 else f"`{line}`"


def fenced(text: str, language: str) -> str:
    """A text as a fenced block, which no line of it ends."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{lines(text.rstrip())}\n{fence}"


def hub_id(name: str | None) -> str | None:
    """The name where it is one of the hub; None for a file, a folder, a package and no name."""
    if name is None or not HUB_ID.fullmatch(name) or name.endswith(FILES) or Path(name).exists():
        return None
    return name


def _name_of(section: Any) -> str | None:
    name = section.get("name") if isinstance(section, Mapping) else None
    return name if isinstance(name, str) else None


def _count(number: int | None, word: str) -> str:
    return f"an unknown number of {word}s" if number is None else f"{number:,} {word}{'s' * (number != 1)}"


def _metadata(training: Training, license: str | None) -> dict[str, Any]:
    settings = training.settings
    name = _name_of(settings.get("problems"))
    data = hub_id(SHIPPED.get(name or "", name))
    base = hub_id(_name_of(settings.get("model")))
    methods = sorted(name.replace("_", "-") for name in _names(settings))
    metadata = {
        "license": license,
        "base_model": base,
        "datasets": [data] if data else None,
        "library_name": "peft" if settings.get("lora") else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["trl", "rloo" if _is_rloo(settings) else "grpo", "manypaths", *methods, "generated_from_trainer"],
        "model-index": [{"name": one_line(training.name, 96), "results": _results(training)}],
    }
    if not _results(training):
        del metadata["model-index"]
    return {key: value for key, value in metadata.items() if value is not None}


def _results(training: Training) -> list[dict[str, Any]]:
    """The results after training in the form of the hub's model index."""
    section = training.settings.get("evaluation")
    own = _name_of(section.get("problems")) if isinstance(section, Mapping) else None
    measured = {own or "held-out problems": training.evaluations.get("after"), **training.benchmarks}
    return [
        {
            "task": {"type": "text-generation"},
            "dataset": {"name": one_line(name, 96), "type": re.sub(r"[^\w./-]", "-", name)[:96]},
            "metrics": [
                {
                    "type": "accuracy",
                    "value": round(figures["accuracy"], 4),
                    "name": f"mean@{figures['samples']}, 95 % interval {figures['low']:.4f} to {figures['high']:.4f}",
                }
            ],
        }
        for name, figures in measured.items()
        if figures
    ]


def _accuracy(training: Training) -> str:
    """Tables of the held-out problems before and after, and of benchmarks; a sentence where nothing was measured."""
    rows = [["", "problems", "completions of each", "accuracy", "95 % interval"]]
    rows += [_row(when, training.evaluations[when]) for when in ("before", "after") if training.evaluations.get(when)]
    if (difference := _difference(training)) is not None:
        value, low, high = difference
        rows.append(["after - before", "", "", f"{value:+.1%}", f"{low:+.1%} to {high:+.1%}"])
    parts = []
    if len(rows) > 1:
        parts += [f"On the held-out problems of the training ({_sampled(training.sampling)}):", markdown(rows)]
    if training.benchmarks:
        measured = [_row(code(name), figures) for name, figures in training.benchmarks.items()]
        parts += [f"After the training ({_sampled(training.benchmark_sampling)}):", markdown([rows[0], *measured])]
    if not parts:
        return "The model was not evaluated. `manypaths evaluate` measures its accuracy."
    parts.append(
        "An interval is over problems, for this one run: it does not say how much another seed would differ. A gain "
        "over the model before is no gain over the baseline, which is the same training without the method."
    )
    return "\n\n".join(parts)


def _row(label: str, figures: Settings) -> list[str]:
    between = f"{figures['low']:.1%} to {figures['high']:.1%}"
    return [label, f"{figures['problems']:,}", str(figures["samples"]), f"{figures['accuracy']:.1%}", between]


def _difference(training: Training) -> tuple[float, float, float] | None:
    """The accuracy after the training minus that before on the same problems, with its 95 % interval."""
    steps = [training.evaluations.get(when, {}).get("step") for when in ("before", "after")]
    before, after = (training.shares.get(step) if isinstance(step, int) else None for step in steps)
    if not before or not after or before.keys() != after.keys():
        return None
    first, second = (statistics.estimate([own[id] for id in before]) for own in (after, before))
    low, high = statistics.interval(first, second)
    return None if math.isnan(low) else (first.value - second.value, low, high)


def _sampled(sampling: Settings) -> str:
    named = {"temperature": "temperature", "top_p": "top-p", "max_new_tokens": "token limit", "seed": "seed"}
    numbers = {title: sampling.get(name) for name, title in named.items()}
    parts = [f"{title} {value:g}" for title, value in numbers.items() if isinstance(value, int | float)]
    return ", ".join(parts) or "how they were sampled is not recorded"


def _parts(settings: Settings) -> dict[str, Any]:
    """The parts of the method that are used, by name."""
    own = settings.get("method")
    parts = dict(own) if isinstance(own, Mapping) else {}
    parts |= {name: settings[name] for name in OPTIONAL if isinstance(settings.get(name), Mapping)}
    unused = {name for name, value in parts.items() if value in (None, {}, [], False)}
    for name, key in OPTIONAL.items():
        if isinstance(parts.get(name), Mapping) and parts[name].get(key) is None:
            unused.add(name)
    if parts.get("importance_ratio") is False:
        unused.discard("importance_ratio")
    elif "importance_ratio" in parts:
        unused.add("importance_ratio")
    return {name: value for name, value in parts.items() if name not in unused}


def _names(settings: Settings) -> list[str]:
    """The names of the methods that a training used, of those with a paper."""
    parts = _parts(settings)
    named = [str(parts[role]) for role in ("reweight", "advantage") if role in parts]
    named += [str(parts["select"])] if "select" in parts else []
    words = [word for text in named for word in re.findall(r"[a-z][a-z_]*", text) if word in WORDS]
    words += [name for name in ("history", "replay") if name in parts]
    words += ["rgra"] if parts.get("importance_ratio") is False else []
    return list(dict.fromkeys(words))


def _papers(settings: Settings) -> list[Paper]:
    """The papers of the methods, and that of the algorithm last."""
    return papers(_names(settings), RLOO if _is_rloo(settings) else GRPO)


def _variant(settings: Settings) -> str:
    """The variant of GRPO, by the loss that the settings name, or RLOO; never more than they say."""
    trainer = settings.get("trainer")
    if not isinstance(trainer, Mapping):
        return GRPO.method
    if _is_rloo(settings):
        return RLOO.method
    loss = trainer.get("loss_type")
    if loss is None:
        return f"{GRPO.method} (TRL's default loss)"
    return LOSSES.get(str(loss), f"{GRPO.method} (loss_type {code(loss)})")


def _is_rloo(settings: Settings) -> bool:
    """Whether a script trained with TRL's RLOOTrainer, whose configuration alone has a range for rewards."""
    trainer = settings.get("trainer")
    return isinstance(trainer, Mapping) and "reward_clip_range" in trainer


def _title(settings: Settings) -> str:
    """The variant of GRPO and the methods in words."""
    parts = _parts(settings)
    methods = list(dict.fromkeys(WORDS[name].method for name in _names(settings)))
    methods = methods or [code(parts[role]) for role in ("reweight", "advantage") if role in parts]
    return f"{_variant(settings)} with {' and '.join(methods)}" if methods else _variant(settings)


def _method(training: Training) -> str:
    settings = training.settings
    parts, rewards = _parts(settings), settings.get("rewards")
    rows = [["setting", "value"], ["variant of GRPO", _variant(settings)]]
    sections = {name: name if name in OPTIONAL else f"method.{name}" for name in parts}
    rows += [[code(sections[name]), code(_compact(value))] for name, value in parts.items()]
    if isinstance(rewards, Mapping):
        rows += [[f"weight of reward {code(name)}", code(weight)] for name, weight in rewards.items()]
    changes = " ".join(f"method.{role}=null" for role in ("reweight", "advantage") if role in parts)
    if not changes:
        return markdown(rows)
    baseline = f": `manypaths train recipe.yaml {changes} --out runs/baseline`" if training.recipe else ""
    return f"{markdown(rows)}\n\nThe baseline is the same training without the method{baseline}."


def _compact(value: Any) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    kept = {key: inner for key, inner in value.items() if inner not in (None, {}, [])}
    texts = {key: f"({_compact(inner)})" if isinstance(inner, Mapping) else str(inner) for key, inner in kept.items()}
    return ", ".join(f"{key}={text}" for key, text in texts.items())


def _training(training: Training) -> str:
    settings, own = training.settings, training.settings.get("trainer")
    problems, data = settings.get("problems"), settings.get("data")
    rows = [["setting", "value"], ["base model", code(_name_of(settings.get("model")))]]
    if isinstance(problems, Mapping):
        rows.append(["problems", code(_compact(problems))])
    if isinstance(data, Mapping):
        rows.append(["rows of training data", code(data.get("rows"))])
    rows += [["updates of the weights", _count(training.steps, "update")], ["seed", code(settings.get("seed"))]]
    if isinstance(own, Mapping):
        rows += [[code(f"trainer.{name}"), code(own[name])] for name in TRAINER if own.get(name) is not None]
    if settings.get("lora"):
        rows.append(["LoRA", code(_compact(settings["lora"]))])
    if (seconds := training.seconds) is not None:
        rows.append(["time", f"{seconds / 3600:.2f} h" if seconds > 5400 else f"{seconds:.0f} s"])
    gpus = training.environment.get("gpus")
    if isinstance(gpus, list):
        rows.append(["GPUs", code(", ".join(map(str, gpus))) if gpus else "none"])
    return markdown(rows)


def _recipe(training: Training) -> str:
    if training.recipe is None:
        block = fenced(to_yaml(dict(training.settings)), "yaml")
        return f"The training was started by a script. Its settings:\n\n<details>\n\n{block}\n\n</details>"
    block = fenced(training.recipe, "yaml")
    return (
        "`manypaths train recipe.yaml` trains such a model again; recipe.yaml lies beside this file:\n\n"
        f"<details>\n\n{block}\n\n</details>"
    )


def _versions(environment: Settings) -> str:
    versions = environment.get("versions")
    versions_by_name = versions if isinstance(versions, Mapping) else {}
    rows = [["package", "version"], *([name, code(version)] for name, version in versions_by_name.items() if version)]
    rows += [["Python", code(environment["python"])]] if environment.get("python") else []
    rows += [["commit of manypaths", code(environment["commit"])]] if environment.get("commit") else []
    return markdown(rows) if len(rows) > 1 else ""
