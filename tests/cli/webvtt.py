"""A reader of WebVTT, written from the standard."""

from __future__ import annotations

import re

_CUE = re.compile(r"(\d{2,}):(\d\d):(\d\d\.\d{3}) --> (\d{2,}):(\d\d):(\d\d\.\d{3})\n([^\n]+)")


def read_cues(vtt: str) -> list[tuple[float, float, str]]:
    """Return (start s, end s, text) of each cue: blocks between blank lines."""
    header, *blocks = vtt.removesuffix("\n").split("\n\n")
    assert header == "WEBVTT"
    matches = [_CUE.fullmatch(block.strip("\n")) for block in blocks if block.strip()]
    assert all(matches), vtt
    return [
        (
            int(m[1]) * 3600 + int(m[2]) * 60 + float(m[3]),
            int(m[4]) * 3600 + int(m[5]) * 60 + float(m[6]),
            m[7],
        )
        for m in matches
        if m
    ]
