"""Times on the command line."""

import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta

import pytest
import typer

from streamingvlm_ros.cli.times import format_span, format_time, parse_time

S = 1_000_000_000
TODAY = date(2026, 11, 21)


@pytest.fixture(params=["UTC", "America/New_York"], autouse=True)
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run every test in two time zones."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def stamp_of(*local: int) -> int:
    """Stamp of a local date and time."""
    return int(datetime(*local).timestamp()) * S


@pytest.mark.parametrize(
    ("text", "stamp_ns"),
    [("0", 0), ("1830.5", 1_830_500_000_000), ("1795256099.348627801", 1795256099348627801)],
)
def test_a_number_is_seconds_to_the_nanosecond(text: str, stamp_ns: int) -> None:
    assert parse_time(text) == stamp_ns


def test_a_date_and_time_is_local() -> None:
    assert parse_time("2026-11-21T14:02") == stamp_of(2026, 11, 21, 14, 2)
    assert parse_time("2026-11-21 14:02:31") == stamp_of(2026, 11, 21, 14, 2, 31)


def test_a_date_and_time_with_a_zone_uses_that_zone() -> None:
    assert parse_time("2026-11-21T14:02+02:00") == 1795262520 * S


@pytest.mark.parametrize(
    ("text", "hour", "minute", "second"), [("14:02", 14, 2, 0), ("9:02:31", 9, 2, 31)]
)
def test_a_time_alone_means_today(text: str, hour: int, minute: int, second: int) -> None:
    day_before = date.today()
    stamp_ns = parse_time(text)
    candidates = [
        stamp_of(day.year, day.month, day.day, hour, minute, second)
        for day in (day_before, date.today())
    ]
    assert stamp_ns in candidates


@pytest.mark.parametrize(
    "text", ["", "soon", "-5", "-5m", "25:00", "nan", "inf", "1e3", "2026-13-01", "2147483648"]
)
def test_other_text_is_rejected_with_the_accepted_forms(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"1830\.5.*14:02.*2026-11-21T14:02"):
        parse_time(text)


def test_a_number_that_looks_like_a_date_is_rejected_with_the_accepted_forms() -> None:
    with pytest.raises(typer.BadParameter, match=r"1830\.5.*14:02.*2026-11-21T14:02.*20261121\.0"):
        parse_time("20261121")
    assert parse_time("20261121.0") == 20261121 * S
    assert parse_time("20261321") == 20261321 * S


def test_a_stamp_that_counts_from_start_up_is_displayed_in_seconds() -> None:
    assert format_time(1830 * S + S // 2, TODAY) == "1830.5 s"


def test_the_date_is_displayed_unless_it_is_today() -> None:
    stamp_ns = stamp_of(2026, 11, 21, 14, 2, 31)
    assert format_time(stamp_ns, TODAY) == "14:02:31"
    assert format_time(stamp_ns, TODAY + timedelta(days=1)) == "2026-11-21 14:02:31"


def test_a_displayed_time_can_be_typed_again() -> None:
    stamp_ns = stamp_of(2026, 11, 21, 14, 2, 31)
    assert parse_time(format_time(stamp_ns, date(2001, 1, 1))) == stamp_ns


def test_a_span_displays_a_common_date_once() -> None:
    start, end = stamp_of(2026, 11, 20, 23, 59, 50), stamp_of(2026, 11, 20, 23, 59, 59)
    assert format_span(start, end, today=TODAY) == "2026-11-20 23:59:50 to 23:59:59"
    assert format_span(start, end + 2 * S, today=TODAY) == (
        "2026-11-20 23:59:50 to 2026-11-21 00:00:01"
    )
    assert format_span(start, end, today=date(2026, 11, 20)) == "23:59:50 to 23:59:59"
    assert format_span(start, start, today=TODAY) == "2026-11-20 23:59:50"
    assert format_span(1830 * S, 1830 * S + S // 2, today=TODAY) == "1830.0 s to 1830.5 s"
