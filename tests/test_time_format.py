"""Times as an answer names them."""

from __future__ import annotations

import time

import pytest

from streamingvlm_ros.time_format import cite_times, format_stamp

S = 1_000_000_000


@pytest.mark.parametrize(
    ("stamp_ns", "words"),
    [
        (0, "0.0 s"),
        (1830 * S + 40_000_000, "1830.0 s"),
        (999_999_999 * S, "999999999.0 s"),
    ],
)
def test_small_stamps_are_formatted_in_seconds(stamp_ns: int, words: str) -> None:
    assert format_stamp(stamp_ns) == words


def test_large_stamps_are_formatted_as_local_date_and_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "XYZ-9")
    time.tzset()
    try:
        assert format_stamp(1_795_237_351 * S + S // 2) == "2026-11-21 14:02:31"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_equal_times_are_cited_once() -> None:
    assert cite_times([1830 * S, 1830 * S + 1, 1832 * S]) == " (seen at 1830.0 s, 1832.0 s)"
