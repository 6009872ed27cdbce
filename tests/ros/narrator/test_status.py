"""Warnings in the narrator's diagnostics."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus

from streamingvlm_ros.ros.diagnostics import Counters
from streamingvlm_ros.ros.narrator.status import (
    JUMPS,
    MAX_REPORTS_WITHOUT_IMAGE,
    NarratorStatus,
)

ACTIVE = {"state": "active", "model": "demo", "topic": "/image"}


def test_a_missing_camera_causes_a_warning_and_a_slow_one_does_not() -> None:
    counters = Counters()
    narrator_status = NarratorStatus("narrator", counters)
    for _ in range(3):
        counters.add("frames received")
        levels = [
            narrator_status.status("", ACTIVE).level for _ in range(MAX_REPORTS_WITHOUT_IMAGE)
        ]
        assert levels == [DiagnosticStatus.OK] * MAX_REPORTS_WITHOUT_IMAGE
    status = narrator_status.status("", ACTIVE)
    assert status.level == DiagnosticStatus.WARN
    assert "no images on /image" in status.message


def test_stamps_that_jump_back_take_precedence_over_dropped_frames() -> None:
    counters = Counters()
    narrator_status = NarratorStatus("narrator", counters)
    counters.add(JUMPS)
    counters.add("frames dropped", 5)
    assert "jumped back" in narrator_status.status("", ACTIVE).message


def test_a_failing_history_causes_a_warning_until_it_works_again() -> None:
    narrator_status = NarratorStatus("narrator", Counters())
    failing = {**ACTIVE, "history: failed": "the disk is full"}
    for _ in range(2):
        status = narrator_status.status("", failing)
        assert status.level == DiagnosticStatus.WARN
        assert "the disk is full" in status.message
    assert (
        narrator_status.status("", {**ACTIVE, "history: failed": ""}).level == DiagnosticStatus.OK
    )
