"""Rollouts that verl's own functions dump come back as groups: of its new trainers, and of its older one."""

import random

import numpy as np
import torch
from test_verl import ANSWERS, put
from verl import DataProto
from verl.trainer.ppo.padding_utils import upsample_batch_to_divisible_size
from verl.trainer.ppo.ray_trainer import RayPPOTrainer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

from manypaths import logs

SEVERAL = ANSWERS | {("a", 0, 1): ("a second output", 0.5), ("d", 0, 1): ("another", 0.25)}


def dumped(trainer, step, folder, *arguments):
    trainer.global_steps = step
    trainer._init_dump_executor()
    trainer._log_rollout_data(*arguments, str(folder))
    trainer._shutdown_dump_executor()


def last_outputs():
    """The groups of SEVERAL: uid -> (text, score) of the last output of each session, in the order of the sessions."""
    groups = {}
    for (uid, session, _), answer in sorted(SEVERAL.items()):
        groups.setdefault(uid, {})[session] = answer
    return {uid: list(sessions.values()) for uid, sessions in groups.items()}


def test_the_new_trainers_write_uids_and_padding(trainer, queue, tokenizer, tmp_path):
    batch = put(queue, tokenizer, SEVERAL)
    more = 16 * (len(batch.keys) // 16 + 1)
    batch = upsample_batch_to_divisible_size(batch, more, tokenizer.eos_token_id)
    dumped(trainer("trainer.v1.trainer_mode=sync", kind=PPOTrainerSync), 3, tmp_path, batch, {})
    log = logs.read(tmp_path)
    expected = [answers for _, answers in sorted(last_outputs().items()) if len(answers) > 1]
    actual = [list(zip(group.completions, group.total, strict=True)) for group in log.groups]
    assert log.kind == logs.VERL and sorted(actual) == sorted(expected)
    assert {group.step for group in log.groups} == {3}
    padding = more - len(SEVERAL)
    for words in (f"{padding} empty completions", "2 outputs of rollouts", "Left out: 1 group of a single"):
        assert any(note.startswith(words) for note in log.notes), (words, log.notes)


def test_the_older_trainer_writes_completions_in_any_order(tokenizer, tmp_path):
    rows = [(f"{number} + 2 =", f"{number} {at}", float(at), at > 1) for number in range(3) for at in range(4)]
    random.Random(0).shuffle(rows)
    ids = [[tokenizer(text)["input_ids"] for text in texts] for texts in list(zip(*rows, strict=True))[:2]]
    tensors = [
        torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], True, tokenizer.pad_token_id)
        for rows in ids
    ]
    scores = torch.zeros(len(rows), 3)
    scores[:, 1] = torch.tensor([score for _, _, score, _ in rows])
    golds = np.array([{"ground_truth": prompt[0]} for prompt, *_ in rows], dtype=object)
    batch = DataProto.from_dict(
        {"prompts": tensors[0], "responses": tensors[1], "token_level_scores": scores}, {"reward_model": golds}
    )
    older = object.__new__(RayPPOTrainer)
    older.tokenizer = tokenizer
    infos = {"acc": np.array([acc for *_, acc in rows]), "another": ["of other length"]}
    dumped(older, 7, tmp_path, batch, infos, {})
    log = logs.read(tmp_path)
    assert len(log.groups) == 3 and all(group.step == 7 for group in log.groups)
    for group in log.groups:
        own = [row for row in rows if row[0] == group.prompt]
        assert group.completions == [text for _, text, _, _ in own]
        assert group.total == [score for _, _, score, _ in own] and group.correct == [acc for *_, acc in own]
        assert group.extra["gts"] == [group.prompt[0]] * 4
