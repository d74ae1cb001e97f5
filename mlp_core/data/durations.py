"""Durations as hours: `1h 30m`, `2 days 04:00:00`, `PT1H30M`, `120:15:00`."""

from __future__ import annotations

import re
from itertools import pairwise

DAY, MONTH, YEAR = 24.0, 24 * 365.2425 / 12, 24 * 365.2425
_UNITS = {
    "ms msec millisecond milliseconds": 1 / 3_600_000,
    "s sec secs second seconds": 1 / 3600,
    "m min mins minute minutes": 1 / 60,
    "h hr hrs hour hours": 1.0,
    "d day days": DAY,
    "w wk wks week weeks": 7 * DAY,
    "mo mos mon mons mth mths month months": MONTH,
    "y yr yrs year years": YEAR,
}
HOURS = {name: hours for names, hours in _UNITS.items() for name in names.split()}
"""How long a unit of time is, by its names."""

_NUMBER = r"\d+(?:[.,]\d+)?"
_PART = re.compile(rf"({_NUMBER})\s*([a-z]+)\.?")
_PARTS = re.compile(rf"{_PART.pattern}(?:(?:\s*,\s*|\s+and\s+|\s*){_PART.pattern})*", re.ASCII)
_CLOCK = re.compile(
    r"(?:(?P<days>[-+]?\d+) days?,? ?)?(?P<sign>[-+])?(?P<hours>\d{1,6}):(?P<minutes>\d{2})"
    r"(?::(?P<seconds>\d{2}(?:[.,]\d+)?))?",
    re.ASCII,
)
_ISO = re.compile(
    rf"P(?:(?P<Y>{_NUMBER})Y)?(?:(?P<M>{_NUMBER})M)?(?:(?P<W>{_NUMBER})W)?(?:(?P<D>{_NUMBER})D)?"
    rf"(?:T(?:(?P<h>{_NUMBER})H)?(?:(?P<m>{_NUMBER})M)?(?:(?P<s>{_NUMBER})S)?)?",
    re.ASCII,
)
_OF_ISO = {"Y": YEAR, "M": MONTH, "W": 7 * DAY, "D": DAY, "h": 1.0, "m": 1 / 60, "s": 1 / 3600}


def duration_number(text: str) -> float | None:
    """The hours of a duration; None for what is none. A month is the twelfth part of 365.2425 days.

    >>> duration_number("1h 30m"), duration_number("1 days 02:00:00"), duration_number("-PT45M")
    (1.5, 26.0, -0.75)
    """
    text = text.strip()
    negative = text[:1] == "-"
    bare = text[1:].lstrip() if negative else text
    if found := _ISO.fullmatch(bare):
        parts = {name: value for name, value in found.groupdict().items() if value is not None}
        hours = sum(_value(value) * _OF_ISO[name] for name, value in parts.items()) if parts else None
    elif (found := _CLOCK.fullmatch(text)) and int(found["minutes"]) < 60:
        hours = int(found["hours"]) + int(found["minutes"]) / 60 + _value(found["seconds"] or "0") / 3600
        return DAY * int(found["days"] or 0) + (-hours if found["sign"] == "-" else hours)
    else:
        hours = _spelled(bare.lower() if bare[-2:-1].islower() or " " in bare else bare)
    return None if hours is None else -hours if negative else hours


def _spelled(text: str) -> float | None:
    """The hours of `1 day 2 hours`: every unit at most once, the longer first."""
    if not _PARTS.fullmatch(text):
        return None
    parts = _PART.findall(text)
    lengths = [HOURS.get(unit, 0.0) for _, unit in parts]
    if 0.0 in lengths or any(later >= earlier for earlier, later in pairwise(lengths)):
        return None
    return sum(_value(value) * length for (value, _), length in zip(parts, lengths, strict=True))


def _value(digits: str) -> float:
    return float(digits.replace(",", "."))
