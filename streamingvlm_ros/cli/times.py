"""Times on the command line, read and displayed. Stamps are the camera's, in nanoseconds."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal

import typer

from ..time_format import format_stamp
from ..types import NS_PER_S

_END_NS = 2**31 * NS_PER_S
"""First stamp that doesn't fit into a ROS message."""

_FORMS = (
    "use seconds (1830.5), a time today (14:02 or 14:02:31) or a local date and time "
    "(2026-11-21T14:02)"
)
_COMPACT_DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])", re.ASCII)


def format_time(stamp_ns: int, today: date) -> str:
    """Return a time as answers cite it, without the date if that is `today`."""
    return format_stamp(stamp_ns).removeprefix(f"{today.isoformat()} ")


def format_span(from_ns: int, until_ns: int, *, today: date) -> str:
    """Return `FROM to UNTIL`. A date that both share appears once, or not at all for `today`."""
    start, end = format_stamp(from_ns), format_stamp(until_ns)
    if start == end:
        return format_time(from_ns, today)
    day = f"{start.partition(' ')[0]} "
    if not end.startswith(day):
        return f"{start} to {end}"
    return f"{format_time(from_ns, today)} to {end.removeprefix(day)}"


def parse_time(text: str) -> int:
    """Return the stamp of seconds, a local date and time, or a time today.

    Anything else is a usage error. So is 20261121, which could be seconds or a date.
    """
    text = text.strip()
    if _COMPACT_DATE.fullmatch(text):
        raise typer.BadParameter(
            f"{text} could be a date or seconds; {_FORMS}; {text}.0 means seconds"
        )
    stamp_ns = _stamp_ns(text)
    if stamp_ns is None or not 0 <= stamp_ns < _END_NS:
        raise typer.BadParameter(f"{text!r} isn't a time; {_FORMS}")
    return stamp_ns


def _stamp_ns(text: str) -> int | None:
    if re.fullmatch(r"\d+(\.\d*)?", text, re.ASCII):
        return int(Decimal(text) * NS_PER_S)
    for form in ("%H:%M", "%H:%M:%S"):
        with suppress(ValueError):
            time = datetime.strptime(text, form).time()
            return _datetime_ns(datetime.combine(date.today(), time))
    try:
        return _datetime_ns(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return None


def _datetime_ns(when: datetime) -> int:
    return round(when.timestamp() * 1_000_000) * 1000
