"""Parsing of `--model`."""

from __future__ import annotations

import re

import pytest

from streamingvlm_ros.config import DEMO_CHECKPOINT
from streamingvlm_ros.errors import ConfigError, EvaluationError
from streamingvlm_ros.evaluation.candidate import parse_candidate, parse_candidates


def test_settings_follow_the_model_and_may_contain_spaces() -> None:
    one = parse_candidate("demo fps=1 instruction='Name every colour.' seed=7")
    assert one.checkpoint == DEMO_CHECKPOINT
    assert one.settings.frames.fps == 1.0
    assert one.settings.prompt.instruction == "Name every colour."
    assert one.settings.sampling.seed == 7


def test_a_text_setting_is_not_parsed_as_yaml() -> None:
    assert parse_candidate("demo instruction=[").settings.prompt.instruction == "["
    assert parse_candidate("demo instruction=5").settings.prompt.instruction == "5"


@pytest.mark.parametrize(
    ("label", "why"),
    [
        ("", "no model"),
        ("demo 'fps=1", "no model"),
        ("demo fps", "write NAME=VALUE"),
    ],
)
def test_a_label_that_cannot_be_parsed_is_refused(label: str, why: str) -> None:
    with pytest.raises(EvaluationError, match=why):
        parse_candidate(label)


@pytest.mark.parametrize(
    ("label", "why"),
    [
        ("demo fps=900", "fps must be a number between 1.0 and 30.0, not 900"),
        ("demo fps=abc", "fps must be a number between 1.0 and 30.0, not 'abc'"),
        ("demo fps=", "fps must be a number between 1.0 and 30.0, not None"),
        ("demo fps=[", r"fps must be a number between 1.0 and 30.0, not '\['"),
        ("demo speed=3", "unknown setting 'speed'"),
        ("demo fsp=3", "unknown setting 'fsp'; did you mean fps?"),
        ("demo max_new_tokens=many", "max_new_tokens must be a whole number between 1 and 512"),
    ],
)
def test_a_wrong_or_unknown_setting_is_named_with_the_label(label: str, why: str) -> None:
    with pytest.raises(ConfigError, match=f"^'{re.escape(label)}': {why}"):
        parse_candidate(label)


def test_a_label_must_not_be_repeated() -> None:
    with pytest.raises(EvaluationError, match="--model 'demo' is named more than once"):
        parse_candidates(["demo", "demo fps=1", "demo"])
