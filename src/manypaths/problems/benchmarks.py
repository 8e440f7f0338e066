"""The five benchmarks of the papers: where they are, and what their public copies contain."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Benchmark:
    """Where a benchmark is, on the Hugging Face hub and as a local file, and how it is read."""

    title: str
    hub: str
    split: str
    file: str
    problem_column: str
    answer_column: str
    fingerprint: str  # of its public copy of November 2026


BENCHMARKS = {  # in the papers' order
    "aime24": Benchmark(
        "AIME24", "HuggingFaceH4/aime_2024", "train", "aime24.jsonl", "problem", "answer", "8c928377e520"
    ),
    "math500": Benchmark(
        "MATH-500", "HuggingFaceH4/MATH-500", "test", "math500.jsonl", "problem", "answer", "9b34dbfc465f"
    ),
    "amc23": Benchmark("AMC23", "knoveleng/AMC-23", "train", "amc23.jsonl", "problem", "answer", "2746ea8f1a28"),
    "minerva": Benchmark(
        "Minerva", "knoveleng/Minerva-Math", "train", "minerva_math.jsonl", "problem", "solution", "6495ea702ded"
    ),
    "olympiadbench": Benchmark(
        "Olympiad",
        "knoveleng/OlympiadBench",
        "train",
        "olympiadbench.jsonl",
        "question",
        "final_answer",
        "5e6d8d2baef7",
    ),
}
