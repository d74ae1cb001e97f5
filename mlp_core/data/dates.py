"""Dates and times of day as numbers: days since 1970-01-01, and hours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date

ORDERS = ("ymd", "dmy", "mdy")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FULL = "january february march april may june july august september october november december"
FULL = tuple(_FULL.split())
EPOCH = date(1970, 1, 1).toordinal()

_TIME = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}(?:[.,]\d{1,9})?))?\s*(?P<half>[AaPp]\.?[Mm]\.?)?"
    r"\s*(?P<zone>Z|UTC|GMT|[-+]\d{2}:?\d{2})?"
)
_MONTH = r"(?P<{}>[A-Za-z]{{3,9}})\.?"
DATE = re.compile(
    r"(?:[A-Za-z]{3,9},?\s+)??"
    r"(?:(?P<y1>\d{4})(?P<s1>[-/.])(?P<m1>\d{1,2})(?P=s1)(?P<d1>\d{1,2})"
    r"|(?P<a>\d{1,2})(?P<s2>[-/.])(?P<b>\d{1,2})(?P=s2)(?P<y2>\d{4}|\d{2})"
    r"|(?P<d3>\d{1,2})(?:st|nd|rd|th)?[-\s]+" + _MONTH.format("n3") + r"[-,\s]+(?P<y3>\d{4}|\d{2})"
    r"|" + _MONTH.format("n4") + r"[-\s]+(?P<d4>\d{1,2})(?:st|nd|rd|th)?,?\s+(?P<y4>\d{4})"
    r"|(?P<y5>\d{4})[-/](?P<m5>\d{2})"
    r"|(?P<y7>(?:19|20)\d{2})(?P<m7>\d{2})(?P<d7>\d{2})"
    r"|" + _MONTH.format("n6") + r"[-,\s]+(?P<y6>\d{4}))"
    r"(?:(?:T|,?\s+)" + _TIME + ")?",
    re.ASCII,
)
_CLOCK = re.compile(_TIME, re.ASCII)


def date_number(text: str, order: str) -> float | None:
    """Days since 1970-01-01 of a date, with the time as a fraction; None for what is no date in this `order` ("": only
    the year first, or the month by its name).

    Times with a zone are those of UTC. Years of two digits are those from 1969 to 2068.

    >>> date_number("1970-01-02 12:00", "ymd")
    1.5
    """
    found = DATE.fullmatch(text.strip())
    if found is None or (parts := _day(found, order)) is None:
        return None
    year, month, day = parts
    try:
        days = float(date(year, month, day).toordinal() - EPOCH)
    except ValueError:
        return None
    if found["hour"] is None:
        return days
    hours = _hours(found)
    return None if hours is None else days + hours / 24


def are_compact(values: Sequence[float]) -> bool:
    """Whether numbers are dates such as 20240131, several of them and every one.

    >>> are_compact([20240131, 20231224, 19991231]), are_compact([20240131, 20231399, 20240101])
    (True, False)
    """
    some = {value for value in values if value == value}
    whole = all(19000101 <= value <= 20991231 and value == int(value) for value in some)
    return len(some) > 2 and whole and all(date_number(str(int(value)), "") is not None for value in some)


def time_number(text: str) -> float | None:
    """Hours of a time such as 9:30, 9:30:15 or 9:30 pm; of a duration too. None for what is none."""
    found = _CLOCK.fullmatch(text.strip())
    return None if found is None or found["zone"] else _hours(found, 99)


def date_order(words: Sequence[str], given: str = "") -> str | None:
    """The order of day, month and year in which all words are dates; None if there is none. It is "" where no word has
    the three as mere numbers with the year behind: a further file with such dates has them in an order that nobody
    told. Where several fit it is the one with the day first, and with the month first where slashes stand between."""
    if not words:
        return None
    slashes = any("/" in word for word in words)
    orders = (given,) if given else ("", *(("mdy", "dmy") if slashes else ("dmy", "mdy")))
    return next((order for order in orders if all(date_number(word, order) is not None for word in words)), None)


def is_open(words: Sequence[str]) -> bool:
    """Whether the words are dates with the day first as well as with the month first, and not the same ones."""
    pairs = [(date_number(word, "dmy"), date_number(word, "mdy")) for word in words]
    return all(None not in pair for pair in pairs) and any(first != second for first, second in pairs)


def _day(found: re.Match[str], order: str) -> tuple[int, int, int] | None:
    """(year, month, day) of a date that was matched."""
    if found["y1"]:
        return int(found["y1"]), int(found["m1"]), int(found["d1"])
    if found["y7"]:
        return int(found["y7"]), int(found["m7"]), int(found["d7"])
    if found["y2"]:
        if not order:
            return None
        first, second = int(found["a"]), int(found["b"])
        if order == "ymd":
            return (_year(found["a"]), second, int(found["y2"])) if len(found["y2"]) == 2 else None
        return (_year(found["y2"]), *((second, first) if order == "dmy" else (first, second)))
    if found["y5"]:
        return int(found["y5"]), int(found["m5"]), 1
    for place in ("3", "4", "6"):
        if name := found[f"n{place}"]:
            day = 1 if place == "6" else int(found[f"d{place}"])
            month = name.lower()[:3]
            known = month in MONTHS and (FULL[MONTHS.index(month)].startswith(name.lower()) or name.lower() == "sept")
            return (_year(found[f"y{place}"]), MONTHS.index(month) + 1, day) if known else None
    return None


def _year(digits: str) -> int:
    year = int(digits)
    return year if len(digits) == 4 else year + (1900 if year > 68 else 2000)


def _hours(found: re.Match[str], most: int = 24) -> float | None:
    """The hours of a time that was matched, in UTC."""
    hour, minute, second = int(found["hour"]), int(found["minute"]), float((found["second"] or "0").replace(",", "."))
    if found["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if found["half"][0] in "pP" else 0)
    if hour > most or minute > 59 or second >= 61:
        return None
    zone = found["zone"] or "Z"
    offset = 0.0
    if zone[0] in "+-":
        offset = (1 if zone[0] == "+" else -1) * (int(zone[1:3]) + int(zone[-2:]) / 60)
    return hour + minute / 60 + second / 3600 - offset
