"""verl's synchronous trainer, made diversity-aware: one override, around verl's computation of advantages."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import transfer_queue as tq
from omegaconf import DictConfig
from tensordict import TensorDict
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

from manypaths.completion_inputs import CompletionInputs, is_correct
from manypaths.methods import Reweighter
from manypaths.methods.bind import Method, adjust, replace_advantages
from manypaths.methods.inputs import inputs_of
from manypaths.methods.measures import measures, of_scored
from manypaths.names import ADJUSTED_REWARD, DIAGNOSTICS, RAW_REWARD, distinct, name_of
from manypaths.verl_settings import advantage_for, check, embedder_for, inputs_for, reweighter_for


@dataclass
class Groups:
    """What one step compares: the completions of each prompt, padded to the largest group."""

    rows: Tensor  # [B, G] where a completion stands in the batch; -1 pads
    raw: Tensor  # [B, G] NaN where it pads, or where verl's reward is NaN
    adjusted: Tensor  # [B, G]
    inputs: dict[str, Tensor]  # what the methods wanted, by name, and similarity
    diagnostics: dict[str, Tensor] | None  # what the reweighter reported; None without one
    of_advantage: dict[str, list[Tensor]] = field(default_factory=dict)  # what the advantage reported; NaN: unscored


@register_trainer("manypaths")
class DiversePPOTrainer(PPOTrainerSync):
    """verl's `PPOTrainerSync` with scores reweighted between reward and advantage, and advantages replaced.

    Selected by `trainer.v1.trainer_mode=manypaths`, configured by the top-level key `diversity` (see `Diversity`).
    Without that key this is PPOTrainerSync to the last bit. Raises ValueError as `check` does, before a model loads.

    Siblings are the completions of one uid. Of a session with several outputs the last one counts, as in verl's GRPO,
    and what it gains or loses, or its other advantage, goes to all of them. Rows that verl adds to fill up a batch are
    no completions.

    Beside verl's metrics:
        diversity/raw_reward, diversity/adjusted_reward: means over all completions.
        diversity/similarity, vendi_score, share, the method's own diagnostics; groups/zero_std: as `manypaths.trl`
            logs them.
        timing_s/diversity: seconds, part of verl's timing_s/adv.
    verl's own critic/score/* and its dumped rollouts stay raw.
    """

    def __init__(self, config: DictConfig) -> None:
        spec = check(config)
        self.reweight, self.advantage, self.correct = reweighter_for(spec), advantage_for(spec), spec.correct
        super().__init__(config)
        self.inputs = inputs_for(spec, self.reweight, self.advantage, embedder_for(spec))

    def _build_replay_buffer(self) -> Any:
        """verl's own for "sync": what it does depends on the mode's name."""
        self.trainer_mode = "sync"
        return super()._build_replay_buffer()

    def _compute_advantage(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        """verl's own advantages, of the adjusted scores, or others in their place; the scores stay raw afterwards."""
        if not self.inputs.wanted:
            return super()._compute_advantage(batch, metrics)
        began = time.perf_counter()
        last = last_outputs(batch.keys, batch.tags)
        chosen = sorted(set(last) - {-1})
        uids, scores, rows, texts = self._completions(batch, chosen)
        progress = self._progress() if "progress" in self.inputs.wanted else None
        raw = rows["rewards"]
        adjusted, groups = adjusted_by_uid(uids, rows, texts, self.inputs, self.reweight, progress)
        change = dict(zip(chosen, (adjusted - raw).nan_to_num(0.0), strict=True))
        changed = [row for row, output in enumerate(last) if output in change and change[output] != 0]
        _put(batch, changed, rm_scores=[_add_at_end(scores[row], change[last[row]]) for row in changed])
        spent = time.perf_counter() - began
        result = super()._compute_advantage(batch, metrics)
        began = time.perf_counter()
        _put(batch, changed, rm_scores=[scores[row] for row in changed])
        if self.advantage is not None:
            self._replace(batch, last, chosen, groups, self.advantage)
        metrics.update(logged(groups))
        metrics["timing_s/diversity"] = spent + time.perf_counter() - began
        return result

    def _completions(
        self, batch: KVBatchMeta, chosen: Sequence[int]
    ) -> tuple[list[Hashable], Sequence[Tensor], dict[str, Tensor], list[tuple[str, str]]]:
        """(uids of the chosen rows, scores by token of all rows; inputs by name, texts and problems of the chosen)."""
        names = ["uid", "responses", "response_mask", "rm_scores"] + ["prompts"] * self.inputs.wants_keys
        names += ["old_log_probs"] * ("logprobs" in self.inputs.wanted)
        data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=names)
        uids = data.pop("uid").tolist()
        ids, wrote, scores = (data[name].unbind() for name in names[1:4])
        raw = torch.stack([scores[row].sum() for row in chosen])
        completions = self._decoded(ids[row][wrote[row].bool()] for row in chosen)
        prompts = data["prompts"].unbind() if self.inputs.wants_keys else ()
        problems = self._decoded(prompts[row] for row in chosen) if prompts else [""] * len(chosen)
        rows = self.inputs.of_process(completions, problems)
        rows |= {"rewards": raw, "lengths": torch.stack([wrote[row].sum() for row in chosen])}
        rows |= {"correct": is_correct(raw)} if self.correct else {}
        if "logprobs" in self.inputs.wanted:
            of_tokens = data["old_log_probs"].unbind()
            rows["logprobs"] = torch.stack([of_tokens[row][wrote[row].bool()].sum() for row in chosen])
        return [uids[row] for row in chosen], scores, rows, list(zip(completions, problems, strict=True))

    def _progress(self) -> Tensor:
        """verl counts its steps from 1."""
        return torch.tensor((self.global_steps - 1) / self.total_training_steps)

    def _replace(
        self, batch: KVBatchMeta, last: Sequence[int], chosen: Sequence[int], groups: Groups, advantage: Method
    ) -> None:
        """Put other advantages into the TransferQueue, where verl has put its own; what the method reports is kept."""
        names = ["advantages", "response_mask"]
        data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=names)
        own, wrote = (data[name].unbind() for name in names)
        first = torch.stack([own[row][wrote[row].bool()][:1].sum() for row in chosen])  # one for all tokens
        new = dict(zip(chosen, advantages_by_uid(first, groups, advantage), strict=True))
        rows = [row for row, output in enumerate(last) if output in new]
        values = [new[last[row]] * wrote[row].to(own[row]) for row in rows]
        _put(batch, rows, advantages=values, returns=values)

    def _decoded(self, tokens: Iterable[Tensor]) -> list[str]:
        return [self.tokenizer.decode(ids, skip_special_tokens=True) for ids in tokens]


def adjusted_by_uid(
    uids: Sequence[Hashable],
    rows: Mapping[str, Tensor],
    texts: Sequence[tuple[str, str]],
    of_texts: CompletionInputs,
    reweight: Reweighter | None,
    progress: Tensor | None = None,
) -> tuple[Tensor, Groups]:
    """Reweight completions among those of the same uid, in whatever order.

    Args:
        uids: N of them.
        rows: `rewards` [N], NaN for a completion without a score; the rows of `of_texts.of_process`; `lengths` [N],
            `correct` [N] and `logprobs` [N] where a method wants them.
        texts: N completions and their problems, for keys that are made of whole groups.
        of_texts: what makes similarity and keys of the rows.
        reweight: None leaves the rewards as they are.
        progress: the share of the training that is done [], where a method wants it.

    Returns:
        (adjusted rewards [N]; the groups, padded to the largest).

    Raises:
        ValueError: where the method returns what no method may (`manypaths.methods.bind.adjust`).
    """
    places: dict[Hashable, list[int]] = {}
    for row, uid in enumerate(uids):
        places.setdefault(uid, []).append(row)
    grid = pad_sequence([torch.tensor(group) for group in places.values()], batch_first=True, padding_value=-1)
    real, raw = grid >= 0, rows["rewards"]
    grouped = {name: values.to(raw.device)[grid] for name, values in rows.items()}
    of_scores = [name for name in ("rewards", "correct", "logprobs") if name in grouped]
    grouped |= {name: grouped[name].masked_fill(~real, torch.nan) for name in of_scores}
    flat = {name: values.flatten(0, 1) for name, values in grouped.items()}
    inputs = {name: grouped[name] for name in (*of_scores, "lengths") if name in grouped}
    inputs |= {"progress": progress} if progress is not None else {}
    padded = [texts[row] if row >= 0 else ("", "") for row in grid.flatten().tolist()] if texts else []
    made = of_texts.of_groups(flat, grid.shape, copies=False, texts=padded)
    inputs |= {name: values.to(raw.device) for name, values in made.items()}
    reweighted, diagnostics = inputs["rewards"], None
    if reweight is not None:
        reweighted, diagnostics = adjust(reweight, inputs)
    adjusted = raw.index_put((grid[real],), reweighted[real])
    return adjusted, Groups(grid, inputs["rewards"], reweighted, inputs, diagnostics)


def advantages_by_uid(own: Tensor, groups: Groups, advantage: Method) -> Tensor:
    """Other advantages [N] in the place of verl's own [N]; what the method reports goes to the groups.

    Raises:
        ValueError: as `replace_advantages` does; and where the method works on verl's own and these are NaN, as in a
            group with a score of NaN.
    """
    real = groups.rows >= 0
    grouped = own[groups.rows].masked_fill(~real, 0.0)
    if "advantages" in inputs_of(advantage, "advantage") and grouped[~groups.adjusted.isnan()].isnan().any():
        raise ValueError(
            f"verl's own advantages must be numbers for diversity.advantage={name_of(advantage)}, got NaN, as verl "
            "computes it where a score in the group is NaN. Return a number from the reward function."
        )
    inputs = {**groups.inputs, "rewards": groups.adjusted, "advantages": grouped}
    replaced, sizes = torch.zeros_like(grouped), real.sum(1)
    for size in sorted(set(sizes.tolist())):  # without padding, as a method may use the number of completions
        of_size = sizes == size
        of_group = {name: _first(values[of_size], size) if values.dim() else values for name, values in inputs.items()}
        replaced[of_size, :size], reported = replace_advantages(advantage, of_group)
        for name, values in of_scored(reported, of_group["rewards"]).items():
            groups.of_advantage.setdefault(name, []).append(values.flatten())
    return own.index_put((groups.rows[real],), replaced[real])


def _first(values: Tensor, size: int) -> Tensor:
    """[B, G] or [B, G, G] without what pads groups of a smaller size."""
    return values[:, :size, :size] if values.dim() == 3 else values[:, :size]


def last_outputs(keys: Sequence[str], tags: Sequence[dict[str, Any]]) -> list[int]:
    """For each row, keyed UID_SESSION_INDEX, the row of its session's last output; -1 where verl fills up a batch."""
    outputs: dict[str, tuple[int, int]] = {}  # session -> index and row of its last output so far
    sessions = [key.rpartition("_") for key in keys]
    for row, (session, _, index) in enumerate(sessions):
        outputs[session] = max(outputs.get(session, (-1, -1)), (int(index), row))
    padding = [tag.get("is_padding", False) for tag in tags]
    return [-1 if pads else outputs[session][1] for (session, _, _), pads in zip(sessions, padding, strict=True)]


def logged(groups: Groups) -> dict[str, float]:
    """What `DiversePPOTrainer` logs of groups: means over completions, or over the groups that have the measure."""
    metrics = measures(groups.raw, groups.adjusted, groups.inputs.get("similarity"), groups.diagnostics)
    before = list(groups.diagnostics or {})
    names = distinct([*before, *groups.of_advantage])[len(before) :]  # x_2 where both report x
    reported = zip(names, groups.of_advantage.values(), strict=True)
    metrics |= {DIAGNOSTICS + name: torch.cat(values) for name, values in reported}
    metrics |= {RAW_REWARD: groups.raw, ADJUSTED_REWARD: groups.adjusted}
    return {name: values.nanmean().item() for name, values in metrics.items()}


def _add_at_end(row: Tensor, change: Tensor) -> Tensor:
    row = row.clone()
    row[-1] += change
    return row


def _put(batch: KVBatchMeta, rows: Sequence[int], **columns: Sequence[Tensor]) -> None:
    """Write columns for some rows of a batch; no rows is nothing to write."""
    if rows:
        nested = {
            name: torch.nested.as_nested_tensor(list(values), layout=torch.jagged) for name, values in columns.items()
        }
        keys = [batch.keys[row] for row in rows]
        tq.kv_batch_put(keys=keys, partition_id=batch.partition_id, fields=TensorDict(nested, batch_size=len(rows)))
