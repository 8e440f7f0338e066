"""What to cite for a training: the paper of each method that it used, in BibTeX.

Where the authors are not recorded here, an entry has the number of the preprint, by which it is found.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Paper(NamedTuple):
    """A preprint. `title` and `authors` are empty where they are not recorded."""

    method: str
    arxiv: str
    title: str = ""
    authors: str = ""


WORDS = {  # names of methods, as recipes and scripts have them -> the paper
    "mmr": Paper(
        "MMR-GRPO",
        "2601.09085",
        "{MMR-GRPO}: Accelerating {GRPO}-Style Training through Diversity-Aware Reward Reweighting",
        "Wei, Kangda and Huang, Ruihong",
    ),
    "dra": Paper(
        "DRA-GRPO",
        "2505.09655",
        "{DRA-GRPO}: Your {GRPO} Needs to Know Diverse Reasoning Paths for Mathematical Reasoning",
        "Chen, Xiwen and Zhu, Wenhui and Qiu, Peijie and Dong, Xuanzhao and Wang, Hao and Wu, Haiyu and Li, Huayu and "
        "Sotiras, Aristeidis and Wang, Yalin and Razi, Abolfazl",
    ),
    "rgra": Paper(
        "RGRA",
        "2603.18756",
        "Are complicated loss functions necessary for teaching {LLMs} to reason?",
        "Carrino, Gabriele and Sassella, Andrea and Brunello, Nicolo and Toschi, Federico and Carman, Mark James",
    ),
    "raft": Paper("RAFT", "2304.06767"),
    "darling": Paper("DARLING", "2509.02534"),
    "darling_correct": Paper("DARLING", "2509.02534"),
    "evol": Paper("EVOL-RL", "2509.15194"),
    "focal": Paper("F-GRPO", "2602.06717"),
    "gapo": Paper("GAPO", "2511.12596"),
    "ips": Paper("IPS-GRPO", "2601.21669"),
    "logdet": Paper("DQO", "2509.04784"),
    "maxrl": Paper("MaxRL", "2602.02710"),
    "passk": Paper("Pass@k training", "2508.10751"),
    "pkpo": Paper("PKPO", "2505.15201"),
    "psr": Paper("PSR", "2506.01347"),
    "nsr": Paper("NSR", "2506.01347"),
    "w_reinforce": Paper("W-REINFORCE", "2506.01347"),
    "rarity": Paper("rarity credit", "2608.03467"),
    "setpo": Paper("SetPO", "2602.01062"),
    "ucpo": Paper("UCPO", "2605.00365"),
    "unlikeliness": Paper("the unlikeliness reward", "2506.02355"),
    "max_variance": Paper("PODS", "2504.13818"),
    "history": Paper("GRESO", "2506.02177"),
    "replay": Paper("verified replay", "2610.11064"),
}
GRPO = Paper(
    "GRPO",
    "2402.03300",
    "{DeepSeekMath}: Pushing the Limits of Mathematical Reasoning in Open Language Models",
    "Shao, Zhihong and Wang, Peiyi and Zhu, Qihao and Xu, Runxin and Song, Junxiao and Zhang, Mingchuan and Li, Y. K. "
    "and Wu, Y. and Guo, Daya",
)
RLOO = Paper(
    "RLOO",
    "2402.14740",
    "Back to Basics: Revisiting {REINFORCE} Style Optimization for Learning from Human Feedback in {LLMs}",
    "Ahmadian, Arash and Cremer, Chris and Gall{\\'e}, Matthias and Fadaee, Marzieh and Kreutzer, Julia and "
    '{\\"U}st{\\"u}n, Ahmet and Hooker, Sara',
)
LOSSES = {  # trainer.loss_type of TRL -> the name of the variant
    "grpo": "GRPO",
    "dr_grpo": "Dr. GRPO",
    "dapo": "DAPO",
    "bnpo": "BNPO",
}


def papers(names: Iterable[str], algorithm: Paper = GRPO) -> list[Paper]:
    """The papers of methods, each once, and that of the algorithm last; a name without a paper is left out."""
    used = {paper.arxiv: paper for name in names if (paper := WORDS.get(name)) is not None}
    return [*used.values(), algorithm]


def bibtex(paper: Paper) -> str:
    """An entry for a paper."""
    fields = {"title": paper.title, "author": paper.authors, "year": f"20{paper.arxiv[:2]}"}
    fields |= {"eprint": paper.arxiv, "archivePrefix": "arXiv", "url": f"https://arxiv.org/abs/{paper.arxiv}"}
    lines = [f"  {name:<13} = {{{value}}}" for name, value in fields.items() if value]
    return "\n".join([f"@misc{{arxiv_{paper.arxiv.replace('.', '_')},", ",\n".join(lines), "}"])
