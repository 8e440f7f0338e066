r"""Unicode signs as LaTeX: roots, powers, fractions, Greek letters, operators, full-width brackets, spaces."""

from __future__ import annotations

import re
import unicodedata

_GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ϵ": "varepsilon", "ζ": "zeta", "η": "eta",
    "θ": "theta", "ϑ": "vartheta", "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "µ": "mu", "ν": "nu", "ξ": "xi",
    "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau", "υ": "upsilon", "φ": "varphi", "ϕ": "phi", "χ": "chi", "ψ": "psi",
    "ω": "omega", "Γ": "Gamma", "Δ": "Delta", "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi", "Π": "Pi", "Σ": "Sigma",
    "Υ": "Upsilon", "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega",
}  # fmt: skip
_COMMANDS = {
    "×": "times", "⨯": "times", "✕": "times", "✖": "times", "⋅": "cdot", "·": "cdot", "∙": "cdot", "•": "cdot",
    "∗": "cdot", "÷": "div", "±": "pm", "∓": "mp", "≤": "le", "≦": "le", "⩽": "le", "≥": "ge", "≧": "ge", "⩾": "ge",
    "≠": "ne", "≈": "approx", "≃": "approx", "≅": "cong", "≡": "equiv", "∼": "sim", "∞": "infty", "∈": "in",
    "∉": "notin", "∪": "cup", "⋃": "cup", "∩": "cap", "⋂": "cap", "⊂": "subset", "⊆": "subseteq", "∅": "emptyset",
    "⌀": "emptyset", "∖": "setminus", "→": "to", "⟶": "to", "⇒": "Rightarrow", "⟹": "Rightarrow", "∴": "therefore",
    "∵": "because", "∧": "land", "∨": "lor", "∠": "angle", "∡": "angle", "∥": "parallel", "⊥": "perp",
    "△": "triangle", "∆": "Delta", "∑": "sum", "∏": "prod", "∫": "int", "∂": "partial", "∇": "nabla", "⌊": "lfloor",
    "⌋": "rfloor", "⌈": "lceil", "⌉": "rceil", "⟨": "langle", "⟩": "rangle", "〈": "langle", "〉": "rangle",
    "…": "ldots", "⋯": "ldots", "Ω": "Omega", "✓": "checkmark", "✔": "checkmark", "✅": "checkmark",
    "■": "blacksquare", "□": "blacksquare", "ℓ": "ell",
}  # fmt: skip
_PLAIN_SIGNS = {
    **dict.fromkeys("‐‑‒–—―−﹣－", "-"),
    **dict.fromkeys("⁄∕／", "/"),
    **dict.fromkeys("\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000", " "),
    **dict.fromkeys("\t\n\r", " "),
    **dict.fromkeys("\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff\u00ad\ufe0e\ufe0f", ""),
    **dict.fromkeys("′’‘ʹ´", "'"),
    **dict.fromkeys("″“”", "''"),
    **dict.fromkeys("°˚º∘", "^{\\circ}"),
    **dict.fromkeys("∣｜", "|"),
    **dict.fromkeys("。．｡", "."),
    **dict.fromkeys("、，﹐､", ","),
    **dict.fromkeys("∶︰", ":"),
    **dict.fromkeys("【［", "["),
    **dict.fromkeys("】］", "]"),
    **{"｛": "{", "｝": "}", "⩵": "==", "√": "\\sqrt", "∛": "\\sqrt[3]", "∜": "\\sqrt[4]"},
    **{sign: f"\\mathbb{{{letter}}}" for sign, letter in zip("ℝℤℕℚℂ", "RZNQC", strict=True)},
    **{"ℯ": "e", "ⅇ": "e", "ⅈ": "i", "ⅉ": "j"},
    **{"℃": "^{\\circ}C", "℉": "^{\\circ}F", "㎝": "cm", "㎞": "km", "㎏": "kg", "㎡": "m^2"},
}
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱˣʸᵃᵇᵏᵐᵗ", "0123456789+-=()nixyabkmt", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₒₓₕₖₗₘₙₚₛₜᵢⱼ", "0123456789+-=()aeoxhklmnpstij", strict=True))
_SIGNS: dict[int, str] = {
    **{ord(sign): f"\\{name} " for sign, name in {**_GREEK, **_COMMANDS}.items()},
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},  # full-width forms of ASCII
    **{ord(sign): replacement for sign, replacement in _PLAIN_SIGNS.items()},
    **{0x2460 + index: f"\\textcircled{{{index + 1}}}" for index in range(20)},
}
_RUNS = re.compile(f"([{''.join(_RAISED)}]+)|([{''.join(_LOWERED)}]+)|([¼-¾⅐-⅞↉])|([\U0001d400-\U0001d7ff])")
_IS_ASCII = re.compile(r"[ -~]*").fullmatch
_SIZED_ROOT = re.compile(r"\\sqrt(\[\d\])?\s?(\d+(?:\.\d+)?|[A-Za-z](?![A-Za-z])|\\[A-Za-z]+ ?)(?![A-Za-z{])")


def _latex(match: re.Match[str]) -> str:
    """The LaTeX of a run of superscripts or subscripts, of a fraction, or of a letter of a mathematical alphabet."""
    raised, lowered, fraction, letter = match.groups()
    if raised:
        return "^{" + "".join(_RAISED[sign] for sign in raised) + "}"
    if lowered:
        return "_{" + "".join(_LOWERED[sign] for sign in lowered) + "}"
    if letter:
        return unicodedata.normalize("NFKC", letter)
    top, _, bottom = unicodedata.normalize("NFKC", fraction).partition("⁄")
    return f"\\frac{{{top}}}{{{bottom}}}"


def without_signs(text: str) -> str:
    r"""A text with LaTeX in place of Unicode signs: `2√3` as `2\sqrt{3}`, `x²` as `x^{2}`, `（1，2）` as `(1,2)`.

    Letters of other scripts stay.
    """
    if _IS_ASCII(text):
        return text
    text = _RUNS.sub(_latex, unicodedata.normalize("NFC", text))
    return _SIZED_ROOT.sub(r"\\sqrt\1{\2}", text.translate(_SIGNS))
