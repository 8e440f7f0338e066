"""The sections of a recipe, as dataclasses that check their own values.

`trainer` and `lora` are the keyword arguments of TRL's `GRPOConfig` and of PEFT's `LoraConfig`, under their own names;
everything else is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

DTYPES = ("bfloat16", "float16", "float32", "float64", "half", "float", "double")  # those of torch that can be trained


@dataclass
class Model:
    """`name` as in `manypaths.checkpoint`; `end_tokens`: texts of one token each that end a completion.

    `architecture` is for `manypaths pretrain`, which makes such a model: the arguments of transformers' `LlamaConfig`.
    Raises ValueError for a `dtype` that torch cannot train.
    """

    name: str
    dtype: str = "bfloat16"
    end_tokens: list[str] = field(default_factory=list)
    architecture: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"model.dtype must be one of {', '.join(DTYPES)}, got {self.dtype!r}.")


@dataclass
class Problems:
    """A set for `manypaths.problems.load`; `options` go to the generator of a set that is made.

    Raises ValueError for a `limit` below 1.
    """

    name: str
    split: str | None = None
    problem_column: str | None = None
    answer_column: str | None = None
    shuffle: int | None = None
    limit: int | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_counts("problems", self, "limit")


@dataclass
class Pretrain:
    """The cold start of `manypaths pretrain`: `count` demonstrations, and the arguments of TRL's `SFTConfig`.

    A demonstration is a problem and one of its ways. The problems are those of the set `problems`; null is the set of
    the training. `rare` is the share of demonstrations that take another way than the common one, which is the first;
    null takes all ways equally often. Raises ValueError for numbers out of their range.
    """

    problems: Problems | None = None
    count: int = 30_000
    rare: float | None = 0.1
    trainer: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_counts("pretrain", self, "count")
        if self.rare is not None and not 0 <= self.rare <= 1:
            raise ValueError(f"pretrain.rare must be a share from 0 to 1, or null, got {self.rare}.")


@dataclass
class Evaluation:
    """Held-out problems, and how to sample completions for them; temperature 0 is greedy.

    The model is evaluated before and after training, and after `every` so many steps where that is set. `keys` names a
    function as `keys.name` does: distinct@K counts correct completions with different keys. By `answer` a problem with
    one right answer has one way, so distinct@K is pass@K, but for spellings that the key keeps apart (18 and 18 km).
    Raises ValueError for a number out of its range, and for several greedy samples, which would all be the same.
    """

    problems: Problems
    every: int | None = None
    samples: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    max_new_tokens: int = 256
    batch_size: int = 32
    keys: str = "answer"

    def __post_init__(self) -> None:
        _check_counts("evaluation", self, "every", "samples", "max_new_tokens", "batch_size")
        check_sampling(self, "evaluation.")


@dataclass
class Method:
    """How rewards become a gradient. Unset fields mean plain GRPO.

    `reweight` names a function of `manypaths.methods.REWEIGHTERS`, `options` are its named arguments. With
    `among_correct` it moves credit among right completions only, and with `keep_equal_rewards` zero-variance groups
    keep their raw rewards. With `shuffled` its keys or similarities, or those of the advantage, are those of other
    completions of the group: a placebo (`manypaths.methods.shuffled`). `advantage` names a function of
    `manypaths.methods.ADVANTAGES`, `advantage_options` are its named arguments; of a list of names, each works on the
    advantages of the one before it, and the options are {name: arguments}. `correct` names the reward by which a
    completion is correct, above 0.5, for methods with such an input. Without `importance_ratio` there is no pi / pi_old
    and nothing clips (RGRA). `skip_zero_advantage` leaves completions with advantage 0 out of the update, which changes
    its time alone; null does so where that is exact.
    """

    reweight: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    among_correct: bool = False
    keep_equal_rewards: bool = False
    shuffled: bool = False
    advantage: str | list[str] | None = None
    advantage_options: dict[str, Any] = field(default_factory=dict)
    correct: str | None = None
    importance_ratio: bool = True
    skip_zero_advantage: bool | None = False


@dataclass
class DynamicSampling:
    """DAPO's: zero-variance groups of the reward named `reward` are replaced; null keeps all groups.

    A step samples `max_batches` generation batches at most. Raises ValueError where that is below 1.
    """

    reward: str | None = None
    max_batches: int = 10

    def __post_init__(self) -> None:
        _check_counts("dynamic_sampling", self, "max_batches")


@dataclass
class History:
    """Which prompts are sampled, as in GRESO (arXiv 2506.02177); needs `method.correct`.

    `target` is the share of groups all right or all wrong that is aimed at, and null samples all prompts. The others
    are settings of `manypaths.trl.PromptHistory`; `discount` 0 and `prior` 0 are the paper's rule. Raises ValueError
    for numbers out of their range.
    """

    target: float | None = None
    discount: float = 0.8
    prior: float = 0.5
    explore: float = 0.5
    step: float = 0.01

    def __post_init__(self) -> None:
        bounds = {"target": (0, 1), "discount": (0, 1), "prior": (0, 1000), "explore": (0.05, 0.95), "step": (0, 1)}
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"history.{name} must be from {low} to {high}, got {value}.")


@dataclass
class Replay:
    """Verified replay (arXiv 2610.11064): `weight` is its lambda, such as 0.1, and null is none.

    The bank of a prompt holds `capacity` ways at most. Raises ValueError for numbers out of their range.
    """

    weight: float | None = None
    capacity: int = 16

    def __post_init__(self) -> None:
        if self.weight is not None and not 0 < self.weight < math.inf:
            raise ValueError(f"replay.weight must be above 0, got {self.weight}. Set null for no replay.")
        _check_counts("replay", self, "capacity")


@dataclass
class Select:
    """Whom to train on: `count` completions of each group, by a rule of `manypaths.methods.SELECTIONS`; null: all.

    `rule` may be the dotted path of another function. `options` are its named arguments.
    """

    rule: str | None = None
    count: int | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Embedder:
    """`name`: ngram, or a sentence-transformers model (hub id, folder, package:NAME); `options` go to it.

    With the name `keys` two completions have similarity 1 where their keys are equal, and 0 elsewhere.
    """

    name: str = "ngram"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Keys:
    """When two completions count as the same way: where the keys are equal that `name` gives them.

    `name` is a function of `manypaths.keys`, or the dotted path of another function; `options` are its named
    arguments. null where no method has keys as an input.
    """

    name: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Record:
    """Which groups are recorded: the first `groups` (null: all) of step 1 and of `every` so many steps.

    Raises ValueError for a number below 1.
    """

    every: int = 1
    groups: int | None = None

    def __post_init__(self) -> None:
        _check_counts("record", self, "every", "groups")


@dataclass
class Recipe:
    """Everything a run depends on.

    `prompt` is a text, or a list of chat messages, that contains {question}. `rewards` are names and weights, null
    leaves one out; `reward_options` are named arguments, by reward. `cluster` names a start that several seeds share:
    runs that have it are one configuration if they differ in seed, cluster and model.name alone. `departs` lists, for a
    paper's recipe, what of the published setting it cannot keep. Raises ValueError for a prompt without {question}.
    """

    model: Model
    problems: Problems
    trainer: dict[str, Any]
    prompt: str | list[dict[str, str]] = "{question}"
    rewards: dict[str, float | None] = field(default_factory=lambda: {"accuracy": 1.0})
    reward_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    method: Method = field(default_factory=Method)
    dynamic_sampling: DynamicSampling = field(default_factory=DynamicSampling)
    history: History = field(default_factory=History)
    select: Select = field(default_factory=Select)
    replay: Replay = field(default_factory=Replay)
    embedder: Embedder = field(default_factory=Embedder)
    keys: Keys = field(default_factory=Keys)
    lora: dict[str, Any] | None = None
    pretrain: Pretrain | None = None
    evaluation: Evaluation | None = None
    record: Record = field(default_factory=Record)
    seed: int = 1
    cluster: int | str | None = None
    departs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rewards = {name: weight for name, weight in self.rewards.items() if weight is not None}
        if "{question}" not in str(self.prompt):
            raise ValueError(f"prompt must contain {{question}}, got {self.prompt!r}. Add it where the problem stands.")


def check_sampling(settings: Any, prefix: str = "") -> None:
    """Raise ValueError for `temperature`, `top_p` or `samples` out of range; `prefix` goes before their names."""
    if not 0 <= settings.temperature < math.inf:
        raise ValueError(f"{prefix}temperature must be 0 (greedy) or more, got {settings.temperature}.")
    if not 0 < settings.top_p <= 1:
        raise ValueError(f"{prefix}top_p must be above 0 and at most 1, got {settings.top_p}.")
    if settings.samples > 1 and not settings.temperature:
        raise ValueError(
            f"{prefix}samples must be 1 with {prefix}temperature 0, got {settings.samples}: greedy samples are all the "
            f"same. Set {prefix or '--'}temperature, such as 0.6."
        )


def _check_counts(section: str, settings: object, *names: str) -> None:
    """Raise ValueError unless each of these settings is null or 1 or more."""
    for name in names:
        if (count := getattr(settings, name)) is not None and count < 1:
            raise ValueError(f"{section}.{name} must be 1 or more, got {count}.")
