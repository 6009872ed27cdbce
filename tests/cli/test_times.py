"""Times as people write them."""

import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta

import pytest
import typer

from streamingvlm_ros.cli.times import parse_time, span_text, time_text

S = 1_000_000_000
TODAY = date(2026, 11, 21)


@pytest.fixture(params=["UTC", "America/New_York"], autouse=True)
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is what the machine is set to, not what the tests are."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def at(*moment: int) -> int:
    """Stamp of a local date and time."""
    return int(datetime(*moment).timestamp()) * S


@pytest.mark.parametrize(
    ("text", "stamp_ns"),
    [("0", 0), ("1830.5", 1_830_500_000_000), ("1795256099.348627801", 1795256099348627801)],
)
def test_a_number_is_seconds_to_the_nanosecond(text: str, stamp_ns: int) -> None:
    assert parse_time(text) == stamp_ns


def test_a_date_and_time_is_local() -> None:
    assert parse_time("2026-11-21T14:02") == at(2026, 11, 21, 14, 2)
    assert parse_time("2026-11-21 14:02:31") == at(2026, 11, 21, 14, 2, 31)


def test_a_date_and_time_with_a_zone_is_of_that_zone() -> None:
    assert parse_time("2026-11-21T14:02+02:00") == 1795262520 * S


@pytest.mark.parametrize(
    ("text", "hour", "minute", "second"), [("14:02", 14, 2, 0), ("9:02:31", 9, 2, 31)]
)
def test_a_time_alone_is_of_today(text: str, hour: int, minute: int, second: int) -> None:
    before = date.today()
    stamp_ns = parse_time(text)
    moments = [
        at(day.year, day.month, day.day, hour, minute, second) for day in (before, date.today())
    ]
    assert stamp_ns in moments


@pytest.mark.parametrize(
    "text", ["", "soon", "-5", "-5m", "25:00", "nan", "inf", "1e3", "2026-13-01", "2147483648"]
)
def test_anything_else_is_refused_with_what_can_be_given(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"1830\.5.*14:02.*2026-11-21T14:02"):
        parse_time(text)


def test_a_number_that_reads_like_a_date_is_refused_with_what_can_be_given() -> None:
    with pytest.raises(typer.BadParameter, match=r"1830\.5.*14:02.*2026-11-21T14:02.*20261121\.0"):
        parse_time("20261121")
    assert parse_time("20261121.0") == 20261121 * S
    assert parse_time("20261321") == 20261321 * S


def test_a_clock_that_counts_from_its_start_is_shown_in_seconds() -> None:
    assert time_text(1830 * S + S // 2, TODAY) == "1830.5 s"


def test_a_date_is_shown_unless_it_is_today() -> None:
    stamp_ns = at(2026, 11, 21, 14, 2, 31)
    assert time_text(stamp_ns, TODAY) == "14:02:31"
    assert time_text(stamp_ns, TODAY + timedelta(days=1)) == "2026-11-21 14:02:31"


def test_what_is_shown_can_be_given_again() -> None:
    stamp_ns = at(2026, 11, 21, 14, 2, 31)
    assert parse_time(time_text(stamp_ns, date(2001, 1, 1))) == stamp_ns


def test_a_span_says_a_common_date_once() -> None:
    start, end = at(2026, 11, 20, 23, 59, 50), at(2026, 11, 20, 23, 59, 59)
    assert span_text(start, end, TODAY) == "2026-11-20 23:59:50 to 23:59:59"
    assert span_text(start, end + 2 * S, TODAY) == ("2026-11-20 23:59:50 to 2026-11-21 00:00:01")
    assert span_text(start, end, date(2026, 11, 20)) == "23:59:50 to 23:59:59"
    assert span_text(start, start, TODAY) == "2026-11-20 23:59:50"
    assert span_text(1830 * S, 1830 * S + S // 2, TODAY) == "1830.0 s to 1830.5 s"
