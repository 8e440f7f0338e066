"""Every private name of another project that src/manypaths uses: who owns it, where it is used, and what to do without.

tests/test_private_names.py and tests/verl/test_verl.py pin each of them.
"""

from __future__ import annotations

from typing import NamedTuple


class Use(NamedTuple):
    owner: str
    modules: str  # of src/manypaths that use the name
    purpose: str
    remedy: str  # if the name is gone


TRL, TRAINERS = "trl.GRPOTrainer", "trainer dynamic_sampling"
NAMES = {
    "_generate": Use(
        TRL,
        "dynamic_sampling logprobs tool_mask",
        "returns a full batch that dynamic sampling has sampled already",
        "Find the method in which TRL samples the completions of a batch, and override that one",
    ),
    "_generate_and_score_completions": Use(
        TRL,
        f"{TRAINERS} logprobs prompt_history pilot selection",
        "the batch is filled and prompts are replaced before it, and the advantages are replaced after it; a pilot "
        "reads what was sampled",
        "Find the method that turns rows of the data into completions with advantages, and override that one",
    ),
    "_calculate_rewards": Use(
        TRL,
        f"{TRAINERS} tool_mask",
        "the diversity column is appended to the rewards [N, K]",
        "Find where TRL gathers the rewards of all functions before it sums them. Until then, pass "
        "manypaths.wrapper.DiverseReward to GRPOTrainer as the reward function",
    ),
    "_get_per_token_logps_and_entropies": Use(
        TRL,
        "logprobs",
        "log-probabilities of the tokens of completions, TRL's own and those of one more forward pass",
        "Find where TRL computes old_per_token_logps, and use that. Until then, methods cannot have the input "
        "logprobs, and there is no verified replay",
    ),
    "_compute_loss": Use(
        TRL,
        "trainer replay trained_rows",
        "RGRA leaves the old log-probabilities out, skipping leaves completions out, and verified replay adds a term",
        "Find where TRL reads old_per_token_logps, and remove the key before that; add the term where the loss is made",
    ),
    "_log_metric": Use(
        TRL,
        "dynamic_sampling",
        "logs metrics of a generation, and refuses our names to reward functions",
        "Find what TRL passes to reward functions as log_metric",
    ),
    "_prepare_inputs": Use(
        TRL,
        "pilot",
        "samples a generation batch, and gives the second update of a pilot the completions of the first",
        "Find where TRL decides between a new generation and a buffered one, and override that",
    ),
    "_metrics": Use(
        TRL,
        f"{TRAINERS} prompt_history replay step_seconds trained_rows",
        "the seconds of a step, and the means over all sampled completions",
        "Override GRPOTrainer.log and set the values there",
    ),
    "_buffered_inputs": Use(
        TRL,
        "record_groups",
        "another object after each generation, which may serve several steps",
        "Find where TRL keeps a generation until its last micro-step",
    ),
    "_pending_metrics": Use(
        TRL,
        "dynamic_sampling",
        "cleared after a step that failed",
        "Find where TRL keeps the values of log_metric until a batch is complete",
    ),
    "_pending_extra_logs": Use(
        TRL,
        "dynamic_sampling",
        "the columns that reward functions log, which move with their completions",
        "Find where TRL keeps the values of log_extra until a batch is complete",
    ),
    "_get_train_sampler": Use(
        TRL,
        "trainer",
        "a resumed training gets the order of its epoch",
        "See whether a training that TRL resumes in its second epoch has the order of that epoch. If so, delete "
        "manypaths.trl.data_order.DataOrder; if not, find where TRL makes its sampler",
    ),
    "_logs": Use(
        TRL,
        "trainer records record_groups pilot selection",
        "texts, rewards and advantages of all processes",
        "Find where TRL keeps the rows of its table of completions, or gather them in _calculate_rewards",
    ),
    "_save_optimizer_and_scheduler": Use(
        "transformers.Trainer",
        "checkpoint_state",
        "banks and histories are written before the state of the trainer",
        "Find where Trainer writes the optimizer into a checkpoint, before trainer_state.json, and write them there",
    ),
    "_load_optimizer_and_scheduler": Use(
        "transformers.Trainer",
        "checkpoint_state",
        "banks and histories of the checkpoint from which a training is resumed",
        "Find where Trainer reads the optimizer of a checkpoint, and read them there",
    ),
    "_use_triton": Use(
        "trl.trainer.utils",
        "cpu",
        "TRL computes the logits of the completions' tokens alone",
        "Delete manypaths.cpu.score_completions_only: a step takes longer, and results stay equal",
    ),
    "_shared_state": Use(
        "accelerate.PartialState",
        "embed",
        "empty until accelerate has chosen a device",
        "Pass the trainer's device to SentenceEmbedder instead",
    ),
    "_hf_deepspeed_config_weak_ref": Use(
        "transformers.integrations.deepspeed",
        "embed",
        "the configuration of ZeRO-3, which is put back after an embedder is loaded",
        "Load the embedder before the trainer, or put back the configuration of accelerate's DeepSpeed plugin",
    ),
    "_unsorted_args": Use(
        "latex2sympy2_extended",
        "equality",
        "members of a set and links of a chain of equations in the order in which they are written",
        "Find where latex2sympy2_extended keeps that order; sorted, a list such as 3, 1, 2 loses it",
    ),
    "_run_exitfuncs": Use(
        "atexit",
        "launch",
        "runs the functions that libraries such as wandb registered, before os._exit",
        "Call torch.distributed.destroy_process_group() and end Python as usual",
    ),
    "_actions": Use(
        "argparse.ArgumentParser",
        "completion",
        "the arguments that a shell completes with files or with recipes",
        "Leave them to shtab, which then completes options and commands alone",
    ),
    "_compute_advantage": Use(
        "verl.trainer.ppo.v1.trainer_sync.PPOTrainerSync",
        "verl",
        "the scores are adjusted before it and put back after it",
        "Find the method in which verl computes the advantages of a batch, and override that one",
    ),
    "_build_replay_buffer": Use(
        "verl.trainer.ppo.v1.trainer_sync.PPOTrainerSync",
        "verl",
        'selects the replay buffer of the mode "sync"',
        "Find where verl selects it by `trainer_mode`",
    ),
}


def gone(name: str) -> str:
    """What to do if a name is gone or has changed, as one message."""
    use = NAMES[name]
    return (
        f"{name} of {use.owner} is gone or has changed. Used in {use.modules.replace(' ', ', ')}: {use.purpose}. "
        f"{use.remedy}. Then change its row in tests/private_names.py."
    )
