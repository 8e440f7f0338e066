#!/bin/bash
# A run over several machines under SLURM: one launcher a machine, which starts a process for each of its GPUs.
#   sbatch --nodes=2 slurm.sh r1-distill-qwen-7b grpo mmr mmr-grpo evaluation=null trainer.vllm_mode=colocate
# The folder of the run must be visible to every machine. The same line, sent again, resumes from the last checkpoint.
#SBATCH --job-name=manypaths
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --requeue
set -euo pipefail

CONFIG=${CONFIG:-multi-node}   # or zero2, zero3, fsdp2, or a file
OUT=${OUT:-runs/$SLURM_JOB_NAME}
FIRST=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
FILE=$(python -c "import sys; from manypaths.training.launch import find_config; print(find_config(sys.argv[1]))" "$CONFIG")
[ -e "$OUT/recipe.yaml" ] && set --   # an existing run is resumed with its own recipe

# With this flag srun ends all tasks when one fails; otherwise the others wait until NCCL times out.
export FIRST FILE OUT
srun --kill-on-bad-exit=1 bash -c 'exec accelerate launch --config_file "$FILE" \
  --num_machines "$SLURM_NNODES" --num_processes $((SLURM_NNODES * SLURM_GPUS_ON_NODE)) \
  --machine_rank "$SLURM_PROCID" --main_process_ip "$FIRST" --main_process_port 29500 \
  -m manypaths.cli train "$@" --out "$OUT"' manypaths "$@"
