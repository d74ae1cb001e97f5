"""Numbers, dates and times as people write them: each column in one notation, or none."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime

import pytest

from mlp_core.data import calendar_words
from mlp_core.data.calendar_words import MONTHS
from mlp_core.data.dates import date_number, time_number
from mlp_core.data.notation import Notation, find, markers, mostly_dates

READ = {
    "thousands": (["27,366.54", "1,000.00", "12"], [27366.54, 1000, 12]),
    "whole thousands": (["1,234", "12,345", "7"], [1234, 12345, 7]),
    "millions": (["1,234,567", "1,234"], [1234567, 1234]),
    "lakhs": (["12,34,567", "8,50,088", "999"], [1234567, 850088, 999]),
    "apostrophes": (["9'374.63", "12’000"], [9374.63, 12000]),
    "blanks": (["9 374,63", "12 000"], [9374.63, 12000]),
    "narrow blanks": (["9\u00a0374.63", "1\u202f000"], [9374.63, 1000]),
    "points and a comma": (["1.234,56", "3,5", "2.000"], [1234.56, 3.5, 2000]),
    "decimal commas": (["3,5", "-2,75", "4"], [3.5, -2.75, 4]),
    "dollars": (["$27366.54", "$1,200", "-$3.50", "$0"], [27366.54, 1200, -3.5, 0]),
    "a blank after": (["$ 5", "$ 6.50"], [5, 6.5]),
    "euros": (["1 200 €", "35 €"], [1200, 35]),
    "a currency's code": (["USD 1,200", "USD 900"], [1200, 900]),
    "percent": (["29.4%", "3%"], [29.4, 3]),
    "percent with a comma": (["12,5 %", "3 %"], [12.5, 3]),
    "a unit": (["12 km", "3.5 km"], [12, 3.5]),
    "a unit with a slash": (["202.5 mg/dl", "180 mg/dl"], [202.5, 180]),
    "degrees": (["20°C", "-3°C"], [20, -3]),
    "one and more": (["1 year", "10 years"], [1, 10]),
    "brackets": (["(3.5)", "2"], [-3.5, 2]),
    "a minus behind": (["5-", "3"], [-5, 3]),
    "the minus of typesetters": (["\u22123.5", "2"], [-3.5, 2]),
    "K and M": (["9.4K", "1.2M", "300"], [9400, 1.2e6, 300]),
    "millions of euros": (["€110.5M", "€565K", "€0"], [110.5e6, 565e3, 0]),
    "powers of ten with a unit": (["1e5 m", "3 m"], [1e5, 3]),
    "times": (["0:30", "12:45"], [0.5, 12.75]),
    "times in words": (["9 pm", "12:15 AM", "9h30"], [21, 0.25, 9.5]),
    "durations": (["1h 30m", "45m", "2 hrs"], [1.5, 0.75, 2]),
    "durations of pandas": (["1 days 02:00:00", "0 days 00:30:00", "-1 days +23:00:00"], [26, 0.5, -1]),
    "durations of Python": (["1 day, 2:00:00", "0:30:00", "-1 day, 23:00:00"], [26, 0.5, -1]),
    "durations of ISO 8601": (["PT1H30M", "P1DT2H", "-PT45M", "PT30S"], [1.5, 26, -0.75, 1 / 120]),
    "long durations": (["120:30:36", "0:45:00"], [120.51, 0.75]),
    "two units of time": (["90 min", "2 h"], [1.5, 2]),
    "years and months": (["1yrs 0mon", "0yrs 6mon"], [8765.82, 4382.91]),
}
NOT = {
    "two units": ["12 km", "5 mi"],
    "some without a unit": ["12 km", "5"],
    "codes": ["A12", "A13"],
    "ranges": ["1-2", "3-4"],
    "versions": ["1.2.3.4", "1.2.3.5"],
    "dimensions": ["2D", "3D", "4K UHD"],
    "a unit twice": ["1h 2h", "1h"],
    "the shorter first": ["5m 1h", "1h"],
    "a day without a year": ["23-Oct", "5-Nov"],
    "a log": ["ERROR 2024-01-31", "INFO 2024-01-31"],
    "telephones": ["555-1234", "222-1234"],
    "flats": ["12A", "12C"],
    "several words": ["1", "2", "red", "blue"],
    "words": ["red", "blue"],
    "more or fewer": ["10+ years", "1 year"],
    "signs at odds": ["1,234.5", "1.234,5"],
    "groups of two": ["1,23,45", "1"],
    "nothing": [],
}


@pytest.mark.parametrize(("words", "numbers"), READ.values(), ids=READ)
def test_numbers_are_read_as_people_mean_them(words: list[str], numbers: list[float]) -> None:
    found = find(words)
    assert found is not None
    assert [found.number(word) for word in words] == pytest.approx(numbers)
    assert Notation.from_state(found.to_state()) == found
    assert found.number("red") is None


@pytest.mark.parametrize("words", NOT.values(), ids=NOT)
def test_what_is_no_number_stays_a_word(words: list[str]) -> None:
    assert find(words) is None


def test_the_rest_of_the_file_decides_where_a_column_does_not() -> None:
    open_ = ["1,234", "12,345"]
    for decimal, first in ((".", 1234), (",", 1.234)):
        found = find(open_, decimal)
        assert found is not None
        assert found.number("1,234") == first


@pytest.mark.parametrize("word", ["n/a", "-", "#DIV/0!", "unknown", "inf", "not measured"])
def test_one_word_beside_numbers_means_missing(word: str) -> None:
    found = find(["1", "2.5", word])
    assert found is not None
    assert found.missing == (word,)
    value = found.number(word)
    assert value is not None
    assert math.isnan(value)
    assert markers([word, word]) == (word,)


@pytest.mark.parametrize("cells", [["1.2.3"], ["oops"], ["low", "low", "high", "high"], ["12a", "12a"]])
def test_a_slip_is_no_marker(cells: list[str]) -> None:
    assert markers(cells) is None


DAYS = {
    "2021-01-03": "2021-01-03",
    "2021/1/3": "2021-01-03",
    "03-Jan-2021": "2021-01-03",
    "3 January 2021": "2021-01-03",
    "Jan 3, 2021": "2021-01-03",
    "Sun, 03 Jan 2021 10:00:00 +0000": "2021-01-03T10:00:00",
    "2021-01-03T10:00:00Z": "2021-01-03T10:00:00",
    "2021-01-03 10:00:00+02:00": "2021-01-03T08:00:00",
    "2021-01-03 1:30 PM": "2021-01-03T13:30:00",
    "03.01.21": "2021-01-03",
    "3/1/1969": "1969-01-03",
    "1.3.70 00:00": "1970-03-01",
    "2021-02": "2021-02-01",
    "Feb 2021": "2021-02-01",
    "5. M\u00e4rz 2021": "2021-03-05",
    "5 Mrz. 2021": "2021-03-05",
    "1er f\u00e9vr. 2021": "2021-02-01",
    "ao\u00fbt 2021": "2021-08-01",
    "3 de mayo de 2021": "2021-05-03",
    "marzo de 2021": "2021-03-01",
    "dimanche 3 janvier 2021": "2021-01-03",
    "Oct-23": "2023-10-01",
    "Dez'99": "1999-12-01",
    "10/2023": "2023-10-01",
    "10.2023": "2023-10-01",
    "2023M7": "2023-07-01",
    "2023Q4": "2023-10-01",
    "Q2 2023": "2023-04-01",
    "3Q2023": "2023-07-01",
    "2023-W07": "2023-02-13",
    "2020W53-7": "2021-01-03",
    "20210103T100000Z": "2021-01-03T10:00:00",
    "20210103103000": "2021-01-03T10:30:00",
    "2023\u5e7410\u67085\u65e5": "2023-10-05",
    "2023\ub144 10\uc6d4 5\uc77c": "2023-10-05",
    "2023\u5e7410\u6708": "2023-10-01",
}


@pytest.mark.parametrize(("text", "iso"), DAYS.items())
def test_a_date_is_days_since_1970(text: str, iso: str) -> None:
    expected = datetime.fromisoformat(iso).replace(tzinfo=UTC).timestamp() / 86400
    assert date_number(text, "dmy") == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "text",
    [
        "2021-13-01",
        "2021-02-30",
        "30/2/2021",
        "2021-1",
        "12",
        "Foo 3, 2021",
        "1-2/2021",
        "2023Q5",
        "2023-W54",
        "13/2023",
        "Foo-23",
        "ERROR 2021-01-03",
        "23-Oct",
        "4711-05",
    ],
)
def test_no_date(text: str) -> None:
    assert date_number(text, "dmy") is None


def test_no_name_stands_for_two_months() -> None:
    words = calendar_words._MONTHS.split()
    assert len(words) == len({*words}) == len(MONTHS)
    assert {*MONTHS.values()} == {*range(1, 13)}


@pytest.mark.parametrize("month", range(1, 13))
def test_the_months_of_calendars_are_known(month: int) -> None:
    day = date(2021, month, 5)
    for word in (day.strftime("%b"), day.strftime("%B")):
        assert date_number(f"5 {word} 2021", "") == (day - date(1970, 1, 1)).days


def test_months_quarters_and_weeks_of_one_column_are_dates() -> None:
    found = find(["Oct-23", "2023-10", "2023Q4", "2023-W40", "n/a"])
    assert found is not None
    assert (found.way, found.order) == ("date", "")
    assert found.number("Oct-23") == found.number("2023Q4") == date_number("2023-10-01", "")


def test_the_order_of_a_date_is_that_in_which_all_are_dates() -> None:
    for words, order in (
        (["03/04/2021", "25/12/2020"], "dmy"),
        (["03/04/2021", "12/25/2020"], "mdy"),
        (["03/04/2021", "01/02/2021"], "mdy"),
        (["03.04.2021", "01.02.2021"], "dmy"),
        (["2021-04-03", "25.12.2020"], "dmy"),
        (["2021-04-03", "2021/12/25 10:00", "3 Apr 2021", "April 2021"], ""),
    ):
        found = find(words)
        assert found is not None
        assert (found.way, found.order) == ("date", order)
    assert find(["13/14/2021", "01/02/2021"]) is None
    given = find(["03/04/2021"], order="dmy")
    assert given is not None
    assert given.number("03/04/2021") == date_number("2021-04-03", "ymd")
    assert mostly_dates(["2021-01-01", "2021-01-02", "2021-01-33"]) is not None
    assert mostly_dates(["2021-01-01", "a", "b"]) is None


def test_an_order_that_no_training_date_told_is_not_guessed_later() -> None:
    found = find(["2021-04-03", "2021-12-25"])
    assert found is not None
    assert found.number("2021-04-05") == date_number("5 April 2021", "dmy") is not None
    for later in ("05/04/2021", "25.12.2021", "21-04-05"):
        assert found.number(later) is None


@pytest.mark.parametrize(("text", "hours"), [("9:30", 9.5), ("9:30 pm", 21.5), ("12:00 am", 0), ("26:15:36", 26.26)])
def test_a_time_is_hours(text: str, hours: float) -> None:
    assert time_number(text) == pytest.approx(hours)


def test_a_state_that_is_none_is_refused() -> None:
    for state in ({"way": "word"}, {"nothing": 1}, {"units": [3]}):
        with pytest.raises((TypeError, ValueError)):
            Notation.from_state(state)  # type: ignore[arg-type]
