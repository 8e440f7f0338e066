r"""Answers as people, models and programs write them, as the plain LaTeX that the parser of `grading.worker` reads.

    plain("2√3")                    # 2\sqrt{3}
    plain(r"\boldsymbol{x**2}")     # x^{2}

Nothing here asks what an answer is worth: `plain` changes the writing alone. Each table is (pattern, replacement);
every pattern takes time linear in the text, and a text has at most `LONGEST` characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from manypaths.grading.logic import formula_as_symbol
from manypaths.grading.sets import as_set, closing, conditions_as_sets, split
from manypaths.grading.sides import sides_as_names
from manypaths.grading.signs import without_signs
from manypaths.grading.vectors import cross_products_as_symbols, mark_cross_products

__all__ = ["LONGEST", "as_set", "mathematics", "plain", "readable", "strip", "without_variables_of_derivatives"]

LONGEST = 2000  # characters in a box; an answer longer than that is wrong, unread

Rule = tuple[re.Pattern[str], "str | Callable[[re.Match[str]], str]"]


def _rules(*pairs: tuple[str, str | Callable[[re.Match[str]], str]]) -> tuple[Rule, ...]:
    return tuple((re.compile(pattern), by) for pattern, by in pairs)


def _apply(rules: tuple[Rule, ...], text: str) -> str:
    for pattern, by in rules:
        text = pattern.sub(by, text)
    return text


# Layout

_SIZES = "tiny|scriptsize|footnotesize|small|normalsize|large|Large|LARGE|huge|Huge"
_STYLES = (
    "displaystyle|textstyle|scriptstyle|scriptscriptstyle|limits|nolimits|boldmath|unboldmath|bf|rm|it|sf|tt|bfseries|itshape"
    "|normalfont|centering|left|right|middle|[bB]ig[lrm]?|[bB]igg[lrm]?|relax|strut|mathstrut|allowbreak|nobreak|noindent"
    "|checkmark|blacksquare|square|Box|qed|therefore|because|protect|null|par|newline|hfill|linebreak|smallskip"
)
_WRAPPERS = (
    "boldsymbol|bm|pmb|mathbf|mathsf|mathtt|mathit|mathnormal|mathcal|mathscr|underline|emph|ensuremath|framebox|bold"
    "|underbar|smash|mathop|mathrel|mathord|mathbin|displaylines|uline"
)
_LAYOUT = _rules(
    (r"\\[\[\]()]", " "),  # \[5\] and \(5\); line breaks are gone by then
    (rf"\\(?:{_SIZES})(?![A-Za-z])", " "),
    (r"\\left\s?\.|\\right\s?\.", " "),
    (r"\\(?:left|right|middle|[bB]igg?[lrm]?)\s?(?=[\[\](){}|\\/<>])", ""),
    (rf"\\(?:{_STYLES})(?![A-Za-z])", " "),
    (r"\\(?:textcolor|colorbox)\s?(?:\[\w*\])?\s?\{[^{}]*\}", ""),
    (r"\\fcolorbox\s?\{[^{}]*\}\s?\{[^{}]*\}", ""),
    (r"\\color\s?(?:\[\w*\])?\s?\{[^{}]*\}", ""),
    (r"\\bbox\s?(?:\[[^\[\]]*\])?", ""),
    (r"\\(?:[hv]space|[hv]?phantom|label|tag|vskip|hskip|kern|mkern|rule|color|cite|ref)\*?\s?\{[^{}]*\}", " "),
    (r"\\(?:quad|qquad|enspace|enskip|thinspace|medspace|thickspace)(?![A-Za-z])", "  "),
    (r"[(\[]\s*\\begin\s?\{(?:array|(?:small)?matrix)\}(?:\s?\{[^{}]*\})?", r"\\begin{pmatrix}"),
    (r"\\end\s?\{(?:array|(?:small)?matrix)\}\s*[)\]]", r"\\end{pmatrix}"),
    (r"\\(begin|end)\s?\{(?:[bB]|small)?matrix\}", r"\\\1{pmatrix}"),
    (r"\\begin\s?\{(?:array|tabular)\}\s?\{[^{}]*\}", ""),
    (
        r"\\(?:begin|end)\s?\{(?:aligned|alignedat|align|equation|gather|gathered|split|displaymath|math|center|multline|array"
        r"|tabular|flalign|eqnarray)\*?\}",
        " ",
    ),
    (r"\\(?:l|r)(?=[vV]ert)", "\\\\"),
    (r"\\vert(?![A-Za-z])", "|"),
    (r"\\(?:lbrace|\{)(?![A-Za-z])", r"\\{"),
    (r"\\rbrace(?![A-Za-z])", r"\\}"),
    (r"\\(?:lbrack)(?![A-Za-z])", "["),
    (r"\\(?:rbrack)(?![A-Za-z])", "]"),
    (r"\\(?:langle)(?![A-Za-z])", "("),
    (r"\\(?:rangle)(?![A-Za-z])", ")"),
)
_WRAPPER = re.compile(rf"\\(?:{_WRAPPERS})\s?(?=\{{)")
_LETTERS_OF_VECTORS = re.compile(
    r"\\(?:mathbf|boldsymbol|bm|pmb|hat|vec|overrightarrow)\s?(?:\{\s?\\?([ijk])(?:math)?\s?\}|([ijk])(?![A-Za-z]))"
)
_ARROWS = re.compile(r"\\(?:vec|overrightarrow|widehat)\s?\{([^{}]*)\}|\\vec\s?([A-Za-z])(?![A-Za-z])")
_ALIGNMENT = _rules((r"\\\\\s*&?\s*(?==)", " "), (r"&\s?(?==)", " "))
_GRID = re.compile(r"matrix|cases|[(\[]\s*\\begin\s?\{array")
_SYSTEM = re.compile(  # of equations, as a list of them
    r"(?:\\left\s?\\\{)?\s*\\begin\s?\{cases\}([^{}&<>]*=[^{}&<>]*)\\end\s?\{cases\}\s*(?:\\right\s?\.?)?"
)
_LEADING = _rules(
    (
        r"^\s*(?:so\s+)?(?:[Tt]he\s+)?(?:[Ff]inal\s+|[Cc]orrect\s+)?(?:[Aa]nswer|[Rr]esult|[Vv]alue|[Ss]olution)s?"
        r"\s*(?:\b(?:is|are|equals)\b\s*[:=]?|[:=])\s*(?=\S)",
        "",
    ),
    (r"^\s*\*\*([^*]+)\*\*\s*$", r"\1"),  # of Markdown
    (r"^\s*\\text\s?\{\s*(?:[Tt]he\s+)?(?:[Ff]inal\s+)?[Aa]nswer\s*\}\s*[:=]?\s*(?=\S)", ""),
    (r"^\s*\\text\s?\{[^{}]*(?:\bis|\bare|:|=)\s*\}\s*(?=[^\s.]|\.\d)", ""),
    (r"^\s*\\text\s?\{[^{}]*\}\s*[:=]\s*(?=\S)", ""),
    (
        r"^(?:[\s&]*(?:\\(?:Rightarrow|Longrightarrow|implies|to|approx|therefore|sim|colon)(?![A-Za-z])|=>|->|:=|=|:|~|\\;|\\,|&))+[\s&]*",
        "",
    ),
)


def _layout(text: str) -> str:
    if "\\" not in text:
        return text
    if system := _SYSTEM.fullmatch(text):
        text = system[1]
    text = _apply(_ALIGNMENT, text)
    if not _GRID.search(text):
        text = re.sub(r"\\\\(?:\s?\[[-.\w ]*\])?", ", " if re.search(r"\\\\\s*[^\s\\]", text) else " ", text)
        text = text.replace("&", " ")
    else:
        text = text.replace("\\\\", "\x01")
    text = _apply(_LAYOUT, text)
    text = mark_cross_products(text)
    text = _LETTERS_OF_VECTORS.sub(lambda found: f"\\vec{{{found[1] or found[2]}}}", text)
    text = _WRAPPER.sub("", text)
    text = _ARROWS.sub(
        lambda found: found[0] if (found[1] or found[2]) in ("i", "j", "k") else f" {found[1] or found[2]}", text
    )
    return text.replace("\x01", "\\\\")


# Upright letters and text

_FUNCTIONS = (
    "arcsin|arccos|arctan|arccot|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|lg|exp|max|min|gcd|lcm|deg|det|dim"
)
_UPRIGHT = _rules(
    (r"\\(?:SI|qty)\s?\{([^{}\\]*)\}\s?\{([^{}\\]*)\}", r"\1 \\text{ \2}"),
    (r"\\(?:unit|si)\s?(?=\{)", r" \\text"),
    (r"\\num\s?\{([^{}]*)\}", r"\1"),
    (r"(?<=\d)(?:,\s?\\!\s?|(?<!\\)\\[,;:!])(?=\d{3}(?!\d))", "{,}"),
    (r"(?<!\\)\\[,;:>]", " "),
    (r"(?<!\\)\\!", ""),
    (r"(?<!\\)\\(?=\s)", " "),
    (r"\\(?:text(?:bf|it|sf|tt|sl|sc|rm|up|md|normal)|mbox|hbox)(?=\s?\{)", r"\\text"),
    (r"\\text\s?(?=\{\s*\$?\s*[-+]?\s*(?:\\frac|\\sqrt|\\pi|\d))", ""),
    (r"\\text\s?\{\s*(?:all|the|any)?\s*reals?(?: numbers?)?\s*\}|^all real numbers$", r"\\mathbb{R}"),
    (r"\\(?:text|mathrm|textrm|mbox|operatorname)\s?\{\s*([ied])\s*\}", r"{\1}"),
    (rf"\\(?:text|mathrm|textrm|mbox|operatorname)\*?\s?\{{\s*({_FUNCTIONS})\s*\}}", r"\\\1 "),
    (r"\{\\rm\s+([^{}]*)\}", r"\\mathrm{\1}"),
    (r"\^\s?\{?\s?\\(?:mathrm|text)\s?\{\s?T\s?\}\s?\}?", r"^{T}"),
    (r"\\(?:mathrm|rm)\s([ied])(?![A-Za-z])", r"{\1}"),
    (r"\\mathrm\s?\{C\}_\s?\{?(\d+)\}?\s?\^\s?\{?(\d+)\}?", r"\\binom{\1}{\2}"),
    (r"\\mathrm\s?\{[AP]\}_\s?\{?(\d+)\}?\s?\^\s?\{?(\d+)\}?", r"\\frac{(\1)!}{(\1-\2)!}"),
    (r"\\(?:mathrm|text|textrm|mbox)\s?\{\s*([-+*/^=().,\d\s]*\d[-+*/^=().,\d\s]*)\s*\}", r"{\1}"),
    (r"\\(?:mathrm|text|textrm|mbox)\s?\{\s*\}", ""),
    (
        r"\\frac\s?\{\s*\\(?:text|mathrm)\s?\{([^{}]*)\}\s*\}\s*\{\s*\\(?:text|mathrm)\s?\{([^{}]*)\}\s*\}",
        r"\\text{\1/\2}",
    ),
    (r"_\s?\{\{(\w+)\}\}", r"_{\1}"),
    (r"\{:\}", ":"),
    (r"\\lg(?![A-Za-z])", r"\\log_{10}"),
    (r"\\(?:varnothing|O)(?![A-Za-z])", r"\\emptyset"),
    (r"\\(?:R|Reals|reals)(?![A-Za-z])", r"\\mathbb{R}"),
    (r"\\mathbb\s?([RZNQC])(?![A-Za-z])", r"\\mathbb{\1}"),
    (r"\\mathbb\{R\}\s?(?:\^\s?\{?\s?\+\s?\}?|_\s?\{\s?>\s?0\s?\})", r"(0,\\infty)"),
    (r"\\mathbb\{R\}\s?(?:\^\s?\{?\s?-\s?\}?|_\s?\{\s?<\s?0\s?\})", r"(-\\infty,0)"),
    (r"\\(?:leq|leqslant|leqq)(?![A-Za-z])", r"\\le "),
    (r"\\(?:geq|geqslant|geqq)(?![A-Za-z])", r"\\ge "),
    (r"\\(?:neq|not\s?=)(?![A-Za-z])", r"\\ne "),
    (r"\\(?:lt)(?![A-Za-z])", "<"),
    (r"\\(?:gt)(?![A-Za-z])", ">"),
    (r"\\(?:dotsc|dotsb|dots|cdots)(?![A-Za-z])", r"\\ldots "),
    (r"\\(?:imath)(?![A-Za-z])", "i"),
    (r"\\pmod\s?(\d)(?!\d)", r"\\pmod{\1}"),
)
_UPRIGHT_UNIT = re.compile(r"\\(mathrm|text)\s?\{((?:[^{}^]|\^(?:\s?\{-?\d\})?)*)\}")
_WHOLE_TEXT = re.compile(r"\\(?:text|mathrm|textrm|mbox)\s?\{(?=[^{}]*[\d$\\])")


# What programs print

_PYTHON = _rules(
    (r"(?<=\d)\.(?=\s?[/*+)^-])", ""),
    (r"\b(?:np|numpy|math|sympy|sp|cmath)\.(?=[A-Za-z])", ""),
    (r"\*\*\s?(-?\s?\d+(?![\d.])|[A-Za-z](?![A-Za-z]))", r"^{\1}"),
    (r"\*\*", "^"),
    (r"(?<![A-Za-z\\{])pi(?![A-Za-z])", r"\\pi "),
    (r"(?<![A-Za-z\\])oo(?![A-Za-z])", r"\\infty "),
    (r"^(?:S\.)?EmptySet$", r"\\emptyset"),
    (r"(?<![A-Za-z\\])(?:S\.)?Reals(?![A-Za-z])", r"\\mathbb{R}"),
    (r"(?<![A-Za-z\\])(?:infinity|Infinity|inf)(?![A-Za-z])", r"\\infty "),
    (r"<=", r"\\le "),
    (r">=", r"\\ge "),
    (r"!=|/=", r"\\ne "),
    (r"^\(([^()]+)\)\s?&\s?\(([^()]+)\)$", r"\1 \\text{ and } \2"),
    (r"^\(([^()]+)\)\s?\|\s?\(([^()]+)\)$", r"\1 \\text{ or } \2"),
    (r"==", "="),
    (r"(?<=\d)\s?\*\s?I(?![A-Za-z])|(?<=\d)j(?![A-Za-z])", "i"),
    (r"(?<![A-Za-z\\])I\s?\*\s?(?=[\w(])|(?<=\*)I(?![A-Za-z])", "i"),
    (r"(\d)[eE]([-+]?\d{1,3})(?=\s?[*/+A-Za-z-]|$)", r"\1\\cdot 10^{\2}"),
    (r"(?<![A-Za-z\\])a(sin|cos|tan)h?(?=\s?\()", r"\\arc\1"),
    (rf"(?<![A-Za-z\\])({_FUNCTIONS})(?=\s?\(|\s\\?[A-Za-z0-9])(?!\s?\([^()]*\)\s?=)", r"\\\1"),
    (r"(?<![A-Za-z\\])exp(?=\()", r"\\exp"),
    (r"(?<=\w)\s?\*\s?(?=[\w\\(])|(?<=[)}])\s?\*\s?(?=[\w\\(])", r" \\cdot "),
    (r"(?<![A-Za-z\\])(?:Eq|Rational|Fraction|Integer|Float)(?=\()", r"\\\g<0>"),
)
_CALLS: dict[str, Callable[[str, list[str]], str | None]] = {  # name: how its arguments are written
    "sqrt": lambda inner, _: f"\\sqrt{{{inner}}}",
    "cbrt": lambda inner, _: f"\\sqrt[3]{{{inner}}}",
    "abs": lambda inner, _: f"|{inner}|",
    "Abs": lambda inner, _: f"|{inner}|",
    "factorial": lambda inner, _: f"({inner})!",
    "Rational": lambda _, parts: f"\\frac{{{parts[0]}}}{{{parts[1]}}}" if len(parts) == 2 else parts[0],
    "Fraction": lambda _, parts: f"\\frac{{{parts[0]}}}{{{parts[1]}}}" if len(parts) == 2 else parts[0],
    "Integer": lambda inner, _: inner,
    "Float": lambda inner, _: inner,
    "Matrix": lambda inner, _: inner,
    "array": lambda inner, _: inner,
    "set": lambda inner, _: inner,
    "FiniteSet": lambda inner, _: f"\\{{{inner}\\}}",
    "Eq": lambda inner, parts: "=".join(parts) if len(parts) == 2 else inner,
    "Interval": lambda _, parts: _interval("[", parts, "]"),
    "Interval.open": lambda _, parts: _interval("(", parts, ")"),
    "Interval.Lopen": lambda _, parts: _interval("(", parts, "]"),
    "Interval.Ropen": lambda _, parts: _interval("[", parts, ")"),
    "Union": lambda _, parts: " \\cup ".join(parts),
    "binomial": lambda _, parts: f"\\binom{{{parts[0]}}}{{{parts[1]}}}" if len(parts) == 2 else None,
    "comb": lambda _, parts: f"\\binom{{{parts[0]}}}{{{parts[1]}}}" if len(parts) == 2 else None,
    "C": lambda _, parts: f"\\binom{{{parts[0]}}}{{{parts[1]}}}" if _all_whole(parts) and len(parts) == 2 else None,
}
_CALL = re.compile(rf"(?<![A-Za-z])\\?({'|'.join(map(re.escape, _CALLS))})\s?\(|\^\s?\(")
_NESTED_LISTS = re.compile(r"\[\s*\[([^\[\]]*(?:\]\s*,\s*\[[^\[\]]*)*)\]\s*\]")


def _interval(left: str, parts: list[str], right: str) -> str | None:
    """An interval as sympy prints it: Interval(-oo, 3) is open at its infinite end."""
    if len(parts) != 2:
        return None
    left, right = ("(" if "infty" in parts[0] else left), (")" if "infty" in parts[1] else right)
    return f"{left}{parts[0]},{parts[1]}{right}"


def _all_whole(parts: list[str]) -> bool:
    return all(part.strip().isdigit() for part in parts)


def _calls(text: str) -> str:
    r"""sqrt(x) as \sqrt{x}, x^(1/2) as x^{1/2}, from the last call on, which has none within; at most 50 of them."""
    limit = len(text)
    for _ in range(50):
        calls = list(_CALL.finditer(text, 0, limit))
        if not calls:
            break
        found, limit = calls[-1], calls[-1].start()
        end = closing(text, found.end() - 1)
        inner = text[found.end() : end]
        written = _CALLS[found[1]](inner, split(inner, ",")) if found[1] else f"^{{{inner}}}"
        if end >= 0 and written is not None:
            text = text[:limit] + written + text[end + 1 :]
    return text


def _matrix(found: re.Match[str]) -> str:
    rows = [row.replace(",", " & ") for row in re.split(r"\]\s*,\s*\[", found[1])]
    return "\\begin{pmatrix}" + " \\\\ ".join(rows) + "\\end{pmatrix}"


# Indices, powers, fractions, functions without braces

_BRACES = _rules(
    (r"\{\{([^{}]*)\}\}", r"{\1}"),
    (r"\{(\d{1,3}),(\d{3})(?:,(\d{3}))?\}", r"{\1\2\3}"),
    (r"\\log_\s?10(?!\d)", r"\\log_{10}"),
    (r"\\log_\s?(\d)\s?(\d+)", r"\\log_{\1}{\2}"),
    (r"([_^])\s?(\d+|[A-Za-z](?![A-Za-z]))", r"\1{\2}"),
    (r"\^\s?(-\d+)", r"^{\1}"),
    (r"\\[dt]?binom\s?(\w)\s?(\w)", r"\\binom{\1}{\2}"),
    (r"\\[dt]binom(?![A-Za-z])", r"\\binom"),
    (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
    (r"\\frac\s?(\d)\s?(\d)", r"\\frac{\1}{\2}"),
    (r"\\frac\s(\w)\s(\w)", r"\\frac{\1}{\2}"),
    (r"\\sqrt\s?(\d)", r"\\sqrt{\1}"),
    (r"\\sqrt\s?\[(\w)\]\s?(\d)", r"\\sqrt[\1]{\2}"),
    (r"(?<![\w!.])(\d+|[A-Za-z])!\s?(?=\^)", r"(\1!)"),
    (r"\\sqrt\s?\((\w+)\)", r"\\sqrt{\1}"),
    (r"\\log_\{(\w+)\}\s?(\d+)", r"\\log_{\1}{\2}"),
    (r"\{\s?(\w+)\s?\\choose\s?(\w+)\s?\}", r"\\binom{\1}{\2}"),
    (r"(?:\{\s?\})?[_^]\{(\d+)\}\s?\\?(?:mathrm|text)?\{?C\}?_\{(\d+)\}", r"\\binom{\1}{\2}"),
    (r"(?<![\w}])C_\{(\d+)\}\^\{(\d+)\}", r"\\binom{\1}{\2}"),
    (r"(?<![\w}])(\d+)C(\d+)(?!\w)", r"\\binom{\1}{\2}"),
)
_ANGLE = re.compile(r"(\d+(?:\.\d+)?|\\[a-z]+|[A-Za-z])\s?(?:\^\s?\{\s?\\circ\s?\}|\^\s?\\circ(?![A-Za-z])|\\degree)")
_TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
_DERIVATIVE = re.compile(
    r"\\frac\s?\{\s?(?:d|\\partial)\s?(?:\^\s?\{(\d)\})?\s?(\\[a-z]+|[A-Za-z])\s?(\([A-Za-z,]*\))?\s?\}"
    r"\s?\{\s?(?:d|\\partial)\s?(\\[a-z]+|[A-Za-z])\s?(?:\^\s?\{(\d)\})?\s?\}"
)
_SLASHED = re.compile(r"(?<![A-Za-z\\])d([A-Za-z])\s?/\s?d([A-Za-z])(?![A-Za-z])")
_DOTS = re.compile(r"\\(d{1,3})ot\s?(?:\{\s?(\\?[A-Za-z]+)\s?\}|([A-Za-z]))(?:\s?_\s?\{(\w+)\})?")
_PRIMES = re.compile(
    r"([A-Za-z](?:_\{\w+\})?)\s?(?:\^\{\s?((?:\\prime\s?){1,4})\}|\^\s?(\\prime)(?![A-Za-z])|('{1,4}))"
)
_NAMED_DERIVATIVE = re.compile(r"_\{D(\d)[A-Za-z]+\}")


def _derivatives(text: str) -> str:
    r"""dy/dx as the name y_{D1x}, f' as f_{D1}: the parser makes 0 of the one and f of the other."""
    text = _SLASHED.sub(r"\\frac{d\1}{d\2}", text)
    text = _DERIVATIVE.sub(
        lambda found: (
            f"{found[2]}_{{D{found[1] or 1}{found[4].lstrip(chr(92))}}}{found[3] or ''}"
            if found[1] == found[5]
            else found[0]
        ),
        text,
    )
    text = _DOTS.sub(lambda found: f"{found[2] or found[3]}_{{D{len(found[1])}t{found[4] or ''}}}", text)

    def primes(found: re.Match[str]) -> str:
        count = found[2].count("prime") if found[2] else len(found[4] or "'")
        letter, _, index = found[1].partition("_")
        return f"{letter}_{{D{count}{index and 'S'}{index.strip('{}')}}}"

    return _PRIMES.sub(primes, text) if "'" in text or "prime" in text else text


def without_variables_of_derivatives(text: str) -> str:
    """y_{D1x} as y_{D1}: where the other answer writes y'."""
    return _NAMED_DERIVATIVE.sub(r"_{D\1}", text)


def _angles(text: str) -> str:
    """Degrees in the argument of a trigonometric function are radians; behind a plain number they are a unit."""
    first = _TRIGONOMETRIC.search(text)
    if not first or "circ" not in text:
        return text
    return text[: first.end()] + _ANGLE.sub(r"{\\frac{\1 \\pi}{180}}", text[first.end() :])


def strip(text: str) -> str:
    """Without the dollar signs of mathematics, spaces around, and what ends a line or a sentence."""
    text = re.sub(r"(?<!\\)\$", " ", text).strip()
    end = len(text)
    while end and (text[end - 1] in " ~.,;:&\n\\" or text[max(0, end - 2) : end] == "\\!"):
        end -= 1
    return text[:end].strip()


def _without_braces_of_powers(found: re.Match[str]) -> str:
    r"""`\mathrm{m s^{-1}}` as `\mathrm{m s^-1}`."""
    inner = re.sub(r"\^\s?\{(-?\d)\}", r"^\1", found[2])
    return f"\\{found[1]}{{{inner}}}"


def readable(text: str) -> str:
    """Signs and layout replaced, phrases before it taken away: what words, numbers and units are read from."""
    text = strip(_layout(strip(re.sub(r"\.{3,}", r"\\ldots ", without_signs(text)))))
    text = _UPRIGHT_UNIT.sub(_without_braces_of_powers, _apply(_UPRIGHT, text))
    whole = _WHOLE_TEXT.match(text)
    if whole and closing(text, whole.end() - 1) == len(text) - 1:
        text = text[whole.end() : -1].replace("$", " ")
    text = strip(_apply(_LEADING, text))
    for _ in range(9):
        if not (text.startswith("{") and closing(text, 0) == len(text) - 1):
            break
        text = strip(_apply(_LEADING, strip(text[1:-1])))
    text = re.sub(r"(?<!\\)~", " ", text)
    return strip(re.sub(r"(?<!\d) {2,}| {2,}(?!\d)", " ", text))


def mathematics(text: str) -> str:
    """`readable` text as what the parser understands."""
    text = _apply(_BRACES, text)
    text = _NESTED_LISTS.sub(_matrix, _calls(_apply(_PYTHON, text)))
    text = formula_as_symbol(cross_products_as_symbols(_apply(_BRACES, text)))
    return re.sub(r" {2,}", " ", conditions_as_sets(sides_as_names(_angles(_derivatives(text))))).strip()


def plain(text: str) -> str:
    r"""An answer as plain LaTeX: `2√3` as `2\sqrt{3}`, `x**2` as `x^{2}`, `\large 5` as `5`."""
    return mathematics(readable(text))
