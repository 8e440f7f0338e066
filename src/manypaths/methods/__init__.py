"""The methods: rewards of a group in, adjusted rewards or advantages out. Pure functions on tensors, one file a paper.

    mmr.py            MMR-GRPO: `mmr`, and its adaptive weight on the reward
    dra.py            DRA-GRPO: `dra`
    advantages.py     what RGRA was compared with, in the place of GRPO's advantage: `grpo_pos`, `reinforce`, `raft`
    keep_equal.py     a wrapper: zero-variance groups keep their rewards
    among_correct.py  a wrapper: credit moves among the right completions of a group only
    shuffled.py       a wrapper, the placebo: keys and similarities belong to other completions of the group

From keys: rarity.py `rarity`, an advantage; gapo.py `gapo`; darling.py `darling` and `darling_correct`; ips.py `ips`.
frequency.py counts how often a key occurs in a group.

From verdicts, advantages: maxrl.py `maxrl`; passk.py `passk`; pkpo.py `pkpo`; positive_negative.py `psr`, `nsr` and
`w_reinforce`; focal.py `focal`. verdicts.py says what is right and what is wrong, subsets.py counts subsets of k.

From similarity: setpo.py `setpo` and logdet.py `logdet`, which add a bonus to advantages (bonus.py); evol.py `evol`,
adjusted rewards from verdicts and novelty.
From log-probabilities: unlikeliness.py `unlikeliness`, rewards; ucpo.py `ucpo`, advantages; likelihood.py.

A method names the inputs that it wants by its positional parameters (inputs.py); what it reports about itself
(diagnostics.py) is logged. groups.py has what all methods share, measures.py what is logged of groups.

selection.py says whom to train on: `select_mmr`, `select_max_variance` and the control, `select_random`. draws.py has
the random numbers of `shuffled` and `select_random`.

From here a method enters each trainer through one function, `adjust` in bind.py:

    trl/trainer.py  DiverseGRPOTrainer._calculate_rewards   adds the column adjusted - raw, which TRL sums up
    wrapper.py      DiverseReward.__call__                  returns the adjusted rewards
    verl.py         DiversePPOTrainer._compute_advantage    adds adjusted - raw to verl's scores
    slime.py        post_process_rewards                    normalises the adjusted rewards as slime does

RGRA is no method but a loss: `importance_ratio=False` of DiverseGRPOTrainer.
"""

from __future__ import annotations

from manypaths.methods.advantages import Advantage, grpo_pos, raft, reinforce
from manypaths.methods.among_correct import among_correct
from manypaths.methods.darling import darling, darling_correct
from manypaths.methods.diagnostics import report
from manypaths.methods.dra import dra
from manypaths.methods.evol import evol
from manypaths.methods.focal import focal
from manypaths.methods.gapo import gapo
from manypaths.methods.groups import cosine_similarity, has_nonzero_std, weighted_sum
from manypaths.methods.ips import ips
from manypaths.methods.keep_equal import keep_equal_rewards
from manypaths.methods.logdet import logdet
from manypaths.methods.maxrl import maxrl
from manypaths.methods.mmr import TIES, adaptive_lambda, mmr
from manypaths.methods.passk import passk
from manypaths.methods.pkpo import pkpo
from manypaths.methods.positive_negative import nsr, psr, w_reinforce
from manypaths.methods.rarity import rarity
from manypaths.methods.selection import Selection, select_max_variance, select_mmr, select_random
from manypaths.methods.setpo import setpo
from manypaths.methods.shuffled import shuffled
from manypaths.methods.ucpo import ucpo
from manypaths.methods.unlikeliness import unlikeliness
from manypaths.methods.wrapped import Reweighter

__all__ = [
    "ADVANTAGES",
    "REWEIGHTERS",
    "SELECTIONS",
    "TIES",
    "Advantage",
    "Reweighter",
    "Selection",
    "adaptive_lambda",
    "among_correct",
    "cosine_similarity",
    "darling",
    "darling_correct",
    "dra",
    "evol",
    "focal",
    "gapo",
    "grpo_pos",
    "has_nonzero_std",
    "ips",
    "keep_equal_rewards",
    "logdet",
    "maxrl",
    "mmr",
    "nsr",
    "passk",
    "pkpo",
    "psr",
    "raft",
    "rarity",
    "reinforce",
    "report",
    "select_max_variance",
    "select_mmr",
    "select_random",
    "setpo",
    "shuffled",
    "ucpo",
    "unlikeliness",
    "w_reinforce",
    "weighted_sum",
]

REWEIGHTERS: dict[str, Reweighter] = {
    "mmr": mmr,
    "dra": dra,
    "evol": evol,
    "gapo": gapo,
    "darling": darling,
    "darling_correct": darling_correct,
    "ips": ips,
    "unlikeliness": unlikeliness,
}
ADVANTAGES: dict[str, Advantage] = {
    "grpo_pos": grpo_pos,
    "reinforce": reinforce,
    "raft": raft,
    "maxrl": maxrl,
    "passk": passk,
    "pkpo": pkpo,
    "psr": psr,
    "nsr": nsr,
    "w_reinforce": w_reinforce,
    "focal": focal,
    "setpo": setpo,
    "logdet": logdet,
    "ucpo": ucpo,
    "rarity": rarity,
}
SELECTIONS: dict[str, Selection] = {"mmr": select_mmr, "max_variance": select_max_variance, "random": select_random}
