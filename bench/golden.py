"""Records what every method computes, and three steps of training with each, to the bit; or compares with a record.

    python bench/golden.py record FILE      # at one commit
    python bench/golden.py compare FILE     # at another, on the same machine: prints what differs, and fails

Recorded are adjusted rewards and advantages as hexadecimal floats, and SHA-256 of the trained weights: of
`manypaths train` with every shipped method in one process and in two, of TRL's own trainer with `DiverseReward`, and,
where verl is installed (`make .venv-verl/ready`, then that environment's Python), of `manypaths.verl` and three steps
of verl's training. Equal bits are not to be expected of another machine or another version of torch.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT / "tests"), str(ROOT / "bench")]

METHODS = ("none", "mmr-paper", "mmr-fixed", "mmr-released", "dra-paper", "rgra", "grpo-pos", "reinforce", "raft")
SETTINGS: dict[str, tuple[str, list[str]]] = {  # label: method, overrides
    **{method: (method, []) for method in METHODS},
    "mmr-keep-equal": ("mmr-paper", ["method.keep_equal_rewards=true"]),
    "dra-floor": ("dra-paper", ["method.options.floor=-1.0"]),
    "none-reused": ("none", ["trainer.num_iterations=2"]),
    "mmr-reused": ("mmr-paper", ["trainer.num_iterations=2"]),
    "rgra-reused": ("rgra", ["trainer.num_iterations=2"]),
    "mmr-dynamic": ("mmr-paper", ["dynamic_sampling.reward=golden.vowels"]),
}
RECIPE = """
lora: {r: 2, target_modules: [q_proj, v_proj], lora_dropout: 0.0}
problems: {name: arithmetic, options: {count: 40, seed: 1}}
prompt: "{question} "
rewards: {golden.vowels: 1.0, golden.length: 0.5}
trainer: {num_generations: 4, per_device_train_batch_size: 4, gradient_accumulation_steps: 4, max_completion_length: 8,
  max_steps: 3, learning_rate: 1.0e-2, bf16: false, disable_tqdm: true}
"""


def vowels(completions: list[str], **_: Any) -> list[float | None]:
    """Between -1 and 3, None for a text that begins with an x: a reward that all samples of a random model can get."""
    return [None if text[:1] == "x" else sum(letter in "aeiou" for letter in text) - 1.0 for text in completions]


def length(completions: list[str], **_: Any) -> list[float]:
    return [len(text) / 8 for text in completions]


def exact(values: Tensor) -> list[str]:
    return [value.hex() for value in values.flatten().tolist()]


def digest(files: list[Path]) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()


def groups(seed: int = 0) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(label, rewards [B, G], embeddings [B, G, D]): real, 0 and 1, negative, with copies, ties and unscored ones."""
    draw = torch.Generator().manual_seed(seed)
    rewards = torch.randn(16, 8, generator=draw)
    embeddings = torch.randn(16, 8, 12, generator=draw)
    yield "real", rewards, embeddings
    zero_one = (rewards > 0).float()
    yield "binary", zero_one, embeddings
    copies = embeddings.clone()
    copies[:, 1::2] = copies[:, ::2]
    yield "copies", zero_one, copies
    yield "unscored", rewards.masked_fill(torch.rand(16, 8, generator=draw) < 0.3, torch.nan), copies
    yield "equal", torch.ones(16, 8), embeddings
    yield "wide", rewards.double(), embeddings.double()


def functions() -> dict[str, Any]:
    from manypaths.methods import ADVANTAGES, cosine_similarity, dra, keep_equal_rewards, mmr
    from manypaths.methods.bind import adjust, replace_advantages

    reweighters: dict[str, Callable[..., Tensor]] = {
        "mmr": mmr,
        "mmr-fixed": partial(mmr, lam=0.7),
        "mmr-first": partial(mmr, ties="first"),
        "mmr-keep-equal": keep_equal_rewards(mmr),
        "dra": dra,
        "dra-floor": partial(dra, floor=-10.0),
    }
    result: dict[str, Any] = {}
    for label, rewards, embeddings in groups():
        inputs = {"rewards": rewards, "similarity": cosine_similarity(embeddings)}
        for name, reweight in reweighters.items():
            result[f"{name} {label}"] = exact(adjust(reweight, inputs)[0])
        centred = (rewards - rewards.nanmean(1, keepdim=True)).nan_to_num(0.0)
        for name in ("grpo-pos", "reinforce", "raft"):
            advantage = ADVANTAGES[name.replace("-", "_")]
            result[f"{name} {label}"] = exact(replace_advantages(advantage, inputs | {"advantages": centred})[0])
    return result


def command(model: Path, folder: Path, processes: int) -> dict[str, Any]:
    recipe = folder / "golden.yaml"
    recipe.write_text(RECIPE + f"model: {{name: {model}, dtype: float32}}\n")
    result = {}
    for label, (method, overrides) in SETTINGS.items():
        out = folder / f"{label}-{processes}"
        begun = [sys.executable, "-m", "manypaths.cli", "train", str(recipe), method, *overrides, "--out", str(out)]
        begun += ["--processes", str(processes)] * (processes > 1)
        done = subprocess.run(begun, cwd=ROOT / "bench", capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{label} failed:\n{done.stdout}\n{done.stderr}")
        lines = [json.loads(line) for line in (out / "groups.jsonl").read_text("utf-8").splitlines()]
        answers = [answer for line in lines for answer in line["completions"]]
        numbers = {name: [_hex(answer[name]) for answer in answers] for name in ("raw", "adjusted", "advantage")}
        result[label] = {**numbers, "weights": digest(list((out / "model").glob("*.safetensors")))}
        print(f"{label}, {processes} process(es): {len(lines)} groups", flush=True)
    return result


def _hex(value: float | None) -> str | None:
    return None if value is None else float(value).hex()


def wrapper(model: Path, folder: Path) -> dict[str, Any]:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from manypaths import dra, mmr
    from manypaths.embed import NgramEmbedder
    from manypaths.wrapper import DiverseReward

    result = {}
    for name, reweight in {"mmr": mmr, "mmr-fixed": partial(mmr, lam=0.7), "dra": dra}.items():
        reward = DiverseReward(
            [vowels, length], reweight=reweight, embedder=NgramEmbedder(), num_generations=4, reward_weights=[1.0, 0.5]
        )
        args = GRPOConfig(
            str(folder / f"wrapper-{name}"),
            use_cpu=True,
            bf16=False,
            max_steps=3,
            num_generations=4,
            per_device_train_batch_size=8,
            max_completion_length=8,
            learning_rate=1e-2,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        )
        data = Dataset.from_list([{"prompt": f"{number} + 2 = "} for number in range(16)])
        trainer = GRPOTrainer(str(model), reward, args, data)
        trainer.train()
        weights = b"".join(weight.detach().numpy().tobytes() for weight in trainer.model.parameters())
        result[name] = {
            "advantages": exact(torch.tensor(list(trainer._logs["advantages"]))),
            "weights": hashlib.sha256(weights).hexdigest(),
        }
    return result


def verl() -> dict[str, Any]:
    """Ragged groups through the adapter's function, and two steps of verl's whole loop."""
    from manypaths.completion_inputs import CompletionInputs
    from manypaths.methods import dra, mmr
    from manypaths.verl import adjusted_by_uid

    result: dict[str, Any] = {}
    uids = [str(number % 5) for number in range(48)] + ["alone"]
    draw = torch.Generator().manual_seed(1)
    for label in ("real", "unscored"):
        raw = torch.randn(49, generator=draw)
        raw = raw.masked_fill(torch.rand(49, generator=draw) < 0.3, torch.nan) if label == "unscored" else raw
        embeddings = torch.randn(49, 12, generator=draw)
        for name, reweight in {"none": None, "mmr": mmr, "mmr-fixed": partial(mmr, lam=0.7), "dra": dra}.items():
            inputs = CompletionInputs(len, None, {"reweight": reweight}, {"reweight": ["rewards"]})
            rows = {"rewards": raw, "embeddings": embeddings}
            result[f"{name} {label}"] = exact(adjusted_by_uid(uids, rows, (), inputs, reweight)[0])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "steps.json"
        script = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            str(ROOT / "bench" / "golden_verl.py"),
        ]
        subprocess.run(script, env=os.environ | {"GOLDEN_FILE": str(file)}, check=True)
        return {**result, "training": json.loads(file.read_text())}


def recorded() -> dict[str, Any]:
    if importlib.util.find_spec("transfer_queue"):
        return {"verl": verl()}
    from conftest import tiny_model

    class Folders:
        def mktemp(self, name: str) -> Path:
            return Path(folder) / name

    with tempfile.TemporaryDirectory() as folder:
        model = tiny_model.__wrapped__(Folders())
        return {
            "functions": functions(),
            "wrapper": wrapper(model, Path(folder)),
            "one process": command(model, Path(folder), 1),
            "two processes": command(model, Path(folder), 2),
        }


def differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() | new.keys():
            if key not in old or key not in new:
                yield f"{where}{key}: only {'here' if key in new else 'in the record'}"
            else:
                yield from differences(old[key], new[key], f"{where}{key}, ")
    elif isinstance(old, list) and isinstance(new, list):
        unequal = sum(left != right for left, right in zip(old, new, strict=False)) + abs(len(old) - len(new))
        if unequal:
            yield f"{where}{unequal} of {len(old)} numbers differ"
    elif old != new:
        yield f"{where}{old} in the record, {new} here"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("record", "compare"))
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    new = recorded()
    if arguments.what == "record":
        arguments.file.write_text(json.dumps(new))
        return
    complaints = sorted(differences(json.loads(arguments.file.read_text()), new))
    print("\n".join(complaints) or "Equal to the bit.")
    sys.exit(bool(complaints))


if __name__ == "__main__":
    main()
