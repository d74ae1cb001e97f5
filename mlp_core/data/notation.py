"""How the numbers of one column are written: with thousands, units, decimal commas, as dates, times or durations.

It is decided once, by all different words of the training file, kept with the model, and holds for every further file.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite, nan
from typing import Any, Literal, Self, TypeAlias, get_args

from mlp_core.data.dates import date_number, date_order, time_number
from mlp_core.data.durations import duration_number
from mlp_core.data.readers.csv_options import number

Way: TypeAlias = Literal["number", "date", "time", "duration"]
MOST = 20_000  # different words that are looked at
BLANKS = " \u00a0\u2007\u2009\u202f"
STEPS = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
CODES = {"USD", "EUR", "GBP", "CHF", "JPY", "CNY", "RMB", "INR", "CAD", "AUD", "NZD", "SEK", "NOK", "DKK", "PLN", "BRL"}
WORDS_OF_MONEY = CODES | {"Rs", "Rs.", "kr", "Fr.", "zł", "Kč", "Ft"}
_USUAL = """
    na nan n.a. n/a n.d. nd nil none null missing unknown undefined void nat inf +inf -inf infinity -infinity
    0000-00-00
    #n/a #na #div/0! #value! #ref! #num! #name? #null! (null) <null> <na> \\n - -- --- – — . .. ... * ** ? ?? : #
"""
USUAL = frozenset(_USUAL.split())
"""What people write where a number is missing, in small letters."""

_PARTS = re.compile(
    r"(?P<open>\()?(?P<sign>[+-])?(?P<before>[^\d\s.,'()+-][^\d.,'()+-]{0,4}?)?(?P<later>[+-])?"
    rf"(?P<body>\d[\d.,'{BLANKS}]*|[.,]\d+)(?P<power>[eE][+-]?\d+)?"
    rf"(?:[{BLANKS}]*(?P<after>[^\d\s.,'()+-][^()]{{0,11}}?))?(?P<behind>-)?(?P<close>\))?"
)


@dataclass(frozen=True)
class Notation:
    """How the cells of a column are read as numbers.

    way: numbers, dates (days since 1970-01-01), times or durations (hours). decimal, thousands: signs, "" for none.
    units: what stands before or behind a number, in its spellings. steps: K, M, B, T multiply it. order: of day, month
    and year in dates. missing: words that mean a missing number.

    >>> Notation(thousands=",", units=("$",)).number("$27,366.54")
    27366.54
    """

    way: Way = "number"
    decimal: str = "."
    thousands: str = ""
    units: tuple[str, ...] = ()
    steps: bool = False
    order: str = ""
    missing: tuple[str, ...] = ()

    def number(self, cell: str) -> float | None:
        """What a cell holds: NaN where its word means missing, here or wherever people write so; None where it is no
        number in this notation."""
        if cell in self.missing:
            return nan
        if self.way == "date":
            found = date_number(cell, self.order)
        elif self.way == "time":
            found = time_number(cell)
        elif self.way == "duration":
            found = duration_number(cell)
        else:
            plain = number(cell, self.decimal)
            found = plain if plain is not None else self._taken_apart(cell)
        if found is not None and isfinite(found):
            return found
        return nan if is_usual(cell) else None

    def bare(self, cell: str) -> bool:
        """Whether a cell lacks the unit that all numbers of the training file have (0 needs none, nor does money)."""
        if self.steps or not self.units or all(map(_is_money, self.units)):
            return False
        parts = _parts(cell)
        return parts is not None and not parts[0] and not parts[3] and bool(parts[1].strip("0., "))

    def _taken_apart(self, cell: str) -> float | None:
        parts = _parts(cell)
        if parts is None:
            return None
        before, body, power, after, negative = parts
        step = 1.0
        if self.steps and after in STEPS:
            step, after = STEPS[after], ""
        if any(unit and unit not in self.units for unit in (before, after)) or (before and after):
            return None
        if self.thousands:
            body = _without(body, self.thousands, self.decimal)
        value = number(body + power, self.decimal)
        return None if value is None else (-value if negative else value) * step

    @property
    def plain(self) -> bool:
        """Whether numbers are written as everywhere, but for words that mean missing."""
        return replace(self, missing=()) == Notation(decimal=self.decimal) and self.decimal == "."

    def to_state(self) -> dict[str, Any]:
        """Plain values for a checkpoint: what is not the default."""
        usual = asdict(Notation())
        return {key: value for key, value in asdict(self).items() if value != usual[key]}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The notation of a checkpoint. Raises TypeError, ValueError when it is none."""
        values: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in state.items()}
        made = cls(**values)
        words = (made.decimal, made.thousands, made.order, *made.units, *made.missing)
        if made.way not in get_args(Way) or not all(isinstance(word, str) for word in words):
            raise ValueError("not a notation of numbers")
        return made


def is_usual(cell: str) -> bool:
    """Whether a word means a missing number wherever people write numbers.

    >>> is_usual("Unknown"), is_usual("about 5")
    (True, False)
    """
    return cell.strip().casefold() in USUAL


def find(words: Sequence[str], decimal: str = ".", order: str = "") -> Notation | None:
    """The notation in which all the different words of a column are numbers, dates, times or durations, or None.

    Besides, they may hold usual signs of a missing number, and one other word without digits. decimal: what stands
    before fractions elsewhere in the file, for words such as 1,234. order: of dates, where it is given.
    """
    some = words[:MOST]
    missing, rest = _apart(some)
    if not rest or missing is None or len(rest) <= len(missing):
        return None
    found = _dates(rest, order)
    if found is None and all(time_number(word) is not None for word in rest):
        found = Notation("time")
    if found is None:
        found = _numbers(rest, decimal)
    if found is None and all(duration_number(word) is not None for word in rest):
        found = Notation("duration")
    return None if found is None else replace(found, missing=tuple(missing))


def mostly_dates(words: Sequence[str], order: str = "") -> Notation | None:
    """The notation of a column of which more than half of the words are dates."""
    some = words[:MOST]
    orders = (order,) if order else ("dmy", "mdy")
    best = max(orders, key=lambda one: sum(date_number(word, one) is not None for word in some))
    dates = [word for word in some if date_number(word, best) is not None]
    return _dates(dates, order) if 2 * len(dates) > len(some) else None


def markers(cells: Iterable[str]) -> tuple[str, ...] | None:
    """The words that mean missing among the odd cells of a column of numbers, each given once or twice. None where one
    is a mistake: it has digits, or is no usual sign of a missing number and stands there once, or beside others."""
    cells = [cell.strip() for cell in cells]
    found, rest = _apart(cells)
    if rest or found is None:
        return None
    strange = [word for word in found if not is_usual(word)]
    return None if strange and cells.count(strange[0]) < 2 else tuple(dict.fromkeys(found))


def _apart(words: Sequence[str]) -> tuple[list[str] | None, list[str]]:
    """The words that may mean missing, and those that may be numbers; None for the first if there are too many."""
    missing = [word for word in words if is_usual(word)]
    rest = [word for word in words if not is_usual(word)]
    strange = list(dict.fromkeys(word for word in rest if not any(sign.isdigit() for sign in word)))
    if len(strange) > 1:
        return None, rest
    return missing + strange, [word for word in rest if word not in strange]


def _dates(words: Sequence[str], order: str) -> Notation | None:
    found = date_order(words, order)
    return None if found is None else Notation("date", order=found)


def _numbers(words: Sequence[str], decimal: str) -> Notation | None:
    taken = [_parts(word) for word in words]
    if any(parts is None for parts in taken):
        return None
    every = [parts for parts in taken if parts is not None]
    signs = _signs([body for _, body, _, _, _ in every], decimal)
    units = _units(every)
    if signs is None or units is None:
        return None
    found = Notation("number", *signs, *units)
    return found if all(found.number(word) is not None for word in words) else None


def _units(every: Sequence[tuple[str, str, str, str, bool]]) -> tuple[tuple[str, ...], bool] | None:
    """The spellings of the one unit of all numbers, and whether there are steps behind them."""
    befores, afters = {parts[0] for parts in every}, {parts[3] for parts in every}
    if any(before and not _is_money(before) for before in befores):
        return None
    steps = any(after in STEPS for after in afters if after)
    if steps:
        afters = {after for after in afters if after not in STEPS}
    units = {unit for unit in befores | afters if unit}
    bare = [body for before, body, _, after, _ in every if not before and (not after or (steps and after in STEPS))]
    money = all(map(_is_money, units))
    if units and not money and any(body.strip("0., ") for body in bare):
        return None  # some with, some without a unit: which is the other's?
    if len({unit.casefold().removesuffix("s").removesuffix(".") for unit in units}) > 1:
        return None
    return tuple(sorted(units)), steps


def _is_money(unit: str) -> bool:
    return unit in WORDS_OF_MONEY or any(unicodedata.category(sign) == "Sc" for sign in unit)


def _signs(bodies: Sequence[str], decimal: str) -> tuple[str, str] | None:
    """(decimal sign, sign of thousands) of numbers; None where they contradict each other.

    A sign that comes twice in a number, or before another one, is that of thousands; one that does not stand before
    three digits is that of fractions. `decimal` decides where no number does.
    """
    fractions, thousands, open_ = set[str](), set[str](), set[str]()
    for body in dict.fromkeys(bodies):
        signs = [sign for sign in body if not sign.isdigit()]
        different = list(dict.fromkeys(signs))
        if len(different) > 2 or (len(different) == 2 and signs.count(signs[-1]) > 1):
            return None
        if len(different) == 2:
            thousands.add(different[0])
            fractions.add(different[1])
        elif len(signs) > 1 or (signs and signs[0] not in ".,"):
            thousands.add(signs[0])
        elif signs:
            lead, _, tail = body.partition(signs[0])
            whole = len(tail) == 3 and 0 < len(lead) < 4 and lead[0] != "0"
            (open_ if whole else fractions).add(signs[0])
    thousands = {" " if sign in BLANKS else sign for sign in thousands}
    for sign in sorted(open_ - fractions - thousands):
        other = {".": ",", ",": "."}[sign]
        as_fraction = sign == decimal if not (fractions | thousands) & {".", ","} else other in thousands
        (fractions if as_fraction else thousands).add(sign)
    if len(fractions) > 1 or len(thousands) > 1 or fractions & thousands or not fractions <= {".", ","}:
        return None
    sign = next(iter(thousands), "")
    usual = decimal if decimal != sign else {".": ",", ",": "."}[sign]
    return next(iter(fractions), usual), sign


def _parts(cell: str) -> tuple[str, str, str, str, bool] | None:
    """A number in its parts: what stands before it, its digits, its power of ten, what stands behind, whether it is
    negative."""
    text = cell.strip().strip(BLANKS).replace("\u2212", "-").replace("\u2019", "'")
    text = re.sub(rf"^([(+-]*)[{BLANKS}]*([^\d{BLANKS}]*)[{BLANKS}]+(?=[-+]?[\d.,])", r"\1\2", text)
    found = _PARTS.fullmatch(text)
    if found is None or bool(found["open"]) != bool(found["close"]):
        return None
    body, after = found["body"], (found["after"] or "").strip(BLANKS)
    trimmed = body.rstrip(BLANKS)
    if not trimmed[-1].isdigit():
        return None
    negative = "-" in ((found["sign"] or "") + (found["later"] or "") + (found["behind"] or "")) or bool(found["open"])
    return (found["before"] or "").strip(BLANKS), trimmed, found["power"] or "", after, negative


def _without(body: str, thousands: str, decimal: str) -> str:
    """The digits without the signs of thousands, where these stand before every three digits; else as they are."""
    lead, sign, tail = body.partition(decimal)
    if thousands == " ":
        lead = re.sub(f"[{BLANKS}]", " ", lead)
    groups = lead.split(thousands)
    right = len(groups) > 1 and 0 < len(groups[0]) < 4 and all(len(group) == 3 for group in groups[1:])
    lakhs = len(groups) > 2 and len(groups[0]) < 3 and {*map(len, groups[1:-1])} == {2} and len(groups[-1]) == 3
    right |= lakhs and thousands == ","  # 12,34,567, as in India
    return "".join(groups) + sign + tail if right else body
