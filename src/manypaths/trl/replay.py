"""Verified replay (arXiv 2610.11064) for TRL's GRPOTrainer: a term of the loss that keeps right completions likely."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor

from manypaths.keys import Keys, needs_whole_groups
from manypaths.names import name_of
from manypaths.trl.data_order import Position
from manypaths.trl.prompt_history import PromptHistoryGRPOTrainer
from manypaths.trl.replay_bank import Bank, Banks, Replay, accepted, complete, own_part, replay_loss

FILE = "replay.pt"  # of a checkpoint
METRICS = ("loss", "ways", "banks", "exemplars", "seconds")


class ReplayGRPOTrainer(PromptHistoryGRPOTrainer):
    """Adds one term to the loss of an update: the mean over the ways of one bank of -log pi(e) / |e|, times a factor.

    A bank holds, for one prompt, a right completion of each way that the policy has found (`replay_bank.Banks`); the
    banks have their turns one after another. The factor is weight (G - 1) / G^2. A bank belongs to the tokens of the
    prompt, with the chat template: rows of the data with the same prompt share one. A completion enters only if the
    reward function `correct` is above 0.5 for it, it has a key, and the model ended it within the limit after something
    else than end tokens. The log-probabilities are the trainer's own, at its temperature.

    The ways are divided among the micro-steps of the gradient accumulation and the processes, so that each is computed
    once in an update, and at most ceil(ways / (micro-steps x processes)) sequences join a micro-batch.

    Args:
        replay: the settings; None: the parameters are equal to GRPOTrainer's to the bit.
        host: the arguments of `PromptHistoryGRPOTrainer`.

    Raises:
        ValueError: for tools, environments, rollout functions, images and other media, whose completions are not the
            model's tokens alone; while resuming, for a checkpoint without banks or with banks of another capacity.

    Metrics of this class, by step:
        replay/loss: the mean over ways of -log pi(e) / |e|, without the factor; none while there is no bank.
        replay/ways: ways of the bank that was replayed; 0 while there is none.
        replay/banks: prompts with a bank.
        replay/exemplars: ways in all banks.
        replay/seconds: filling the banks and the forward pass of the term, of the main process; a part of
            `seconds/update`, as is the backward pass, which cannot be told from that of the loss.
    """

    def __init__(self, *host: Any, replay: Replay | None = None, **named_host: Any) -> None:
        if replay is not None and not isinstance(replay, Replay):
            raise ValueError(f"replay must be a manypaths.trl.Replay, got {replay!r}. Pass replay=Replay(weight=0.1).")
        super().__init__(*host, **named_host)
        self.replay = replay
        if replay is None:
            return
        if self.tools or self.environment_factories or self.rollout_func:
            raise _not_text("tools, an environment or a rollout function")
        self.banks = Banks(replay.capacity)
        self.checkpoint_states[FILE] = self.banks, "the banks of verified replay"
        self._replayed: Bank | None = None  # in this update
        self._replay_loss, self._replay_seconds = torch.zeros(()), 0.0  # of this update, so far
        self._micro_step = Position()
        self.own_metrics |= {f"replay/{name}" for name in METRICS}
        self.add_callback(self._micro_step)

    def fill_banks(self, output: dict[str, Any], rewards: Tensor, correct: Tensor, keys: Tensor) -> None:
        """Put the accepted completions of a generation into the banks, equally in all processes.

        Args:
            output: of `_generate_and_score_completions`: this process's completions.
            rewards, correct, keys: of all processes, [B, G], see `replay_bank.accepted`.
        """
        began = time.perf_counter()
        if "tool_mask" in output or "num_images" in output:
            raise _not_text("images or tokens of tools")
        count, size = len(output["prompt_ids"]), rewards.shape[1]
        first = self.accelerator.process_index * count
        fits = accepted(rewards, correct, keys).flatten().tolist()
        prompts = _unpadded(output["prompt_ids"], output["prompt_mask"])
        completions = _unpadded(output["completion_ids"], output["completion_mask"])
        verified = [
            (first + row, prompt, completion)
            for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True))
            if fits[first + row] and complete(completion, self.eos_token_ids, self.max_completion_length)
        ]
        names = keys.flatten().tolist()
        for _, group in groupby(gather_object(verified), key=lambda of: of[0] // size):
            rows = list(group)
            self.banks.add(rows[0][1], [(names[row], completion) for row, _, completion in rows])
        self._replay_seconds += time.perf_counter() - began

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        loss: Tensor = super()._compute_loss(model, inputs)
        if self.replay is None or not self.model.training:
            return loss
        step, steps = self._micro_step.substep, self.current_gradient_accumulation_steps
        if step == 0:
            self._replayed, self._replay_loss = self.banks.take(), torch.zeros((), device=loss.device)
        if self._replayed is not None:
            part = self._part_of_term(model, self._replayed, step, steps)
            # DDP, FSDP and DeepSpeed average the gradients of processes, where the term is the sum of their parts
            loss = loss + self.replay.factor(self.num_generations) * self.accelerator.num_processes * part
        if step == steps - 1:
            self._log_replay()
        return loss

    def _part_of_term(self, model: Any, bank: Bank, step: int, steps: int) -> Tensor:
        """This process's part of the mean over ways, in one micro-step; with gradients."""
        ways, processes = len(bank.completions), self.accelerator.num_processes
        own = own_part(ways, step, steps, self.accelerator.process_index, processes)
        if own is None:
            return self._replay_loss.new_zeros(())
        began = self._now()
        # a process that is left over takes part in the forward pass, which may communicate, and counts it as 0
        chosen = [bank.completions[way] for way in own] or bank.completions[:1]
        logprobs, lengths = self._logprobs_of(model, bank.prompt, chosen)
        part = replay_loss(logprobs, lengths) * (len(own) / ways)
        self._replay_loss += part.detach()
        self._replay_seconds += self._now() - began
        return part

    def _logprobs_of(
        self, model: Any, prompt: Sequence[int], completions: Sequence[Sequence[int]]
    ) -> tuple[Tensor, Tensor]:
        """Sums of the log-probabilities of completions of one prompt, with gradients, and their lengths: [n], [n]."""
        device, longest = self.accelerator.device, max(map(len, completions))
        rows = torch.zeros(len(completions), len(prompt) + longest, dtype=torch.int64, device=device)
        mask = torch.zeros_like(rows)
        for row, completion in enumerate(completions):
            tokens = torch.tensor([*prompt, *completion], device=device)
            rows[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
        logprobs = self._get_per_token_logps_and_entropies(model, rows, mask, longest)[0]
        written = mask[:, len(prompt) :]
        return (logprobs * written).sum(1), written.sum(1)

    def _log_replay(self) -> None:
        metrics, bank = self._metrics["train"], self._replayed
        if bank is not None:
            metrics["replay/loss"].append(self.accelerator.reduce(self._replay_loss, "sum").item())
        counts = (len(bank.completions) if bank else 0, len(self.banks), self.banks.ways, self._replay_seconds)
        for name, value in zip(METRICS[1:], counts, strict=True):
            metrics[f"replay/{name}"].append(float(value))
        self._replay_seconds = 0.0

    def _now(self) -> float:
        """The time, once the device has done its work."""
        if self.accelerator.device.type == "cuda":
            torch.cuda.synchronize(self.accelerator.device)
        return time.perf_counter()


def check_replay(replay: Replay | None, keys: Keys | None) -> None:
    """Refuse keys under which two groups of one prompt cannot be compared.

    Raises:
        ValueError: names the function.
    """
    if replay is not None and keys is not None and needs_whole_groups(keys):
        raise ValueError(
            f"Replay must have keys that hold for the whole training, got {name_of(keys)!r}, which compares the "
            "completions of one group alone. Take keys of each completion, such as answer or equations."
        )


def _unpadded(ids: Tensor, mask: Tensor) -> list[list[int]]:
    """The tokens of each row without its padding: [n, L] and [n, L]."""
    return [row[own].tolist() for row, own in zip(ids.cpu(), mask.bool().cpu(), strict=True)]


def _not_text(content: str) -> ValueError:
    return ValueError(
        f"Replay must have text alone, got {content}, so that a completion is the model's own tokens. Leave replay "
        "out, or train on text."
    )
