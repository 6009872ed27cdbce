"""Models as `--model` names them."""

from __future__ import annotations

import re

import pytest

from streamingvlm_ros.config import DEMO_CHECKPOINT
from streamingvlm_ros.errors import ConfigError, EvaluationError
from streamingvlm_ros.evaluation.candidate import candidate, candidates


def test_settings_follow_the_model_and_may_hold_spaces() -> None:
    one = candidate("demo fps=1 instruction='Name every colour.' seed=7")
    assert one.checkpoint == DEMO_CHECKPOINT
    assert one.settings.frames.fps == 1.0
    assert one.settings.prompt.instruction == "Name every colour."
    assert one.settings.sampling.seed == 7


def test_text_stays_text_even_if_it_reads_like_something_else() -> None:
    assert candidate("demo instruction=[").settings.prompt.instruction == "["
    assert candidate("demo instruction=5").settings.prompt.instruction == "5"


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
        candidate(label)


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
        candidate(label)


def test_the_same_model_is_not_taken_twice() -> None:
    with pytest.raises(EvaluationError, match="given twice: --model 'demo'"):
        candidates(["demo", "demo fps=1", "demo"])


def test_no_two_labels_share_a_file_name() -> None:
    labels = ["demo", "demo seed=1", "demo  seed=1", f"demo instruction={300 * 'a'}"]
    labels += [f"demo instruction={300 * 'a'}b", f"demo instruction={80 * '犬'}"]
    slugs = [its.slug for its in candidates(labels)]
    assert slugs[0] == "demo"
    assert len(set(slugs)) == len(slugs)
    assert all(len(slug.encode()) < 80 and "/" not in slug and " " not in slug for slug in slugs)
