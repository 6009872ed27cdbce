"""A judge behind HTTP: here a server of the test's own, on loopback."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamingvlm_ros.errors import EvaluationError
from streamingvlm_ros.evaluation.judge import Judge, Match
from streamingvlm_ros.recordings.annotations import Utterance

from ..support.judge import fair_judge, judge_server

REFERENCE = [Utterance(n, n + 1, f"event {n}") for n in range(90)]
NOTHING = [Utterance(n, n + 1, "hm") for n in range(90)]


def test_a_fair_judge_prefers_what_is_right_in_whichever_order(tmp_path: Path) -> None:
    with judge_server(fair_judge) as s:
        judge = Judge(s.url, "any", tmp_path)
        assert judge.compare(REFERENCE, REFERENCE, NOTHING) == Match(3, 0, 0)
        assert judge.compare(REFERENCE, NOTHING, REFERENCE) == Match(0, 0, 3)
        assert judge.compare(REFERENCE, NOTHING, NOTHING) == Match(0, 3, 0)
        # Thirty seconds at a time: what a model and a person can hold together.
        assert "29 s: event 29" in s.prompts[0]
        assert "30 s" not in s.prompts[0]


def test_a_judge_who_always_prefers_the_first_decides_nothing(tmp_path: Path) -> None:
    with judge_server(lambda prompt: "1") as s:
        assert Judge(s.url, "any", tmp_path).compare(REFERENCE, REFERENCE, NOTHING).ties == 3


def test_the_same_is_asked_once_and_kept_on_disk(tmp_path: Path) -> None:
    with judge_server(fair_judge) as s:
        Judge(s.url, "any", tmp_path).compare(REFERENCE, REFERENCE, NOTHING)
        asked = len(s.prompts)
        assert asked == 6
        Judge(s.url, "any", tmp_path).compare(REFERENCE, REFERENCE, NOTHING)
        assert len(s.prompts) == asked
        Judge(s.url, "another", tmp_path).compare(REFERENCE, REFERENCE, NOTHING)
        assert len(s.prompts) == 2 * asked


def test_a_key_is_sent_only_if_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with judge_server(fair_judge) as s:
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        Judge(s.url, "one", tmp_path).compare(REFERENCE[:1], REFERENCE, NOTHING)
        monkeypatch.setenv("OPENAI_API_KEY", "secret")
        Judge(s.url, "two", tmp_path).compare(REFERENCE[:1], REFERENCE, NOTHING)
        assert s.keys == [None, None, "Bearer secret", "Bearer secret"]
    assert "secret" not in "".join(p.read_text() for p in tmp_path.iterdir())


def test_narrations_with_braces_are_judged_as_they_are(tmp_path: Path) -> None:
    odd = [Utterance(0, 1, "{second} {0}")]
    with judge_server(lambda prompt: "TIE") as s:
        Judge(s.url, "any", tmp_path).compare(REFERENCE[:1], odd, NOTHING[:1])
        assert "0 s: {second} {0}" in s.prompts[0]


def test_a_judge_that_cannot_be_reached_or_understood_is_one_clear_error(tmp_path: Path) -> None:
    judge = Judge("http://127.0.0.1:9/v1", "any", tmp_path)
    with pytest.raises(EvaluationError, match="gave no answer"):
        judge.compare(REFERENCE, REFERENCE, NOTHING)
    with (
        judge_server(lambda prompt: "It depends.") as s,
        pytest.raises(EvaluationError, match="neither 1 nor 2 nor TIE, but: It depends"),
    ):
        Judge(s.url, "any", tmp_path).compare(REFERENCE, REFERENCE, NOTHING)


def test_an_answer_without_a_verdict_is_asked_for_again(tmp_path: Path) -> None:
    says = iter(["It depends.", *["TIE"] * 6])
    with judge_server(lambda prompt: next(says)) as s:
        with pytest.raises(EvaluationError, match="It depends"):
            Judge(s.url, "any", tmp_path).compare(REFERENCE, REFERENCE, NOTHING)
        assert Judge(s.url, "any", tmp_path).compare(REFERENCE, REFERENCE, NOTHING).ties == 3


@pytest.mark.parametrize("damaged", [b"", b"[]", b'{"answer": "hm"}', b"\xff", b"{}"])
def test_a_damaged_answer_is_asked_for_again(tmp_path: Path, damaged: bytes) -> None:
    with judge_server(fair_judge) as s:
        before = Judge(s.url, "any", tmp_path).compare(REFERENCE[:1], REFERENCE, NOTHING)
        for kept in tmp_path.iterdir():
            kept.write_bytes(damaged)
        assert Judge(s.url, "any", tmp_path).compare(REFERENCE[:1], REFERENCE, NOTHING) == before
        assert len(s.prompts) == 4


@pytest.mark.parametrize("key", ["schlüssel", "secret\n"])
def test_a_key_that_cannot_be_sent_is_an_error_that_does_not_show_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(EvaluationError, match="OPENAI_API_KEY") as caught:
        Judge("http://127.0.0.1:9/v1", "any", tmp_path)
    assert key.strip() not in str(caught.value)


def test_a_prompt_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    prompt = tmp_path / "prompt.txt"
    prompt.write_bytes(b"{reference} {first} {second} \xff")
    with pytest.raises(EvaluationError, match=r"prompt\.txt can't be read"):
        Judge("http://127.0.0.1:9/v1", "any", tmp_path, prompt)


def test_a_prompt_must_have_places_for_all_three(tmp_path: Path) -> None:
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("{reference} {first}")
    with pytest.raises(EvaluationError, match=r"lacks \{second\}"):
        Judge("http://127.0.0.1:9/v1", "any", tmp_path, prompt)


def test_the_interval_is_wilsons() -> None:
    low, high = Match(8, 0, 2).interval
    assert (low, high) == (pytest.approx(0.490, abs=1e-3), pytest.approx(0.943, abs=1e-3))
    assert Match(1, 2, 1).share == 0.5
