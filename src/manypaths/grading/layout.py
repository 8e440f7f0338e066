r"""Answers without layout: one spelling for what people and models write, from which words, numbers and units are read.

    readable("2√3")                          # 2\sqrt{3}
    readable(r"{\large \textbf{18 cm}}.")    # 18 cm

The tables are (pattern, replacement); each pattern takes time linear in the text.
"""

from __future__ import annotations

import re

from manypaths.grading.rules import FUNCTIONS, apply, rules
from manypaths.grading.sets import closing
from manypaths.grading.signs import without_signs
from manypaths.grading.vectors import mark_cross_products

LONGEST = 2000  # characters; a longer answer is wrong and is not read

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
_LAYOUT = rules(
    (r"\\[\[\]()]", " "),  # \[5\] and \(5\); the line breaks \\[5pt] are replaced before
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
_ALIGNMENT = rules((r"\\\\\s*&?\s*(?==)", " "), (r"&\s?(?==)", " "))
_GRID = re.compile(r"matrix|cases|[(\[]\s*\\begin\s?\{array")
_SYSTEM = re.compile(  # of equations, as a list of them
    r"(?:\\left\s?\\\{)?\s*\\begin\s?\{cases\}([^{}&<>]*=[^{}&<>]*)\\end\s?\{cases\}\s*(?:\\right\s?\.?)?"
)
_LEADING = rules(
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


def _without_layout(text: str) -> str:
    """A text without sizes, colours, environments and the like; rows of a list become commas, rows of a matrix stay."""
    if "\\" not in text:
        return text
    if system := _SYSTEM.fullmatch(text):
        text = system[1]
    text = apply(_ALIGNMENT, text)
    if not _GRID.search(text):
        text = re.sub(r"\\\\(?:\s?\[[-.\w ]*\])?", ", " if re.search(r"\\\\\s*[^\s\\]", text) else " ", text)
        text = text.replace("&", " ")
    else:
        text = text.replace("\\\\", "\x01")
    text = apply(_LAYOUT, text)
    text = mark_cross_products(text)
    text = _LETTERS_OF_VECTORS.sub(lambda match: f"\\vec{{{match[1] or match[2]}}}", text)
    text = _WRAPPER.sub("", text)
    text = _ARROWS.sub(
        lambda match: match[0] if (match[1] or match[2]) in ("i", "j", "k") else f" {match[1] or match[2]}", text
    )
    return text.replace("\x01", "\\\\")


# Upright letters and text

_UPRIGHT = rules(
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
    (rf"\\(?:text|mathrm|textrm|mbox|operatorname)\*?\s?\{{\s*({FUNCTIONS})\s*\}}", r"\\\1 "),
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


def strip(text: str) -> str:
    """A text without the dollar signs of mathematics, surrounding spaces, and line ends or punctuation at its end."""
    text = re.sub(r"(?<!\\)\$", " ", text).strip()
    end = len(text)
    while end and (text[end - 1] in " ~.,;:&\n\\" or text[max(0, end - 2) : end] == "\\!"):
        end -= 1
    return text[:end].strip()


def _without_braces_of_powers(match: re.Match[str]) -> str:
    r"""`\mathrm{m s^{-1}}` as `\mathrm{m s^-1}`."""
    inner = re.sub(r"\^\s?\{(-?\d)\}", r"^\1", match[2])
    return f"\\{match[1]}{{{inner}}}"


def readable(text: str) -> str:
    r"""An answer without layout, Unicode signs, upright letters and a phrase such as `The answer is` before it.

    Args:
        text: The content of a box or a gold answer, of at most `LONGEST` characters.

    Returns:
        The text from which words, numbers and units are read, and which `latex.mathematics` takes.
    """
    text = strip(_without_layout(strip(re.sub(r"\.{3,}", r"\\ldots ", without_signs(text)))))
    text = _UPRIGHT_UNIT.sub(_without_braces_of_powers, apply(_UPRIGHT, text))
    whole = _WHOLE_TEXT.match(text)
    if whole and closing(text, whole.end() - 1) == len(text) - 1:
        text = text[whole.end() : -1].replace("$", " ")
    text = strip(apply(_LEADING, text))
    for _ in range(9):
        if not (text.startswith("{") and closing(text, 0) == len(text) - 1):
            break
        text = strip(apply(_LEADING, strip(text[1:-1])))
    text = re.sub(r"(?<!\\)~", " ", text)
    return strip(re.sub(r"(?<!\d) {2,}| {2,}(?!\d)", " ", text))
