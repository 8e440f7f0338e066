"""How a trainer takes a method: bound from settings, checked, and called with the inputs that it names."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from manypaths.functions import check_options, find_function
from manypaths.methods import ADVANTAGES, REWEIGHTERS, SELECTIONS
from manypaths.methods.among_correct import among_correct
from manypaths.methods.chained import chained
from manypaths.methods.contracts import to_mask, to_tensor
from manypaths.methods.diagnostics import collected
from manypaths.methods.inputs import INPUTS, check_inputs, inputs_of
from manypaths.methods.keep_equal import keep_equal_rewards
from manypaths.methods.shuffled import shuffled
from manypaths.names import name_of, nearest

Method = Callable[..., Tensor]
TABLES: dict[str, dict[str, Method]] = {"reweight": REWEIGHTERS, "advantage": ADVANTAGES}


def bind_reweight(
    name: str | None,
    options: Mapping[str, Any],
    where: str,
    among: bool = False,
    keep_equal: bool = False,
    placebo: bool = False,
) -> Method | None:
    """The reweighter that settings name, in the wrappers that they name.

    Args:
        name, options, where: as of `bind`.
        among: whether it acts among the right completions only, see `among_correct`.
        keep_equal: whether zero-variance groups keep their rewards, see `keep_equal_rewards`.
        placebo: whether its keys and similarities, if it has any, are those of other completions, see `shuffled`.

    Raises:
        ValueError: as of `bind`.
    """
    method = bind("reweight", name, options, where)
    if method is not None and placebo and compares(method, "reweight"):
        method = shuffled(method)
    if method is not None and among:
        method = among_correct(method)
    return keep_equal_rewards(method) if method is not None and keep_equal else method


def bind_advantage(
    name: str | Sequence[str] | None, options: Mapping[str, Any], where: str, placebo: bool = False
) -> Method | None:
    """The advantage that settings name, or several, each of which works on those of the one before it.

    Args:
        name: a key of `ADVANTAGES`, or a list of them.
        options: named arguments of the method; of a list, {name: arguments}.
        where: as of `bind`.
        placebo: as of `bind_reweight`, of each of the methods.

    Raises:
        ValueError: as of `bind`, for an empty list, and for options of a method that is not in the list.
    """
    if name is None:
        return None
    if isinstance(name, str):
        return bind_advantage([name], {name: options}, where, placebo)
    if not name or len(set(name)) < len(name):
        raise ValueError(f"{where} must name one method or several different ones, got {list(name)}.")
    if others := [key for key in options if key not in name]:
        raise ValueError(f"The options of {where} must be those of {', '.join(name)}, got {others[0]!r}.")
    bound = [bind("advantage", own, options.get(own) or {}, where) for own in name]
    methods = [method for method in bound if method is not None]
    if placebo:
        methods = [shuffled(method) if compares(method, "advantage") else method for method in methods]
    return methods[0] if len(methods) == 1 else chained(methods)


def bind_selection(
    rule: str | Method | None, count: int | None, options: Mapping[str, Any], where: str
) -> functools.partial[Tensor] | None:
    """The rule that settings name, which says whom to train on, with its count and options bound and tried.

    Args:
        rule: a key of `SELECTIONS`, the dotted path of another function, or a function of the same form: positional
            parameters that name inputs, a keyword-only `count`, and options. None is none.
        count: how many completions of each group it selects, 2 or more.
        options: further named arguments of the rule.
        where: the setting that these come from, for messages, such as select.

    Raises:
        ValueError: for an unknown name, a count below 2, a rule without a parameter `count`, options that the rule does
            not have or of a wrong type, and a rule that selects an unscored completion.
    """
    if rule is None:
        return None
    function = find_function(f"rule of {where}", rule, SELECTIONS) if isinstance(rule, str) else rule
    if not isinstance(count, int) or count < 2:
        raise ValueError(
            f"{where}'s count must be a whole number of 2 or more, got {count!r}. Set how many completions of each "
            "group to train on."
        )
    caller, named = f"{where} {name_of(function)!r}", {"count": count, **options}
    if "count" in options:
        raise ValueError(f"The options of {caller} must not contain count, which is set beside them. Leave it out.")
    select = functools.partial(function, **named)
    try:
        inputs = inputs_of(functools.partial(function, count=count), "select")
        check_options(caller, function, named, inputs)
        choose(select, _trial())
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"The options of {caller}, {dict(options)}, have a wrong type: {error}.") from error
    return select


def compares(method: Method, role: str) -> bool:
    """Whether a method compares completions: by similarity or keys."""
    return bool({"keys", "similarity"} & {*inputs_of(method, role)})


def bind(role: str, name: str | None, options: Mapping[str, Any], where: str) -> Method | None:
    """The method that settings name, with its options bound and tried on a group of two.

    Args:
        role: `reweight` or `advantage`.
        name: a key of `REWEIGHTERS` or `ADVANTAGES`; None is none.
        options: named arguments of the method.
        where: the setting that `name` comes from, for messages, such as method.reweight.

    Raises:
        ValueError: for an unknown name, and for options that the method does not have or of a wrong type.
    """
    if name is None:
        return None
    table = TABLES[role]
    if name not in table:
        elsewhere = [f"It is a method for {other}." for other, names in TABLES.items() if name in names]
        raise ValueError(f"Unknown {where} {name!r}. {elsewhere[0] if elsewhere else nearest(name, table)}")
    function = table[name]
    check_options(f"{where}={name}", function, options, inputs_of(function, role))
    method = functools.partial(function, **options)
    try:
        _call(method, role, _trial())
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"The options of {where}={name}, {dict(options)}, have a wrong type: {error}.") from error
    return method


def diagnostics_of(method: Method, role: str) -> list[str]:
    """The names of the diagnostics that a method reports, found on a group of two unscored completions."""
    return list(_call(method, role, _trial())[1])


def adjust(reweight: Method, inputs: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Adjusted rewards, as a reweighter makes them of the inputs that it names.

    Args:
        reweight: a method, see `manypaths.methods.inputs`. It gets copies.
        inputs: by name; `rewards` [B, G] among them.

    Returns:
        (adjusted [B, G] of the type and device of the rewards, finite, NaN exactly where the reward is NaN; diagnostics
        that the method reported: name -> [B] or [B, G]).

    Raises:
        ValueError: names the reweighter and what it must return, or the input that is missing.
    """
    rewards = inputs["rewards"]
    returned, diagnostics = _call(reweight, "reweight", inputs)
    who, unscored = f"Reweighter {name_of(reweight)!r}", rewards.isnan()
    adjusted = to_tensor(who, returned).to(rewards)
    if adjusted.shape != rewards.shape:
        raise ValueError(f"{who} must return [B, G], here {list(rewards.shape)}, got {list(adjusted.shape)}.")
    if not adjusted[~unscored].isfinite().all():
        raise ValueError(f"{who} must return finite rewards for scored completions, got NaN or infinity.")
    if not adjusted[unscored].isnan().all():
        raise ValueError(f"{who} must return NaN where the reward is NaN (an unscored completion), got a number.")
    return adjusted, diagnostics


def replace_advantages(advantage: Method, inputs: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Advantages in the place of the trainer's own.

    Args:
        advantage: a method, see `manypaths.methods.inputs`. It gets copies.
        inputs: by name; among them `rewards` (adjusted) and `advantages`, both [B, G].

    Returns:
        (advantages [B, G] of the type and device of the trainer's own, 0 for an unscored completion; diagnostics).

    Raises:
        ValueError: names the function and what it must return, or the input that is missing.
    """
    adjusted, own = inputs["rewards"], inputs["advantages"]
    returned, diagnostics = _call(advantage, "advantage", {**inputs, "adjusted": adjusted})
    who = f"Advantage {name_of(advantage)!r}"
    replaced = to_tensor(who, returned).to(own)
    if replaced.shape != adjusted.shape:
        raise ValueError(f"{who} must return [B, G], here {list(adjusted.shape)}, got {list(replaced.shape)}.")
    replaced = replaced.masked_fill(adjusted.isnan(), 0.0)
    if not replaced.isfinite().all():
        raise ValueError(f"{who} must return finite advantages for scored completions, got NaN or infinity.")
    return replaced, diagnostics


def choose(select: functools.partial[Any], inputs: Mapping[str, Tensor]) -> Tensor:
    """Whom to train on, as a rule says of the inputs that it names.

    Args:
        select: of `bind_selection`. It gets copies.
        inputs: by name; `rewards` [B, G] among them.

    Returns:
        bool [B, G], on the device of the rewards: True for at most `count` scored completions of each group.

    Raises:
        ValueError: names the rule and what it must return, or the input that is missing.
    """
    rewards, count = inputs["rewards"], select.keywords["count"]
    returned, _ = _call(select, "select", inputs)
    who = f"Rule {name_of(select)!r}"
    selected = to_mask(who, returned).to(rewards.device)
    if selected.shape != rewards.shape:
        raise ValueError(f"{who} must return [B, G], here {list(rewards.shape)}, got {list(selected.shape)}.")
    if (selected & rewards.isnan()).any():
        raise ValueError(f"{who} must leave out unscored completions, whose reward is NaN, got one selected.")
    if (most := max(selected.sum(-1).tolist(), default=0)) > count:
        raise ValueError(f"{who} must select at most {count} completions of a group, its count, got {most}.")
    return selected


def _call(method: Method, role: str, inputs: Mapping[str, Tensor]) -> tuple[Any, dict[str, Tensor]]:
    """What a method returns of copies of its inputs, and what it reports."""
    check_inputs(method, role, inputs, {})
    with collected() as diagnostics:
        returned = method(*(inputs[name].clone() for name in inputs_of(method, role)))
    return returned, diagnostics


def _trial() -> dict[str, Tensor]:
    """Every input of one group of two unscored completions."""
    unscored, whole = torch.full((1, 2), torch.nan), torch.zeros(1, 2, dtype=torch.int64)
    trial = {"similarity": torch.eye(2).unsqueeze(0), "keys": whole, "lengths": whole}
    trial |= {"advantages": torch.zeros(1, 2), "progress": torch.tensor(0.0)}
    return {name: trial.get(name, unscored) for name in INPUTS}
