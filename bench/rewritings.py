"""The grader's errors on gold answers in another notation, which are right, and with one change, which are wrong.

    python bench/rewritings.py --golds DATA [--limit 0] [--seed 0] [--examples 3]

DATA is a file or a folder of .jsonl or .json files; the gold answers are the texts under `answer`, `solution`,
`final_answer` or `gold`. The default is the gold answers of tests/data. Each gold answer is rewritten in every notation
of `REWRITINGS` that changes its text, and spoilt by every change of `spoilt` that changes its value. A spoilt answer
that is still right is left out, independently of the grader: see `is_still_right`.
"""

import argparse
import cmath
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from manypaths.grading import Grader
from manypaths.grading.golds import final_answer, gold_text

COLUMNS = ("answer", "final_answer", "solution", "gold")
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
IS_NUMBER = re.compile(r"-?\d+(\.\d+)?").fullmatch
IS_SCIENTIFIC = re.compile(r"\d[eE][-+]?\d").search  # 1e5, whose e is no number
IS_MIXED = re.compile(r"\d\s*\\[dt]?frac").search  # 2\frac{1}{2}, which is a sum
IS_PROSE = re.compile(r"[A-Za-z]{4,}(?![^{]*\})").search


def golds_of(path: Path) -> Iterator[str]:
    """The distinct gold answers in a file or a folder."""
    files = sorted(path.glob("*.json*")) if path.is_dir() else [path]
    seen = set()
    for file in files:
        content = file.read_text("utf-8")
        rows = json.loads(content) if content.lstrip().startswith("[") else map(json.loads, content.split("\n")[:-1])
        for row in rows:
            value = next((row[column] for column in COLUMNS if row.get(column) is not None), None)
            text = None if value is None else gold_text(value)
            gold = final_answer(text) if text else ""
            gold = re.sub(r"(?<!\\)\$", "", gold).strip()
            if gold and gold not in seen:
                seen.add(gold)
                yield gold


def unless(condition: bool, text: str) -> str | None:
    return None if condition else text


def has_spaced_comma(gold: str) -> bool:
    """Whether a comma is part of a command, `\\,`, or of a number, `10,\\!080`."""
    return "\\," in gold or ",\\!" in gold


def in_python(gold: str) -> str | None:
    """The answer as Python prints it, if it consists of letters, numbers, roots, powers and arithmetic."""
    if IS_SCIENTIFIC(gold) or IS_MIXED(gold):
        return None
    text = re.sub(r"\\[dt]?frac\{(\d+)\}\{(\d+)\}", r"(\1/\2)", gold.replace("\\left", "").replace("\\right", ""))
    text = re.sub(r"\\sqrt\{(\w+)\}", r"sqrt(\1)", text).replace("\\pi", "pi").replace("\\cdot", "*")
    text = re.sub(r"\^\{(-?\w+)\}|\^(\w)", r"**(\1\2)", text)
    text = re.sub(r"(?<=[\d)])\s*(?=[a-z(])|(?<=pi)\s*(?=sqrt)", "*", text)
    return None if re.search(r"\\|[{}]|[a-z]{2,}(?<!pi)(?<!sqrt)|,", text) else text


REWRITINGS: dict[str, Callable[[str], str | None]] = {
    "display brackets": lambda gold: f"\\[ {gold} \\]",
    "inline brackets": lambda gold: f"\\( {gold} \\)",
    "dollars": lambda gold: f"${gold}$",
    "Unicode root": lambda gold: re.sub(r"\\sqrt\{(\w+)\}", r"√(\1)", gold),
    "Unicode root, bare": lambda gold: re.sub(r"\\sqrt\{(\d+)\}(?!\d)", r"√\1", gold),
    "Unicode power": lambda gold: re.sub(
        r"\^(?:\{(\d+)\}|(\d))", lambda match: (match[1] or match[2]).translate(SUPERSCRIPTS), gold
    ),
    "Unicode fraction": lambda gold: re.sub(r"\\frac\{1\}\{2\}", "½", gold),
    "Unicode minus": lambda gold: gold.replace("-", "\u2212"),
    "en dash": lambda gold: gold.replace("-", "–"),
    "Unicode signs": lambda gold: re.sub(r"\\pi(?![a-z]) ?", "π", gold.replace("\\cdot", "·").replace("\\infty", "∞")),
    "Unicode union": lambda gold: gold.replace("\\cup", "∪"),
    "degree sign": lambda gold: re.sub(r"\^\{?\\circ\}?", "°", gold),
    "full width": lambda gold: gold.replace("(", "（").replace(")", "）").replace(",", "，"),
    "no-break spaces": lambda gold: f"\u00a0{gold}\u200b",
    "Python": in_python,
    "dfrac": lambda gold: gold.replace("\\frac", "\\dfrac"),
    "tfrac": lambda gold: gold.replace("\\frac", "\\tfrac"),
    "slash": lambda gold: re.sub(r"^\\[dt]?frac\{(-?\w+)\}\{(\w)\}$", r"\1/\2", gold),
    "left right": lambda gold: unless("\\left" in gold, gold.replace("(", "\\left(").replace(")", "\\right)")),
    "no left right": lambda gold: gold.replace("\\left", "").replace("\\right", ""),
    "text": lambda gold: unless(not IS_NUMBER(gold), f"\\text{{{gold}}}"),
    "text before": lambda gold: unless(bool(IS_PROSE(gold)), f"\\text{{The answer is }} {gold}"),
    "no text": lambda gold: re.sub(r"^\\text\{([^{}]*)\}$", r"\1", gold),
    "displaystyle": lambda gold: f"\\displaystyle {gold}",
    "large": lambda gold: f"{{\\large {gold}}}",
    "boldsymbol": lambda gold: f"\\boldsymbol{{{gold}}}",
    "mathbf": lambda gold: f"\\mathbf{{{gold}}}",
    "colour": lambda gold: f"\\color{{red}}{{{gold}}}",
    "aligned": lambda gold: unless("\\\\" in gold, f"\\begin{{aligned}} {gold} \\end{{aligned}}"),
    "period": lambda gold: f"{gold}.",
    "line break": lambda gold: f"{gold} \\\\",
    "tilde": lambda gold: f"~{gold}~",
    "equals": lambda gold: unless("=" in gold, f"= {gold}"),
    "name before": lambda gold: unless(
        bool(re.search(r"=|,|<|>|\\le|\\ge|\\text|[A-Za-z]{3}|_|:|z", gold)), f"z = {gold}"
    ),
    "upright i and e": lambda gold: unless(
        bool(IS_SCIENTIFIC(gold)), re.sub(r"(?<![A-Za-z\\{])([ie])(?![A-Za-z])", r"\\mathrm{\1}", gold)
    ),
    "spaces": lambda gold: unless(
        bool(IS_SCIENTIFIC(gold)) or has_spaced_comma(gold),
        re.sub(r"([-+,=()])", r" \1 ", gold) if "\\" not in gold else re.sub(r"([+,=])", r" \1 ", gold),
    ),
    "thin spaces": lambda gold: unless(has_spaced_comma(gold), re.sub(r"([+=,])", r"\\,\1\\;", gold)),
    "no spaces": lambda gold: re.sub(r"(?<![A-Za-z]) | (?![A-Za-z])", "", gold) if "text" not in gold else None,
    "braces": lambda gold: re.sub(r"\^(\w)(?!\w)", r"^{\1}", gold),
    "no braces": lambda gold: re.sub(r"([\^_])\{(\w)\}", r"\1\2", gold),
    "unit": lambda gold: unless(not IS_NUMBER(gold), f"{gold} \\text{{ apples}}"),
    "unit, bare": lambda gold: unless(not IS_NUMBER(gold), f"{gold} apples"),
    "thousands": lambda gold: re.sub(r"^(\d{1,3})(\d{3})$", r"\1{,}\2", gold),
    "interval as inequality": lambda gold: re.sub(r"^\[(-?\d+), ?(-?\d+)\)$", r"\1 \\le x < \2", gold),
    "set-builder": lambda gold: re.sub(r"^\((-?\d+), ?\\infty\)$", r"\\{x \\mid x > \1\\}", gold),
    "set in braces": lambda gold: unless(
        not re.fullmatch(r"-?\d+(, ?-?\d+)+", gold) or len(set(re.findall(r"-?\d+", gold))) <= gold.count(","),
        f"\\{{{gold}\\}}",
    ),
    "and": lambda gold: re.sub(r"^(-?\d+), ?(-?\d+)$", r"\1 \\text{ and } \2", gold),
    "choice with text": lambda gold: unless(
        not re.fullmatch(r"\(?[A-E]\)?|\\text\{\(?[A-E]\)?\}", gold), f"{gold}. words"
    ),
}


def spoilt(gold: str, chance: random.Random) -> Iterator[tuple[str, str]]:
    """(kind, text) of a gold answer with one change that should make it wrong."""
    gold = re.sub(r"(\\[dtc]?frac)(\d)(\d)", r"\1{\2}{\3}", gold)  # a digit more in \frac23 would be a factor
    digits = [match.start() for match in re.finditer(r"\d", gold)]
    if digits:
        place = chance.choice(digits)
        yield "digit", gold[:place] + str((int(gold[place]) + chance.randrange(1, 10)) % 10) + gold[place + 1 :]
        yield "digit more", gold[:place] + str(chance.randrange(1, 10)) + gold[place:]
    named = re.match(r"[^=<>]*(?:=|\\in(?![a-z])|∈)", gold)  # the name of a value, which may be left out
    yield "sign", gold[1:] if gold.startswith("-") else f"-{gold}"
    for kind, pattern, by in (
        ("plus and minus", r"(?<=[\w}) ])\+", "-"),
        ("minus and plus", r"(?<=[\w}) ])-", "+"),
        ("bracket", r"^\[(?!-?\\infty)", "("),
        ("bracket", r"^\((?!-?\\infty)(?=.*,)", "["),
        ("bracket", r"(?<!\\infty)\]$", ")"),
        ("numerator and denominator", r"\\([dt]?)frac\{([^{}]*)\}\{([^{}]*)\}", r"\\\1frac{\3}{\2}"),
        ("an element less", r"^([(\[]?)[^,()\[\]{}]+,", r"\1"),
        ("no root", r"\\sqrt\{([^{}]*)\}", r"\1"),
        ("order", r"^\(([^,()]+),([^,()]+)\)$", r"(\2,\1)"),
        ("relation", r"<|\\le(?![a-z])", ">"),
        ("unknown", r"(?<![A-Za-z\\])x(?![A-Za-z])", "w"),
        ("power", r"\^2", "^3"),
    ):
        changed = re.sub(pattern, by, gold, count=1)
        if changed != gold and not (kind == "unknown" and named):
            yield kind, changed
    behind = named.end() if named else 0
    letters = [match.start() for match in re.finditer(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z{])", gold)]
    letters = [place for place in letters if place >= behind]
    if letters and not re.search(r"text|[A-Za-z]{5}(?!\{)", gold):
        place = chance.choice(letters)
        yield "case", gold[:place] + gold[place].swapcase() + gold[place + 1 :]


READINGS = (  # LaTeX as arithmetic that sympy's own parser reads
    (r"\\left|\\right|\\[,;! ]|\\displaystyle", ""),
    (r"\\(?:[dt]?binom\{(\d+)\}|mathrm\{C\}_\{(\d+)\}\^)\{(\d+)\}", r"binomial(\1\2,\3)"),
    (r"\\[dtc]?frac(\d)(\d)", r"((\1)/(\2))"),
    (r"\\[dtc]?frac\{([^{}]*)\}\{([^{}]*)\}", r"((\1)/(\2))"),
    (r"\\sqrt\{([^{}]*)\}", r"sqrt(\1)"),
    (r"\\sqrt(\d)", r"sqrt(\1)"),
    (r"\\[dtc]?frac\{([^{}]*)\}\{([^{}]*)\}", r"((\1)/(\2))"),
    (r"\\pi", " pi "),
    (r"\\cdot|\\times", "*"),
    (r"(?<=\*)\s*I(?![A-Za-z])|(?<![A-Za-z])I(?=\s*\*)", "i"),  # Python's imaginary unit
    (r"\^\{([^{}]*)\}", r"**(\1)"),
    (r"\^", "**"),
    (r"\^?\{?\\circ\}?|\\%|\\\$", ""),
)


def values(text: str) -> list[complex] | None:
    r"""The numbers of a list at fixed values of its letters, two for `\pm`; None for any other text."""
    from sympy import I, Symbol
    from sympy.parsing.sympy_parser import implicit_multiplication, parse_expr, standard_transformations

    for pattern, by in READINGS:
        text = re.sub(pattern, by, text)
    names = "|".join(("pi", "sqrt", "binomial"))
    if re.search(rf"\\(?!pm)|[{{}}=<>:_\[\]]|(?<![A-Za-z\\])(?!(?:{names}|pm)\b)[A-Za-z]{{2,}}", text):
        return None
    if text.count("**") > 6 or len(text) > 120:
        return None
    letters = [letter for letter in map(chr, range(65, 123)) if letter.isalpha() and letter != "i"]
    symbols = {letter: Symbol(letter) for letter in letters}
    points = {symbol: 0.3 + 0.17 * index for index, symbol in enumerate(symbols.values())}
    transformations = (*standard_transformations, implicit_multiplication)
    numbers: list[complex] = []
    is_ordered = False
    try:
        for part in re.split(r",(?![^()]*\))", text):
            for sign in "+-" if "\\pm" in part else "+":
                parsed = parse_expr(part.replace("\\pm", sign), {**symbols, "i": I}, transformations)
                is_ordered |= isinstance(parsed, tuple)
                of_part = parsed if isinstance(parsed, tuple) else (parsed,)
                numbers += [complex(expression.subs(points).evalf()) for expression in of_part]
    except Exception:
        return None
    return numbers if is_ordered else sorted(numbers, key=lambda number: (round(number.real, 9), round(number.imag, 9)))


def same_values(text: str, gold: str) -> bool:
    left, right = values(text), values(gold)
    if left is None or right is None or len(left) != len(right):
        return False
    return all(cmath.isclose(*pair, rel_tol=1e-9, abs_tol=1e-12) for pair in zip(left, right, strict=True))


def members(text: str) -> Callable[[float], bool] | None:
    """A test for membership in a union of intervals with whole ends; None for any other text."""
    text = re.sub(r"\s|\\left|\\right", "", text).replace("−", "-").replace("∪", "\\cup").replace("∞", "\\infty")
    intervals = [re.fullmatch(r"([\[(])(-?\d+|-\\infty),(-?\d+|\\infty)([\])])", part) for part in text.split("\\cup")]
    if not all(intervals):
        return None
    ends = [
        (match[1] == "[", *(float(end.replace("\\infty", "inf")) for end in match.group(2, 3)), match[4] == "]")
        for match in intervals
        if match
    ]

    def has(number: float) -> bool:
        return any(
            low < number < high or (closed_low and number == low) or (closed_high and number == high)
            for closed_low, low, high, closed_high in ends
        )

    return has


def same_members(text: str, gold: str) -> bool:
    left, right = members(text), members(gold)
    if left is None or right is None:
        return False
    if not ("\\cup" in text or "∪" in text) and "inf" not in text and "∞" not in text:
        return False  # (1,2) may be a pair, and (2,1) is no empty set
    ends = [float(end) for end in re.findall(r"\d+", text + gold)]
    samples = [sign * (end + step) for end in ends for step in (-0.5, 0.0, 0.5) for sign in (1, -1)]
    return all(left(number) == right(number) for number in [*samples, 1e9, -1e9])


CHOICE = re.compile(r"(?:\\text(?:bf)?)?\(?([A-Ja-j])(?:[).:].*)?", re.DOTALL)
NAME = re.compile(
    r"[A-Za-z](?:_\w|_\{\w+\})?(?:\([^()=]*\))?(?==(?:[A-Za-z]=)*(?:[^A-Za-z,\\]|\\[A-Za-z]+)+(?:,|$))"
)  # before a value without letters


def same_choice(text: str, gold: str) -> bool:
    left, right = CHOICE.fullmatch(squeezed(text)), CHOICE.fullmatch(squeezed(gold))
    is_marked = re.search(r"[).:]", gold) is not None
    return bool(is_marked and left and right and left[1].upper() == right[1].upper())


def same_but_for_names(text: str, gold: str) -> bool:
    left, right = (NAME.sub(lambda match: match[0].lower(), squeezed(side)) for side in (text, gold))
    return left == right


def is_still_right(text: str, gold: str) -> bool:
    """Whether a change kept the value, or changed something that the policy of `manypaths.grading` ignores."""
    return (
        squeezed(text) == squeezed(gold)  # spaces and braces, and digits before an ellipsis: 0.333... is 0.3333...
        or same_values(text, gold)  # 2/4 for 1/2, -\pm 3 for \pm 3, Python's I for i, C(5,3) for C(5,2)
        or same_members(text, gold)  # (0,9) \cup [1,36) is (0,9) \cup (1,36); no interval is closed at infinity
        or same_choice(text, gold)  # policy: of a choice the letter counts, in either case
        or same_but_for_names(text, gold)  # policy: of name = value the value counts, V = 5 is v = 5
    )


def squeezed(text: str) -> str:
    text = re.sub(r"\s|\\ |\\left|\\right|\\[,;!]|[{}]", "", text)
    return re.sub(r"(\d)\1{2,}(?=\\ldots|\\dots|\.{3}|…)", r"\1\1\1", text)


def show(title: str, counts: Counter[str], bad: dict[str, list[tuple[str, str]]], examples: int) -> None:
    total, wrong = sum(counts.values()), sum(map(len, bad.values()))
    print(f"\n{title}: {wrong} of {total}, {wrong / max(total, 1):.2%}")
    for kind, pairs in sorted(bad.items(), key=lambda item: -len(item[1])):
        print(f"  {kind}: {len(pairs)} of {counts[kind]}")
        for text, gold in pairs[:examples]:
            print(f"      {text[:90]!r} | {gold[:90]!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--golds", type=Path, default=Path(__file__).parent.parent / "tests/data/grading_cases.jsonl")
    parser.add_argument("--limit", type=int, default=0, help="number of gold answers, drawn at random; 0 takes all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--examples", type=int, default=3)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    golds = list(golds_of(options.golds))
    with Grader() as grader:
        golds = [gold for gold in golds if grader.gold_problem(gold) is None]
        golds = chance.sample(golds, options.limit) if 0 < options.limit < len(golds) else golds
        print(f"{len(golds)} different gold answers that can be graded")
        for title, pairs, expected in (
            ("rewritten, called wrong", list(rewritten(golds)), True),
            ("spoilt, called right", list(changed_golds(golds, chance)), False),
        ):
            counts = Counter(kind for kind, _, _ in pairs)
            verdicts = grader.grade([f"\\boxed{{{text}}}" for _, text, _ in pairs], [gold for _, _, gold in pairs])
            bad: dict[str, list[tuple[str, str]]] = defaultdict(list)
            for (kind, text, gold), verdict in zip(pairs, verdicts, strict=True):
                if verdict is not expected:
                    bad[kind].append((text, gold))
            show(title, counts, bad, options.examples)
        print(f"\n{grader.timed_out} out of time")


def rewritten(golds: list[str]) -> Iterator[tuple[str, str, str]]:
    for gold in golds:
        for kind, rewrite in REWRITINGS.items():
            text = rewrite(gold)
            if text is not None and text != gold:
                yield kind, text, gold


def changed_golds(golds: list[str], chance: random.Random) -> Iterator[tuple[str, str, str]]:
    for gold in golds:
        for kind, text in spoilt(gold, chance):
            if not is_still_right(text, gold):
                yield kind, text, gold


if __name__ == "__main__":
    main()
