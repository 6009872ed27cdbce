"""Points of time as people read and write them. Stamps are the camera's, in nanoseconds."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal

import typer

from ..time_format import format_stamp
from ..types import NS_PER_S

_END_NS = 2**31 * NS_PER_S
"""The first stamp that is too late for a message."""

_FORMS = (
    "give seconds (1830.5), a time of today (14:02 or 14:02:31) or a local date and time "
    "(2026-11-21T14:02)"
)
_COMPACT_DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])", re.ASCII)


def time_text(stamp_ns: int, today: date) -> str:
    """A time as answers name it, without the date if that is `today`."""
    return format_stamp(stamp_ns).removeprefix(f"{today.isoformat()} ")


def span_text(from_ns: int, until_ns: int, today: date) -> str:
    """From when to when. A date that is the same for both is said once, or not if it is `today`."""
    start, end = format_stamp(from_ns), format_stamp(until_ns)
    if start == end:
        return time_text(from_ns, today)
    day = f"{start.partition(' ')[0]} "
    if not end.startswith(day):
        return f"{start} to {end}"
    return f"{time_text(from_ns, today)} to {end.removeprefix(day)}"


def parse_time(text: str) -> int:
    """The stamp that a person means: seconds, a local date and time, or a time of today.

    A usage error for anything else, and for 20261121: seconds or a date, nobody knows.
    """
    text = text.strip()
    if _COMPACT_DATE.fullmatch(text):
        raise typer.BadParameter(
            f"{text} may be a date or seconds: {_FORMS}; {text}.0 means the seconds"
        )
    stamp_ns = _stamp_ns(text)
    if stamp_ns is None or not 0 <= stamp_ns < _END_NS:
        raise typer.BadParameter(f"{text!r} is no time: {_FORMS}")
    return stamp_ns


def _stamp_ns(text: str) -> int | None:
    if re.fullmatch(r"\d+(\.\d*)?", text, re.ASCII):
        return int(Decimal(text) * NS_PER_S)
    for form in ("%H:%M", "%H:%M:%S"):
        with suppress(ValueError):
            moment = datetime.strptime(text, form).time()
            return _moment_ns(datetime.combine(date.today(), moment))
    try:
        return _moment_ns(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return None


def _moment_ns(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000) * 1000
