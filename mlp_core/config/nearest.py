"""How to mend a value: what a person who wrote this most likely meant."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable

from mlp_core.config.nodes import Scalar

_LONGEST = 64
_DECIMAL = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", re.ASCII)


def nearest(text: str, words: Iterable[str], cutoff: float | None = None) -> str | None:
    """The word most like the text, ignoring case; None if none is near."""
    if len(text) > _LONGEST:
        return None
    lower = {word.lower(): word for word in words}
    # A single wrong letter in a word of two, such as `lr`, leaves a similarity of one half.
    found = difflib.get_close_matches(text.lower(), lower, n=1, cutoff=cutoff or (0.5 if len(text) < 4 else 0.6))
    return lower[found[0]] if found else None


def question(text: str, words: Iterable[str], cutoff: float | None = None) -> str | None:
    """Whether the word most like the text was meant, as a hint asks it; None if none is near."""
    near = nearest(text, words, cutoff)
    return f'did you mean "{near}"?' if near else None


def mend(scalar: Scalar, *, whole: bool, null: bool) -> str | None:
    """What to write in place of a scalar that was meant as a number; None if it is not near to one."""
    text = scalar.text.strip()
    if len(text) > _LONGEST:
        return None
    if not scalar.plain:
        return "remove the quotes" if _DECIMAL.fullmatch(text) else None
    if text.lower().lstrip("+-.") in ("nan", "inf", "infinity"):
        return "write a finite number" + (", or null to leave it off" if null else "")
    if re.fullmatch(r"[-+]?[0-9]+(:[0-9]+)+(\.[0-9]*)?", text, re.ASCII):
        return "write one plain number, without colons"
    if re.fullmatch(r"[-+]?0([xX][0-9a-fA-F]+|o[0-7]+|b[01]+)", text, re.ASCII):
        return f"write {int(text, 0)}"
    if "_" in text and _DECIMAL.fullmatch(text.replace("_", "")):
        return f"write {text.replace('_', '')}, without underscores"
    if text.count(",") == 1 and _DECIMAL.fullmatch(text.replace(",", ".")):
        return f"write {text.replace(',', '.')}, with a decimal point"
    if text.endswith("%") and _DECIMAL.fullmatch(text[:-1]) and not whole:
        return f"write {float(text[:-1]) / 100:.15g}"
    if _DECIMAL.fullmatch(text):
        return _rewritten(text, whole)
    return None


def _rewritten(text: str, whole: bool) -> str | None:
    """A decimal number in the form the config reads: no leading zeros, integers without point and power."""
    number = float(text)
    if not math.isfinite(number):
        return "write a number below 1e308 in size"
    bare = re.sub(r"^([-+]?)0+(?=[0-9])", r"\1", text)
    if bare != text and (not whole or bare.lstrip("+-").isdecimal()):
        return f"write {bare}, without leading zeros"
    if whole and number.is_integer() and abs(number) < 2**53:
        return f"write {int(number)}"
    return None
