"""A trial's results as its file has them."""

from __future__ import annotations

from typing import Any

from ..recordings.annotations import Utterance

Result = dict[str, Any]

ORIGINAL = "seen"
"""The control that is none: the recording as it is."""


def utterances(result: Result, name: str) -> list[Utterance]:
    """What the result has as `reference` or `said`."""
    return [Utterance(**record) for record in result[name]]


def spoken(result: Result) -> list[Utterance]:
    """What was said, without silences."""
    return [its for its in utterances(result, "said") if its.text]
