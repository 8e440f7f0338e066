#!/usr/bin/env bash
# GRPO with MMR on GSM8K in verl 0.9.1, on the GPUs of one machine; docs/verl.md explains.
#
#     bash verl-gsm8k.sh
#     GPUS=2 MODEL=Qwen/Qwen2.5-0.5B-Instruct bash verl-gsm8k.sh trainer.total_training_steps=20
#     METHOD=null bash verl-gsm8k.sh    # plain GRPO in the same trainer, with the same metrics
#
# Arguments are further overrides for verl and take precedence. The last settings below are those of manypaths.
set -euo pipefail
MODEL=${MODEL:-Qwen/Qwen2.5-1.5B-Instruct}
GPUS=${GPUS:-8}
METHOD=${METHOD:-mmr}
EMBEDDER=${EMBEDDER:-sentence-transformers/all-MiniLM-L6-v2} # or ngram, which downloads nothing
DATA=${DATA:-$HOME/data/gsm8k}
PYTHON=${PYTHON:-python3}

# The problems that come with manypaths, as verl reads them; verl's own reward for openai/gsm8k looks for "#### 42".
if [ ! -f "$DATA/test.parquet" ]; then
  mkdir -p "$DATA"
  "$PYTHON" - "$DATA" <<'PREPARE'
import sys

import pandas

from manypaths.problems import load

ASK = '{} Let\'s think step by step and output the final answer after "####".'
for split in ("train", "test"):
    rows = [
        {
            "data_source": "openai/gsm8k",
            "prompt": [{"role": "user", "content": ASK.format(problem.question)}],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": problem.answer.replace(",", "")},
            "extra_info": {"split": split, "index": index},
        }
        for index, problem in enumerate(load("gsm8k", split=split))
    ]
    pandas.DataFrame(rows).to_parquet(f"{sys.argv[1]}/{split}.parquet")
PREPARE
fi

exec "$PYTHON" -m verl.trainer.main_ppo \
  data.train_files="$DATA/train.parquet" \
  data.val_files="$DATA/test.parquet" \
  data.train_batch_size=128 \
  data.max_prompt_length=512 \
  data.max_response_length=1024 \
  data.filter_overlong_prompts=true \
  algorithm.adv_estimator=grpo \
  algorithm.norm_adv_by_std_in_grpo=true \
  algorithm.use_kl_in_reward=false \
  actor_rollout_ref.model.path="$MODEL" \
  actor_rollout_ref.actor.optim.lr=1e-6 \
  actor_rollout_ref.actor.ppo_mini_batch_size=64 \
  actor_rollout_ref.actor.use_dynamic_bsz=true \
  actor_rollout_ref.actor.ppo_max_token_len_per_gpu=16384 \
  actor_rollout_ref.actor.use_kl_loss=false \
  actor_rollout_ref.actor.policy_loss.loss_mode=vanilla \
  actor_rollout_ref.rollout.name=vllm \
  actor_rollout_ref.rollout.n=8 \
  actor_rollout_ref.rollout.tensor_model_parallel_size=1 \
  actor_rollout_ref.rollout.gpu_memory_utilization=0.6 \
  actor_rollout_ref.rollout.log_prob_use_dynamic_bsz=true \
  actor_rollout_ref.rollout.log_prob_max_token_len_per_gpu=16384 \
  trainer.n_gpus_per_node="$GPUS" \
  trainer.nnodes=1 \
  trainer.logger='[console]' \
  trainer.project_name=manypaths \
  trainer.experiment_name="gsm8k-$METHOD" \
  trainer.total_epochs=3 \
  trainer.test_freq=10 \
  trainer.save_freq=-1 \
  trainer.v1.trainer_mode=manypaths \
  +diversity.method="$METHOD" \
  +diversity.embedder="$EMBEDDER" \
  "$@"
