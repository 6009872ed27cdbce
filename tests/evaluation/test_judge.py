"""The judge, asked over HTTP on loopback."""

from __future__ import annotations

import base64
import logging
from pathlib import Path

import pytest

from streamingvlm_ros.errors import EvaluationError
from streamingvlm_ros.evaluation.judge import Judge, Match
from streamingvlm_ros.recordings.annotations import Utterance

from ..support.judge import fair_judge, judge_server

REFERENCE = [Utterance(n, n + 1, f"event {n}") for n in range(90)]
NOTHING = [Utterance(n, n + 1, "hm") for n in range(90)]


def test_a_fair_judge_prefers_the_right_narration_in_either_order(tmp_path: Path) -> None:
    with judge_server(fair_judge) as s:
        judge = Judge(s.url, "any", cache=tmp_path)
        assert judge.compare(REFERENCE, REFERENCE, other=NOTHING) == Match(3, 0, 0)
        assert judge.compare(REFERENCE, NOTHING, other=REFERENCE) == Match(0, 0, 3)
        assert judge.compare(REFERENCE, NOTHING, other=NOTHING) == Match(0, 3, 0)
        # Segments of thirty seconds
        assert "29 s: event 29" in s.prompts[0]
        assert "30 s" not in s.prompts[0]


def test_a_judge_that_always_prefers_the_first_narration_only_gives_ties(tmp_path: Path) -> None:
    with judge_server(lambda prompt: "1") as s:
        assert (
            Judge(s.url, "any", cache=tmp_path).compare(REFERENCE, REFERENCE, other=NOTHING).ties
            == 3
        )


def test_verdicts_are_cached_on_disk(tmp_path: Path) -> None:
    with judge_server(fair_judge) as s:
        Judge(s.url, "any", cache=tmp_path).compare(REFERENCE, REFERENCE, other=NOTHING)
        prompts = len(s.prompts)
        assert prompts == 6
        Judge(s.url, "any", cache=tmp_path).compare(REFERENCE, REFERENCE, other=NOTHING)
        assert len(s.prompts) == prompts
        Judge(s.url, "another", cache=tmp_path).compare(REFERENCE, REFERENCE, other=NOTHING)
        assert len(s.prompts) == 2 * prompts


def test_a_key_is_sent_only_if_one_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with judge_server(fair_judge) as s:
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        Judge(s.url, "one", cache=tmp_path).compare(REFERENCE[:1], REFERENCE, other=NOTHING)
        monkeypatch.setenv("OPENAI_API_KEY", "secret")
        Judge(s.url, "two", cache=tmp_path).compare(REFERENCE[:1], REFERENCE, other=NOTHING)
        assert s.keys == [None, None, "Bearer secret", "Bearer secret"]
    assert "secret" not in "".join(p.read_text() for p in tmp_path.iterdir())


def test_braces_in_narrations_are_not_placeholders(tmp_path: Path) -> None:
    odd = [Utterance(0, 1, "{second} {0}")]
    with judge_server(lambda prompt: "TIE") as s:
        Judge(s.url, "any", cache=tmp_path).compare(REFERENCE[:1], odd, other=NOTHING[:1])
        assert "0 s: {second} {0}" in s.prompts[0]


def test_an_unreachable_or_unclear_judge_is_an_error(tmp_path: Path) -> None:
    judge = Judge("http://127.0.0.1:9/v1", "any", cache=tmp_path)
    with pytest.raises(EvaluationError, match="gave no answer"):
        judge.compare(REFERENCE, REFERENCE, other=NOTHING)
    with (
        judge_server(lambda prompt: "It depends.") as s,
        pytest.raises(EvaluationError, match="neither 1 nor 2 nor TIE: It depends"),
    ):
        Judge(s.url, "any", cache=tmp_path).compare(REFERENCE, REFERENCE, other=NOTHING)


def test_a_request_without_a_verdict_is_repeated(tmp_path: Path) -> None:
    replies = iter(["It depends.", *["TIE"] * 6])
    with judge_server(lambda prompt: next(replies)) as s:
        with pytest.raises(EvaluationError, match="It depends"):
            Judge(s.url, "any", cache=tmp_path).compare(REFERENCE, REFERENCE, other=NOTHING)
        assert (
            Judge(s.url, "any", cache=tmp_path).compare(REFERENCE, REFERENCE, other=NOTHING).ties
            == 3
        )


@pytest.mark.parametrize("damaged", [b"", b"[]", b'{"answer": "hm"}', b"\xff", b"{}"])
def test_a_damaged_cache_file_is_replaced(tmp_path: Path, damaged: bytes) -> None:
    with judge_server(fair_judge) as s:
        before = Judge(s.url, "any", cache=tmp_path).compare(
            REFERENCE[:1], REFERENCE, other=NOTHING
        )
        for file in tmp_path.iterdir():
            file.write_bytes(damaged)
        assert (
            Judge(s.url, "any", cache=tmp_path).compare(REFERENCE[:1], REFERENCE, other=NOTHING)
            == before
        )
        assert len(s.prompts) == 4


@pytest.mark.parametrize("key", ["schlüssel", "secret\n"])
def test_an_unusable_key_is_an_error_that_does_not_show_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(EvaluationError, match="OPENAI_API_KEY") as caught:
        Judge("http://127.0.0.1:9/v1", "any", cache=tmp_path)
    assert key.strip() not in str(caught.value)


def test_a_prompt_file_that_is_not_text_is_an_error(tmp_path: Path) -> None:
    prompt = tmp_path / "prompt.txt"
    prompt.write_bytes(b"{reference} {first} {second} \xff")
    with pytest.raises(EvaluationError, match=r"prompt\.txt can't be read"):
        Judge("http://127.0.0.1:9/v1", "any", cache=tmp_path, prompt=prompt)


def test_a_prompt_must_have_all_three_placeholders(tmp_path: Path) -> None:
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("{reference} {first}")
    with pytest.raises(EvaluationError, match=r"lacks \{second\}"):
        Judge("http://127.0.0.1:9/v1", "any", cache=tmp_path, prompt=prompt)


def test_the_interval_is_wilsons_score_interval() -> None:
    low, high = Match(8, 0, 2).interval
    assert (low, high) == (pytest.approx(0.490, abs=1e-3), pytest.approx(0.943, abs=1e-3))
    assert Match(1, 2, 1).share == 0.5


SECRET = "s3cret"


def with_password(url: str, password: str = SECRET) -> str:
    return url.replace("http://", f"http://robot:{password}@")


def test_a_password_in_the_url_is_sent_and_written_nowhere(tmp_path: Path) -> None:
    with judge_server(fair_judge) as s:
        judge = Judge(with_password(s.url) + "/?token=t0ken#x", "any", cache=tmp_path)
        assert judge.compare(REFERENCE[:1], REFERENCE, other=NOTHING).count == 1
        assert set(s.keys) == {f"Basic {base64.b64encode(f'robot:{SECRET}'.encode()).decode()}"}
        assert {path.partition("?")[2] for path in s.paths} == {"token=t0ken"}
        # The same endpoint has the same cache, whoever asks.
        Judge(s.url, "any", cache=tmp_path).compare(REFERENCE[:1], REFERENCE, other=NOTHING)
        assert len(s.prompts) == 2
    written = "".join(file.read_text() for file in tmp_path.iterdir())
    assert SECRET not in written
    assert "t0ken" not in written


@pytest.mark.parametrize(
    ("path", "reason"), [("/v2", "HTTP 404 Not Found"), ("/v1", "ConnectError")]
)
def test_a_password_in_the_url_is_not_shown_by_errors(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str, reason: str
) -> None:
    caplog.set_level(logging.DEBUG)
    with judge_server(fair_judge) as s:
        url = with_password(s.url).replace("/v1", path)
        if reason == "ConnectError":
            url = with_password("http://127.0.0.1:9/v1")
        judge = Judge(f"{url}?token=t0ken", "any", cache=tmp_path)
        with pytest.raises(EvaluationError, match=reason) as caught:
            judge.compare(REFERENCE, REFERENCE, other=NOTHING)
    shown = f"{caught.value} {caught.value!r} {vars(judge)}"
    assert SECRET not in shown + caplog.text
    assert "t0ken" not in shown


@pytest.mark.parametrize(
    "url",
    [
        *("http://robot:s3/cret@host/v1", "http://robot:s3#cret@host/v1", "s3cret", ""),
        *("ftp://robot:s3cret@host/v1", "http://robot:s3cret@/v1", "http://robot:s3?cret@host"),
    ],
)
def test_an_impossible_url_is_refused_without_being_shown(tmp_path: Path, url: str) -> None:
    with pytest.raises(
        EvaluationError, match="must be one like http://localhost:8000/v1"
    ) as caught:
        Judge(url, "any", cache=tmp_path)
    assert "s3" not in str(caught.value)
