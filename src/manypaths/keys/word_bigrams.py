"""Clusters of completions that share pairs of neighbouring words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

LONGEST = 100_000  # characters of a completion that are read, from its start

_WORD = re.compile(r"\w+|[^\w\s]")


def clusters(texts: Sequence[str], threshold: float) -> list[str | None]:
    """The cluster of each text of one group, under the name of its first member in the order of texts.

    Agglomerative clustering with average linkage: of the two clusters with the smallest mean Jaccard distance between
    their members' sets of word bigrams, one is made, as long as that distance is at most `threshold`. Which of several
    equal distances comes first depends on the texts alone, so the order of the group does not matter. O(G^3).

    Args:
        texts: one group, G texts.
        threshold: from 0 (equal sets only) to 1 (all texts with a word are one cluster).

    Returns:
        G names; None for a text without a word.
    """
    counts = Counter(texts)
    bigrams = {text: _bigrams(text) for text in sorted(counts)}
    members = [[text] for text, pairs in bigrams.items() if pairs]
    sizes = [counts[text] for (text,) in members]
    distance = [[_jaccard(bigrams[left], bigrams[right]) for (right,) in members] for (left,) in members]
    while len(members) > 1:
        nearest, left, right = min(
            (distance[left][right], left, right) for right in range(len(members)) for left in range(right)
        )
        if nearest > threshold:
            break
        both = sizes[left] + sizes[right]
        mean = [
            (sizes[left] * a + sizes[right] * b) / both for a, b in zip(distance[left], distance[right], strict=True)
        ]
        for other, value in enumerate(mean):
            distance[left][other] = distance[other][left] = value
        members[left] += members[right]
        sizes[left] = both
        del members[right], sizes[right], distance[right]
        for row in distance:
            del row[right]
    names = {text: cluster[0] for cluster in members for text in cluster}
    return [names.get(text) for text in texts]


def _bigrams(text: str) -> set[tuple[str, ...]]:
    """Pairs of neighbouring words, in lower case, signs being words; of a single word that alone."""
    words = _WORD.findall(text[:LONGEST].lower())
    return set(pairwise(words)) or ({tuple(words)} if words else set())


def _jaccard(left: set[tuple[str, ...]], right: set[tuple[str, ...]]) -> float:
    """1 - |A and B| / |A or B|."""
    shared = len(left & right)
    return 1.0 - shared / (len(left) + len(right) - shared)
