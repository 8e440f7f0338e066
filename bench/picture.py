"""The picture of README.md and of the site's first page: one group, GRPO's advantages beside those of MMR.

    python bench/picture.py --write

writes docs/assets/group.svg; without --write it prints it. The group is that of docs/tutorials/1-explain-one-group.md.
"""

import argparse
from html import escape
from pathlib import Path

import torch
from torch import Tensor

from manypaths import among_correct, cosine_similarity, mmr
from manypaths.embed import NgramEmbedder

PATH = Path(__file__).parents[1] / "docs" / "assets" / "group.svg"
COMPLETIONS = [  # text, whether it is right, how it is shown
    ("12 x 15 = 12 x 10 + 12 x 5 = 120 + 60 = 180, so \\boxed{180}", 1, "12×10 + 12×5 = 120 + 60 = 180"),
    ("12 x 15 = 12 x 10 + 12 x 5 = 120 + 60 = 180. The answer is \\boxed{180}", 1, "the same, in other words"),
    ("We split 15: 12 x 10 + 12 x 5 = 120 + 60 = 180, so \\boxed{180}", 1, "the same, in other words"),
    (
        "Two trays hold 30 eggs, and there are 6 pairs of trays: 6 x 30 = \\boxed{180}",
        1,
        "6 pairs of trays: 6×30 = 180",
    ),
    ("12 x 15 = 12 x 10 + 12 x 5 = 120 + 50 = 170, so \\boxed{170}", 0, "12×10 + 12×5 = 120 + 50 = 170"),
    ("12 + 15 = \\boxed{27}", 0, "12 + 15 = 27"),
]
WIDTH, TOP, ROW, SCALE = 700, 96, 42, 46  # SCALE: pixels of an advantage of 1
ZEROS = {"GRPO": 420, "with MMR": 562}  # where the bars of a column begin
STYLE = """text { font: 16px system-ui, sans-serif; fill: #1d2b2a } .small { font-size: 14px; fill: #5b6b69 }
.head { font-weight: 600 } .up { fill: #00897b } .down { fill: #c8553d } .axis { stroke: #b9c6c4 }
.card { fill: #ffffff; stroke: #dbe4e2 } .other { fill: #e0f2ef }"""


def advantages(rewards: Tensor) -> list[float]:
    """GRPO's: minus the mean, over the standard deviation."""
    return ((rewards - rewards.mean()) / (rewards.std() + 1e-4)).flatten().tolist()


def columns() -> dict[str, list[float]]:
    """The advantages of the six completions: GRPO's, and with MMR among the right completions."""
    texts, right, _ = zip(*COMPLETIONS, strict=True)
    rewards = torch.tensor([right], dtype=torch.float32)
    similarity = cosine_similarity(NgramEmbedder()(list(texts)).unsqueeze(0))
    return {"GRPO": advantages(rewards), "with MMR": advantages(among_correct(mmr)(rewards, similarity, rewards))}


def svg() -> str:
    """The picture: a row for each completion, two columns of bars."""
    height = TOP + ROW * len(COMPLETIONS) + 34
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'aria-label="Six completions of a problem. GRPO raises four right ones alike; MMR raises the rare way most.">',
        f"<style>{STYLE}</style>",
        f'<rect class="card" x="1" y="1" width="{WIDTH - 2}" height="{height - 2}" rx="10"/>',
        '<text class="head" x="24" y="36">12 trays of 15 eggs: how many eggs?</text>',
        '<text class="small" x="24" y="60">six completions of one problem</text>',
    ]
    lines += [f'<rect class="other" x="10" y="{TOP + 3 * ROW - 16}" width="{WIDTH - 20}" height="{ROW - 6}" rx="6"/>']
    for number, (_, right, shown) in enumerate(COMPLETIONS):
        y = TOP + ROW * number
        lines.append(
            f'<text class="{"up" if right else "down"} head" x="24" y="{y + 5}">{"✓" if right else "✗"}</text>'
        )
        lines.append(f'<text x="48" y="{y + 5}">{escape(shown)}</text>')
    for name, values in columns().items():
        zero = ZEROS[name]
        lines.append(f'<text class="head" x="{zero}" y="36" text-anchor="middle">{name}</text>')
        lines.append(f'<text class="small" x="{zero}" y="60" text-anchor="middle">advantage</text>')
        lines.append(f'<path class="axis" d="M{zero} {TOP - 20}V{TOP + ROW * len(COMPLETIONS) - 18}"/>')
        for number, value in enumerate(values):
            y, size = TOP + ROW * number, abs(value) * SCALE
            x = zero if value > 0 else zero - size
            kind, side = ("up", size + 6) if value > 0 else ("down", 6)
            lines.append(f'<rect class="{kind}" x="{x:.1f}" y="{y - 9}" width="{size:.1f}" height="18"/>')
            lines.append(f'<text class="small" x="{zero + side:.1f}" y="{y + 5}">{value:+.2f}</text>')
    foot = "GRPO raises four right completions alike. MMR gives most of their credit to the rare way."
    lines += [f'<text class="small" x="24" y="{height - 18}">{foot}</text>', "</svg>"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write docs/assets/group.svg")
    if parser.parse_args().write:
        PATH.write_text(svg(), encoding="utf-8")
    else:
        print(svg(), end="")
