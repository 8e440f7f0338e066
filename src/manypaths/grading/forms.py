"""Answers that are no mathematics: choices, words and residue classes."""

from __future__ import annotations

import re

from manypaths.grading.quantities import same_compound, same_time, words

_PLAIN = re.compile(
    r"yes|no(?: [a-z]+)?|odd|even|(?=.{0,99}[a-z]{4})[a-z' -]+|[\u3040-\u9fff\uac00-\ud7a3]+", re.IGNORECASE
)
_TEXT = re.compile(r"\\(?:text|mathrm|operatorname)\s{0,9}\{([^{}]*)\}")
_CHOICE = re.compile(
    r"(?:(?i:option|choice|answer)\s*:?\s*)?(?:\(\s?([A-Ja-j])\s?\)|([A-J])(?=[).:]|$))[).:]*[\s\\]*(?:(?<=[\s\\).:])(.+))?",
    re.DOTALL,
)
CHOICES = re.compile(r"\(?[A-H]\)?(?:\s*(?:(?:,|;|&|and|or|\\text\s?\{\s*(?:and|or)\s*\})\s*)?\(?[A-H]\)?)+")
SYNONYMS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("dne",): ("does", "not", "exist"),
    ("infty",): ("infinity",),
    ("none",): ("none",),
}
RESIDUE = re.compile(
    r"(?:(\\?[A-Za-z])\s*)?(?:\\equiv|=)?\s*(-?\d+)\s*(?:\\pmod\s*\{|\(\s*\\?(?:bmod|mod|text\s?\{\s*mod\s*\})\s*|\\?(?:bmod|mod)\s*\{?)\s*(\d+)\s*[})]?"
)


def settled_by_form(answer: str, gold: str) -> bool | None:
    """The verdict where the gold answer is a choice, a time, words or a residue; None where it is none of them."""
    for decide in (_same_choice, same_time, _same_words, _same_residue, same_compound):
        if (verdict := decide(answer, gold)) is not None:
            return verdict
    return None


def choice(text: str) -> tuple[str, str]:
    """(letter, text behind it) of a choice, `C`, `(C) 14`, `C: words`; empty for anything else."""
    found = _CHOICE.fullmatch(_TEXT.sub(r"\1", text).replace("\\ ", " ").strip())
    return ((found[1] or found[2]).upper(), (found[3] or "").strip()) if found else ("", "")


def without_choice(text: str) -> str:
    """An answer without the letter of a choice before it."""
    letter, behind = choice(text)
    return behind if letter and behind else text


def _same_choice(answer: str, gold: str) -> bool | None:
    theirs, words_of_gold = choice(gold)
    ours, _ = choice(answer)
    if theirs and ours:
        return ours == theirs
    if theirs and not words_of_gold and not gold.isalpha():
        return False
    if CHOICES.fullmatch(gold) and CHOICES.fullmatch(answer) and re.search(r"[^A-Z]", gold + answer):
        return sorted(set(re.findall("[A-H]", gold))) == sorted(set(re.findall("[A-H]", answer)))
    return None


def _same_words(answer: str, gold: str) -> bool | None:
    if not is_words(gold):
        return None
    ours, theirs = (SYNONYMS.get(found, found) for found in (words(answer), words(gold)))
    return ours == theirs and answer[0] not in "-+"


def is_words(gold: str) -> bool:
    text = _TEXT.fullmatch(gold)
    if text:
        return any(map(str.isalpha, text[1])) and not any(map(str.isdigit, text[1]))
    return bool(_PLAIN.fullmatch(gold))


def _same_residue(answer: str, gold: str) -> bool | None:
    r"""`n \equiv 1 \pmod 4` and `5 \mod 4` are one class."""
    ours, theirs = RESIDUE.fullmatch(answer), RESIDUE.fullmatch(gold)
    if not ours or not theirs or not int(theirs[3]):
        return None
    same_unknown = None in (ours[1], theirs[1]) or ours[1] == theirs[1]
    return same_unknown and ours[3] == theirs[3] and (int(ours[2]) - int(theirs[2])) % int(theirs[3]) == 0
