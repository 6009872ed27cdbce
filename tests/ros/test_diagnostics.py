"""What the diagnostics warn of."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus

from streamingvlm_ros.ros.diagnostics import JUMPS, PATIENCE, Counters, Report

ACTIVE = {"state": "active", "model": "demo", "topic": "/image"}


def test_a_camera_that_is_slow_is_no_reason_to_warn_and_one_that_is_gone_is() -> None:
    counters = Counters()
    report = Report("narrator", counters)
    for _ in range(3):
        counters.add("frames received")
        levels = [report.status("", ACTIVE).level for _ in range(PATIENCE)]
        assert levels == [DiagnosticStatus.OK] * PATIENCE
    status = report.status("", ACTIVE)
    assert status.level == DiagnosticStatus.WARN
    assert "no images on /image" in status.message


def test_stamps_that_jump_back_are_named_before_what_they_cost() -> None:
    counters = Counters()
    report = Report("narrator", counters)
    counters.add(JUMPS)
    counters.add("frames dropped", 5)
    assert "jumped back" in report.status("", ACTIVE).message


def test_a_history_that_cannot_be_written_is_warned_of_as_long_as_that_is_so() -> None:
    report = Report("narrator", Counters())
    failing = {**ACTIVE, "history: failed": "the disk is full"}
    for _ in range(2):
        status = report.status("", failing)
        assert status.level == DiagnosticStatus.WARN
        assert "the disk is full" in status.message
    assert report.status("", {**ACTIVE, "history: failed": ""}).level == DiagnosticStatus.OK
