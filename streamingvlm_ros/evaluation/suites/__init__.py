"""Readers of recordings with labels, and of benchmarks: one file and one line here for each."""

from __future__ import annotations

from ...errors import EvaluationError
from ..items import Suite
from ..results import OWN_SUITE
from . import own

SUITES: dict[str, Suite] = {OWN_SUITE: own.find_items}
"""Readers by their names for `streamingvlm evaluate --suite`."""


def suite_named(name: str) -> Suite:
    """Return a suite by its name. EvaluationError if there is none."""
    if name not in SUITES:
        raise EvaluationError(f"unknown suite {name!r}; use {' or '.join(sorted(SUITES))}")
    return SUITES[name]
