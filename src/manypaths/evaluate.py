"""Accuracy on held-out problems: sample answers with any `generate`, grade them, keep every one."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from manypaths.grading import extract, grade
from manypaths.problems import Problem, render

Prompt = str | list[dict[str, str]]
Generate = Callable[[Sequence[Prompt], int], list[list[str]]]


def evaluate(
    problems: list[Problem], generate: Generate, *, prompt: Prompt, samples: int = 1, out: Path | None = None
) -> dict[str, Any]:
    """Sample answers, grade them -> {accuracy, low, high, problems, samples, boxed, seconds}.

    `generate` is `(prompts, n) -> a list of n completions for each prompt`, so nothing here knows how text is made.
    `accuracy` is the mean over problems of the mean over samples (avg@n), `low` and `high` its 95 % Wilson score
    interval over problems, `boxed` the share of samples with a boxed answer. With `out`, a JSON line per problem
    with every sample and verdict is written there in one piece.
    """
    if not problems or samples < 1:
        raise ValueError(f"An evaluation asks for 1 or more problems and samples; given {len(problems)} and {samples}.")
    started = time.perf_counter()
    answers = generate([render(prompt, problem.question) for problem in problems], samples)
    texts = [text for each in answers for text in each]
    verdicts = iter(grade(texts, [problem.answer for problem in problems for _ in range(samples)]))
    lines: list[dict[str, Any]] = [
        {
            "id": problem.id,
            "question": problem.question,
            "answer": problem.answer,
            "samples": [{"text": text, "answer": extract(text), "correct": next(verdicts)} for text in each],
        }
        for problem, each in zip(problems, answers, strict=True)
    ]
    correct = [sum(sample["correct"] for sample in line["samples"]) / samples for line in lines]
    accuracy = sum(correct) / len(correct)
    low, high = wilson_interval(accuracy, len(correct))
    if out is not None:
        write_whole(out, "".join(json.dumps(line) + "\n" for line in lines))
    return {
        "accuracy": accuracy,
        "low": low,
        "high": high,
        "problems": len(problems),
        "samples": samples,
        "boxed": sum(extract(text) is not None for text in texts) / len(texts),
        "seconds": time.perf_counter() - started,
    }


def wilson_interval(share: float, count: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % score interval (Wilson, 1927) of a share observed in `count` trials; within [0, 1], never of width 0."""
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader, or a crash, sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def sampler(
    model: Any,
    tokenizer: Any,
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    batch_size: int = 32,
    seed: int = 0,
) -> Generate:
    """A `generate` on transformers; temperature 0 is greedy. It leaves the global random state as it was."""
    import torch

    if batch_size < 1 or max_new_tokens < 1:
        raise ValueError(f"Sampling asks for batch_size and max_new_tokens >= 1; given {batch_size}, {max_new_tokens}.")

    def generate(prompts: Sequence[Prompt], n: int) -> list[list[str]]:
        conversational = bool(prompts) and not isinstance(prompts[0], str)
        if conversational:
            named = {"tokenize": False, "add_generation_prompt": True}
            prompts = [tokenizer.apply_chat_template(each, **named) for each in prompts]
        texts = [prompt for prompt in prompts for _ in range(n)]
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        completions = [""] * len(texts)
        encoded = {"return_tensors": "pt", "padding": True, "add_special_tokens": not conversational}
        drawn = {"temperature": temperature, "top_p": top_p, "top_k": 0} if temperature else {}
        model.eval()
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(seed)
            for start in range(0, len(order), batch_size):
                batch = order[start : start + batch_size]
                inputs = tokenizer([texts[index] for index in batch], **encoded).to(model.device)
                ids = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=bool(drawn), **drawn)
                new = ids[:, inputs.input_ids.shape[1] :]
                for index, text in zip(batch, tokenizer.batch_decode(new, skip_special_tokens=True), strict=True):
                    completions[index] = text
        return [completions[start : start + n] for start in range(0, len(completions), n)]

    return generate
