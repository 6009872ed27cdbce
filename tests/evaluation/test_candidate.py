"""Parsing of `--model`."""

from __future__ import annotations

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
        ("demo fps=abc", "not a value for fps"),
        ("demo fps=", "not a value for fps"),
        ("demo fps=[", "not a value for fps"),
    ],
)
def test_an_invalid_setting_is_an_error(label: str, why: str) -> None:
    with pytest.raises(EvaluationError, match=why):
        parse_candidate(label)


def test_a_setting_out_of_range_or_unknown_is_an_error() -> None:
    for label in ("demo fps=900", "demo speed=3", "demo max_new_tokens=many"):
        with pytest.raises(ConfigError):
            parse_candidate(label)


def test_a_label_may_come_only_once() -> None:
    with pytest.raises(EvaluationError, match="--model 'demo' is named more than once"):
        parse_candidates(["demo", "demo fps=1", "demo"])
