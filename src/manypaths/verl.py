"""verl's synchronous trainer, made diversity-aware: one override, before verl computes the advantages."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
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
from manypaths.methods.bind import adjust
from manypaths.methods.measures import measures
from manypaths.names import ADJUSTED_REWARD, RAW_REWARD
from manypaths.verl_settings import check, embedder_for, inputs_for, reweighter_for


@dataclass
class Groups:
    """What one step compares: the completions of each prompt, padded to the largest group."""

    rows: Tensor  # [B, G] where a completion stands in the batch; -1 pads
    raw: Tensor  # [B, G] NaN where it pads, or where verl's reward is NaN
    adjusted: Tensor  # [B, G]
    inputs: dict[str, Tensor]  # what the method wanted, by name, and similarity
    diagnostics: dict[str, Tensor] | None  # what the method reported; None without one


@register_trainer("manypaths")
class DiversePPOTrainer(PPOTrainerSync):
    """verl's `PPOTrainerSync` with scores reweighted for diversity between reward and advantage.

    Selected by `trainer.v1.trainer_mode=manypaths`, configured by the top-level key `diversity` (see `Diversity`).
    Without that key this is PPOTrainerSync to the last bit. Raises ValueError as `check` does, before a model loads.

    Siblings are the completions of one uid. Of a session with several outputs the last one counts, as in verl's GRPO,
    and what it gains or loses goes to all of them. Rows that verl adds to fill up a batch are no completions.

    Beside verl's metrics:
        diversity/raw_reward, diversity/adjusted_reward: means over all completions.
        diversity/similarity, vendi_score, share, the method's own diagnostics; groups/zero_std: as `manypaths.trl`
            logs them.
        timing_s/diversity: seconds, part of verl's timing_s/adv.
    verl's own critic/score/* and its dumped rollouts stay raw.
    """

    def __init__(self, config: DictConfig) -> None:
        spec = check(config)
        self.reweight, self.correct = reweighter_for(spec), spec.correct
        super().__init__(config)
        self.inputs = inputs_for(spec, self.reweight, embedder_for(spec))

    def _build_replay_buffer(self) -> Any:
        """verl's own for "sync": what it does depends on the mode's name."""
        self.trainer_mode = "sync"
        return super()._build_replay_buffer()

    def _compute_advantage(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        """verl's own advantages, of the adjusted scores; afterwards the raw scores are back in the TransferQueue."""
        if not self.inputs.wanted:
            return super()._compute_advantage(batch, metrics)
        began = time.perf_counter()
        names = ["uid", "responses", "response_mask", "rm_scores"] + ["prompts"] * self.inputs.wants_keys
        data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=names)
        uids = data.pop("uid").tolist()
        ids, wrote, scores = (data[name].unbind() for name in names[1:4])
        last = last_outputs(batch.keys, batch.tags)
        chosen = sorted(set(last) - {-1})
        raw = torch.stack([scores[row].sum() for row in chosen])
        completions = self._decoded(ids[row][wrote[row].bool()] for row in chosen)
        prompts = data["prompts"].unbind() if self.inputs.wants_keys else ()
        problems = self._decoded(prompts[row] for row in chosen) if prompts else [""] * len(chosen)
        rows = self.inputs.of_process(completions, problems)
        rows |= {"rewards": raw, "lengths": torch.stack([wrote[row].sum() for row in chosen])}
        rows |= {"correct": is_correct(raw)} if self.correct else {}
        texts = list(zip(completions, problems, strict=True))
        adjusted, groups = adjusted_by_uid([uids[row] for row in chosen], rows, texts, self.inputs, self.reweight)
        metrics.update(logged(groups))
        change = dict(zip(chosen, (adjusted - raw).nan_to_num(0.0), strict=True))
        changed = [row for row, output in enumerate(last) if output in change and change[output] != 0]
        metrics["timing_s/diversity"] = time.perf_counter() - began
        _put(batch, changed, [_add_at_end(scores[row], change[last[row]]) for row in changed])
        result = super()._compute_advantage(batch, metrics)
        _put(batch, changed, [scores[row] for row in changed])
        return result

    def _decoded(self, tokens: Iterable[Tensor]) -> list[str]:
        return [self.tokenizer.decode(ids, skip_special_tokens=True) for ids in tokens]


def adjusted_by_uid(
    uids: Sequence[Hashable],
    rows: Mapping[str, Tensor],
    texts: Sequence[tuple[str, str]],
    of_texts: CompletionInputs,
    reweight: Reweighter | None,
) -> tuple[Tensor, Groups]:
    """Reweight completions among those of the same uid, in whatever order.

    Args:
        uids: N of them.
        rows: `rewards` [N], NaN for a completion without a score; the rows of `of_texts.of_process`; `lengths` [N] and
            `correct` [N] where the method wants them.
        texts: N completions and their problems, for keys that are made of whole groups.
        of_texts: what makes similarity and keys of the rows.
        reweight: None leaves the rewards as they are.

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
    grouped |= {name: grouped[name].masked_fill(~real, torch.nan) for name in ("rewards", "correct") if name in grouped}
    flat = {name: values.flatten(0, 1) for name, values in grouped.items()}
    inputs: dict[str, Tensor] = {}
    inputs |= {name: grouped[name] for name in grouped if name in ("rewards", "lengths", "correct")}
    padded = [texts[row] if row >= 0 else ("", "") for row in grid.flatten().tolist()] if texts else []
    made = of_texts.of_groups(flat, grid.shape, copies=False, texts=padded)
    inputs |= {name: values.to(raw.device) for name, values in made.items()}
    reweighted, diagnostics = inputs["rewards"], None
    if reweight is not None:
        reweighted, diagnostics = adjust(reweight, inputs)
    adjusted = raw.index_put((grid[real],), reweighted[real])
    return adjusted, Groups(grid, inputs["rewards"], reweighted, inputs, diagnostics)


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
    metrics |= {RAW_REWARD: groups.raw, ADJUSTED_REWARD: groups.adjusted}
    return {name: values.nanmean().item() for name, values in metrics.items()}


def _add_at_end(row: Tensor, change: Tensor) -> Tensor:
    row = row.clone()
    row[-1] += change
    return row


def _put(batch: KVBatchMeta, rows: Sequence[int], scores: Sequence[Tensor]) -> None:
    """Write rm_scores for some rows of a batch; no rows is nothing to write."""
    if rows:
        nested = torch.nested.as_nested_tensor(list(scores), layout=torch.jagged)
        keys = [batch.keys[row] for row in rows]
        fields = TensorDict({"rm_scores": nested}, batch_size=len(rows))
        tq.kv_batch_put(keys=keys, partition_id=batch.partition_id, fields=fields)
