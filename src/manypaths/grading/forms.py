"""Answers that are not mathematics: choices (`(C) 14`), words (`no solution`) and residue classes (`1 mod 4`)."""

from __future__ import annotations

import re

from manypaths.grading.times import same_compound, same_time
from manypaths.grading.units import words

_PLAIN_WORDS = re.compile(
    r"yes|no(?: [a-z]+)?|odd|even|(?=.{0,99}[a-z]{4})[a-z' -]+|[\u3040-\u9fff\uac00-\ud7a3]+", re.IGNORECASE
)
_TEXT = re.compile(r"\\(?:text|mathrm|operatorname)\s{0,9}\{([^{}]*)\}")
_CHOICE = re.compile(
    r"(?:(?i:option|choice|answer)\s*:?\s*)?(?:\(\s?([A-Ja-j])\s?\)|([A-J])(?=[).:]|$))[).:]*[\s\\]*(?:(?<=[\s\\).:])(.+))?",
    re.DOTALL,
)
_SEVERAL_CHOICES = re.compile(r"\(?[A-H]\)?(?:\s*(?:(?:,|;|&|and|or|\\text\s?\{\s*(?:and|or)\s*\})\s*)?\(?[A-H]\)?)+")
_SYNONYMS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("dne",): ("does", "not", "exist"),
    ("infty",): ("infinity",),
    ("none",): ("none",),
}
_RESIDUE = re.compile(
    r"(?:(\\?[A-Za-z])\s*)?(?:\\equiv|=)?\s*(-?\d+)\s*(?:\\pmod\s*\{|\(\s*\\?(?:bmod|mod|text\s?\{\s*mod\s*\})\s*|\\?(?:bmod|mod)\s*\{?)\s*(\d+)\s*[})]?"
)


def settled_by_form(answer: str, gold: str) -> bool | None:
    """The verdict if the gold answer is a choice, a time, words, a residue class or an amount in two units."""
    for decide in (_same_choice, same_time, _same_words, _same_residue, same_compound):
        if (verdict := decide(answer, gold)) is not None:
            return verdict
    return None


def choice(text: str) -> tuple[str, str]:
    """(letter, text behind it) of a choice: `C`, `(C) 14`, `C: words`; two empty texts for any other answer."""
    match = _CHOICE.fullmatch(_TEXT.sub(r"\1", text).replace("\\ ", " ").strip())
    return ((match[1] or match[2]).upper(), (match[3] or "").strip()) if match else ("", "")


def without_choice(text: str) -> str:
    """An answer without the letter of a choice before it."""
    letter, behind = choice(text)
    return behind if letter and behind else text


def is_words(text: str) -> bool:
    """Whether a gold answer consists of words, which are compared without case and punctuation."""
    upright = _TEXT.fullmatch(text)
    if upright:
        return any(map(str.isalpha, upright[1])) and not any(map(str.isdigit, upright[1]))
    return bool(_PLAIN_WORDS.fullmatch(text))


def words_of(text: str) -> tuple[str, ...]:
    """The words of an answer in lower case, with one spelling for synonyms."""
    return _SYNONYMS.get(words(text), words(text))


def needs_its_gold(text: str) -> bool:
    """Whether the text may be a form that only a comparison with a gold answer of the same form interprets."""
    return bool(choice(text)[0] or is_words(text) or _SEVERAL_CHOICES.fullmatch(text) or _RESIDUE.fullmatch(text))


def _same_choice(answer: str, gold: str) -> bool | None:
    gold_letter, behind_gold = choice(gold)
    answer_letter, _ = choice(answer)
    if gold_letter and answer_letter:
        return answer_letter == gold_letter
    if gold_letter and not behind_gold and not gold.isalpha():
        return False
    if _SEVERAL_CHOICES.fullmatch(gold) and _SEVERAL_CHOICES.fullmatch(answer) and re.search(r"[^A-Z]", gold + answer):
        return sorted(set(re.findall("[A-H]", gold))) == sorted(set(re.findall("[A-H]", answer)))
    return None


def _same_words(answer: str, gold: str) -> bool | None:
    if not is_words(gold):
        return None
    return words_of(answer) == words_of(gold) and answer[0] not in "-+"


def _same_residue(answer: str, gold: str) -> bool | None:
    r"""Whether `n \equiv 1 \pmod 4` and `5 \mod 4` are one residue class; None unless both are residue classes."""
    left, right = _RESIDUE.fullmatch(answer), _RESIDUE.fullmatch(gold)
    if not left or not right or not int(right[3]):
        return None
    same_unknown = None in (left[1], right[1]) or left[1] == right[1]
    return same_unknown and left[3] == right[3] and (int(left[2]) - int(right[2])) % int(right[3]) == 0
