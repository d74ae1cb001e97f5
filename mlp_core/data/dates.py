"""Dates and times of day as numbers: days since 1970-01-01, and hours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date

from mlp_core.data.calendar_words import MONTHS, WEEKDAYS, plain

EPOCH = date(1970, 1, 1).toordinal()

_HALF = r"(?P<half>[AaPp]\.?[Mm]\.?)"
_TIME = (
    rf"(?P<hour>\d{{1,2}}):(?P<minute>\d{{2}})(?::(?P<second>\d{{2}}(?:[.,]\d{{1,9}})?))?\s*{_HALF}?"
    r"\s*(?P<zone>Z|UTC|GMT|[-+]\d{2}:?\d{2})?"
)
_MONTH = r"(?P<{}>[A-Za-z]{{2,10}})\.?"
_YEAR = r"(?P<year>(?:1[6-9]|20)\d{2})"
DATE = re.compile(
    r"(?:(?P<weekday>[A-Za-z]{2,10})\.?,?\s+)??"
    r"(?:(?P<y1>\d{4})(?P<s1>[-/.])(?P<m1>\d{1,2})(?P=s1)(?P<d1>\d{1,2})"
    r"|(?P<a>\d{1,2})(?P<s2>[-/.])(?P<b>\d{1,2})(?P=s2)(?P<y2>\d{4}|\d{2})"
    r"|(?P<d3>\d{1,2})(?:st|nd|rd|th|er|\.)?[-\s]+(?:de\s+)?" + _MONTH.format("n3") + r"(?:\sde\s|[-,\s])+"
    r"(?P<y3>\d{4}|\d{2})"
    r"|" + _MONTH.format("n4") + r"[-\s]+(?P<d4>\d{1,2})(?:st|nd|rd|th)?,?\s+(?P<y4>\d{4})"
    r"|(?P<y5>(?:19|20)\d{2})(?P<m5>\d{2})(?P<d5>\d{2})"
    r"|(?P<y6>\d{4})[\u5e74\ub144]\s?(?P<m6>\d{1,2})[\u6708\uc6d4]\s?(?P<d6>\d{1,2})[\u65e5\uc77c])"
    r"(?:(?:T|,?\s+)" + _TIME + ")?",
    re.ASCII,
)
_PERIODS = [
    re.compile(pattern, re.ASCII)
    for pattern in (
        _YEAR + r"[-/](?P<month>\d{2})",
        _YEAR + r"[Mm](?P<month>\d{1,2})",
        r"(?P<month>\d{1,2})[-/.]" + _YEAR,
        _MONTH.format("name") + r"(?:\sde\s|[-,/\s])+" + _YEAR,
        _MONTH.format("name") + r"[-']'?(?P<short>\d{2})",
        _YEAR + r"[-/\s]?[Qq](?P<quarter>[1-4])",
        r"(?:[Qq](?P<quarter>[1-4])|(?P<before>[1-4])[Qq])[-/\s]?" + _YEAR,
        _YEAR + r"-?W(?P<week>\d{2})(?:-?(?P<day>[1-7]))?",
        _YEAR + r"[\u5e74\ub144]\s?(?P<month>\d{1,2})[\u6708\uc6d4]",
    )
]
_DIGITS = re.compile(r"((?:19|20)\d{6})[T\s]?(\d{2})(\d{2})(\d{2})(Z?)", re.ASCII)
_CLOCKS = [
    re.compile(pattern, re.ASCII)
    for pattern in (_TIME, r"(?P<hour>\d{1,2})\s*" + _HALF, r"(?P<hour>\d{1,2})\s?[hH]\s?(?P<minute>\d{2})")
]


def date_number(text: str, order: str) -> float | None:
    """Days since 1970-01-01 of a date, with the time as a fraction; None for what is no date in this `order` ("": only
    the year first, or the month by its name).

    Times with a zone are those of UTC. Years of two digits are those from 1969 to 2068.

    Months, quarters and weeks (2023-10, Oct-23, 2023Q4, 2023-W07) begin on their first day.

    >>> date_number("1970-01-02 12:00", "ymd"), date_number("1970Q2", "")
    (1.5, 90.0)
    """
    text = _DIGITS.sub(r"\1 \2:\3:\4\5", plain(text))
    found = DATE.fullmatch(text)
    try:
        if found is None:
            return _period(text)
        if (parts := _day(found, order)) is None:
            return None
        days = float(date(*parts).toordinal() - EPOCH)
    except ValueError:
        return None
    if found["hour"] is None:
        return days
    hours = _hours(found)
    return None if hours is None else days + hours / 24


def are_compact(values: Sequence[float]) -> bool:
    """Whether numbers are dates such as 20240131, 20240131093000 or 10.2024, several of them and every one.

    >>> are_compact([20240131, 20231224, 19991231]), are_compact([20240131, 20231399, 20240101])
    (True, False)
    """
    some = {value for value in values if value == value}
    return len(some) > 2 and all(map(_is_compact, some))


def _is_compact(value: float) -> bool:
    """Whether a number is a day in eight digits, perhaps with six of a time, or a month before its year."""
    if 1 < value < 13:
        digits = f"{value:.4f}"
        return float(digits) == value and 1900 <= int(digits[-4:]) < 2100
    whole = 19000101 <= (value if value < 1e9 else value // 1e6) <= 20991231 and value == int(value)
    return whole and date_number(str(int(value)), "") is not None


def names_a_month(word: str) -> bool:
    """Whether a word has the name of a month and a number, as 23-Oct has, which is no date that is read."""
    parts = re.findall(r"[a-z]+|\d+", plain(word).lower())
    named = sum(part in MONTHS and len(part) > 2 for part in parts)
    return named == 1 and any(part.isdigit() for part in parts) and len(parts) < 8


def time_number(text: str) -> float | None:
    """Hours of a time such as 9:30, 9:30:15, 9 pm or 9h30; of a duration too. None for what is none."""
    found = next((found for clock in _CLOCKS if (found := clock.fullmatch(text.strip()))), None)
    return None if found is None or found.groupdict().get("zone") else _hours(found, 99)


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
    if found["weekday"] and found["weekday"].lower() not in WEEKDAYS:
        return None
    for place in "156":
        if found[f"y{place}"]:
            return int(found[f"y{place}"]), int(found[f"m{place}"]), int(found[f"d{place}"])
    if found["y2"]:
        if not order:
            return None
        first, second = int(found["a"]), int(found["b"])
        if order == "ymd":
            return (_year(found["a"]), second, int(found["y2"])) if len(found["y2"]) == 2 else None
        return (_year(found["y2"]), *((second, first) if order == "dmy" else (first, second)))
    place = "3" if found["n3"] else "4"
    month = MONTHS.get(found[f"n{place}"].lower())
    return None if month is None else (_year(found[f"y{place}"]), month, int(found[f"d{place}"]))


def _period(text: str) -> float | None:
    """The first day of a month, a quarter or a week. Raises ValueError for one that is not in the calendar."""
    found = next((found for period in _PERIODS if (found := period.fullmatch(text))), None)
    if found is None:
        return None
    parts = found.groupdict()
    year = _year(parts.get("short") or parts["year"])
    if parts.get("week"):
        return float(date.fromisocalendar(year, int(parts["week"]), int(parts["day"] or 1)).toordinal() - EPOCH)
    quarter = int(parts.get("quarter") or parts.get("before") or 0)
    month = 3 * quarter - 2 if quarter else int(parts.get("month") or MONTHS.get((parts.get("name") or "").lower(), 0))
    return float(date(year, month, 1).toordinal() - EPOCH)


def _year(digits: str) -> int:
    year = int(digits)
    return year if len(digits) == 4 else year + (1900 if year > 68 else 2000)


def _hours(found: re.Match[str], most: int = 24) -> float | None:
    """The hours of a time that was matched, in UTC."""
    parts = found.groupdict()
    hour, minute = int(parts["hour"]), int(parts.get("minute") or 0)
    second = float((parts.get("second") or "0").replace(",", "."))
    if half := parts.get("half"):
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half[0] in "pP" else 0)
    if hour > most or minute > 59 or second >= 61:
        return None
    zone = parts.get("zone") or "Z"
    offset = 0.0
    if zone[0] in "+-":
        offset = (1 if zone[0] == "+" else -1) * (int(zone[1:3]) + int(zone[-2:]) / 60)
    return hour + minute / 60 + second / 3600 - offset
