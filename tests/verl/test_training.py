"""verl's whole training loop around manypaths.verl: its workers, its FSDP engine and its steps, on the CPU.

Only the sampling is left out, since verl samples with vLLM, SGLang or TensorRT-LLM alone: the answers are given.
"""

import json

import pandas
import pytest
import ray
import reference
import torch
from test_verl import expected
from verl.trainer.ppo.v1 import get_trainer_cls
from verl.utils.tensordict_utils import list_of_dict_to_tensordict
from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry

from manypaths import logs

GIVEN = [("it is 4", 1.0), ("it is 4!", 1.0), ("perhaps seven", 0.0), ("count: 1 2 3 4", 1.0)]
TEXTS = [text for text, _ in GIVEN]
SETTINGS = [
    *("trainer.device=cpu", "trainer.n_gpus_per_node=1", "trainer.logger=[file]", "trainer.resume_mode=disable"),
    *("trainer.total_training_steps=2", "trainer.val_before_train=false", "reward.num_workers=1"),
    *("data.train_batch_size=2", "data.max_prompt_length=64", "data.max_response_length=64", "data.shuffle=false"),
    "data.dataloader_num_workers=0",
    *(
        f"actor_rollout_ref.actor.{each}"
        for each in (
            *("strategy=fsdp2", "fsdp_config.model_dtype=fp32", "fsdp_config.dtype=float32", "optim.lr=0.01"),
            *("ppo_mini_batch_size=2", "ppo_micro_batch_size_per_gpu=4", "use_torch_compile=false"),
        )
    ),
    *(
        "actor_rollout_ref.model.use_remove_padding=false",
        "actor_rollout_ref.model.enable_gradient_checkpointing=false",
    ),
    "+actor_rollout_ref.model.override_config.attn_implementation=sdpa",
    *("actor_rollout_ref.rollout.nnodes=1", "actor_rollout_ref.rollout.n_gpus_per_node=1"),
    *("actor_rollout_ref.rollout.name=given", "actor_rollout_ref.rollout.calculate_log_probs=false"),
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=4",
]

RolloutReplicaRegistry.register("given", lambda: RolloutReplica)


class GivenAnswers:
    """In the place of verl's agent loops: the same four answers to every prompt, into the TransferQueue.

    To the first prompt all of them are right.
    """

    def __init__(self, queue, trainer):
        self.queue, self.trainer = queue, trainer

    def generate_sequences(self, prompts):
        step = self.trainer.global_steps
        for uid, chat in zip(prompts["uid"], prompts["raw_prompt"], strict=True):
            prompt = self.trainer.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
            keys, fields, tags = [], [], []
            for session, (text, score) in enumerate(GIVEN):
                ids = torch.tensor([*self.trainer.tokenizer(text)["input_ids"], self.trainer.tokenizer.eos_token_id])
                mask, whole = torch.ones_like(ids), torch.cat([torch.tensor(prompt), ids])
                rm_scores = torch.zeros(len(ids))
                rm_scores[-1] = 1.0 if chat[0]["content"].startswith("0") else score
                fields.append({"uid": uid, "prompts": torch.tensor(prompt), "responses": ids, "input_ids": whole})
                fields[-1] |= {"position_ids": torch.arange(len(whole)), "response_mask": mask, "loss_mask": mask}
                fields[-1] |= {"rm_scores": rm_scores, "num_turns": 2}
                keys.append(f"{uid}_{session}_0")
                tags.append({"status": "success", "prompt_len": len(prompt), "response_len": len(ids)})
                tags[-1] |= {"seq_len": len(whole), "global_steps": step, "min_global_steps": 0, "max_global_steps": 0}
            fields = list_of_dict_to_tensordict(fields)
            self.queue.kv_batch_put(keys=keys, partition_id="train", fields=fields, tags=tags)
            finished = {"is_prompt": True, "status": "finished", "global_steps": step}
            self.queue.kv_batch_put(keys=[uid], partition_id="train", tags=[finished])


@pytest.fixture
def train(configure, queue, tiny_model, tmp_path, monkeypatch):
    """`train("+diversity.method=mmr")` -> the metrics that verl logs, step by step."""
    chats = [[{"role": "user", "content": f"{number} + 2 ="}] for number in range(8)]
    pandas.DataFrame({"data_source": "sums", "prompt": chats}).to_parquet(tmp_path / "data.parquet")
    files = [f"{name}={tmp_path}/data.parquet" for name in ("data.train_files", "data.val_files")]
    monkeypatch.setenv("VERL_FILE_LOGGER_PATH", str(tmp_path / "log.jsonl"))

    def run(*overrides):
        config = configure(*SETTINGS, *files, f"actor_rollout_ref.model.path={tiny_model}", *overrides)

        class WithoutSampling(get_trainer_cls(config.trainer.v1.trainer_mode)):
            _enable_hybrid_replicas = False  # no engine that samples, so nobody to send the weights to

            def on_init_end(self):
                pass

            on_sample_end = on_step_end = on_init_end

        before = set(ray.util.list_named_actors())
        trainer = WithoutSampling(config)
        trainer.init()
        trainer.fit(GivenAnswers(queue, trainer))
        for pool in trainer.resource_pool_manager.resource_pool_dict.values():
            for group in pool.get_placement_groups():
                ray.util.remove_placement_group(group)
        for name in set(ray.util.list_named_actors()) - before:
            ray.kill(ray.get_actor(name))
        return [json.loads(line)["data"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]

    return run


def learned(steps):
    """What depends on the advantages and, in the second step, on the weights that the first one made."""
    return [[step[f"actor/{name}"] for name in ("pg_loss", "grad_norm", "entropy")] for step in steps]


def test_two_steps_of_training(train, tmp_path):
    own = train("trainer.v1.trainer_mode=sync", f"trainer.rollout_data_dir={tmp_path}/rollouts")
    rollouts = logs.read(tmp_path / "rollouts").groups
    assert [(group.step, group.completions) for group in rollouts] == [(step, TEXTS) for step in (1, 1, 2, 2)]
    assert sorted(group.total for group in rollouts if group.step == 1) == [[1.0, 1.0, 0.0, 1.0], [1.0] * 4]
    assert learned(train("+diversity.method=mmr", "+diversity.options.lam=1")) == learned(own), "identity is verl's own"

    steps = train("+diversity.method=mmr", "algorithm.filter_groups.enable=true")
    adjusted, advantage = expected(reference.mmr, {("a", i, 0): answer for i, answer in enumerate(GIVEN)})
    first = steps[0]
    assert first["training/filter_groups/evicted_samples"] == 1, "verl's dynamic sampling is to see raw scores"
    assert first["critic/score/mean"] == first["diversity/raw_reward"] == 0.75
    assert first["diversity/adjusted_reward"] == pytest.approx(adjusted.mean().item(), rel=1e-5)
    assert first["critic/advantages/max"] == pytest.approx(advantage.max().item(), rel=1e-5)
    assert first["critic/advantages/min"] == pytest.approx(advantage.min().item(), rel=1e-5)
    assert len(steps) == len(own) == 2 and learned(steps)[1] != learned(own)[1]

    steps = train("+diversity.advantage=maxrl", "+diversity.correct=score")
    assert [step["critic/advantages/max"] for step in steps] == pytest.approx([1 / 3] * 2)  # 3 of 4, or all of them
    assert [step["critic/advantages/min"] for step in steps] == [-1.0, -1.0]
    assert learned(steps)[0] != learned(own)[0]
