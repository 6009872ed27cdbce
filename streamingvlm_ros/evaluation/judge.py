"""A language model as judge of two narrations: any endpoint that speaks OpenAI's protocol."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import httpx2

from ..atomic_write import write_text
from ..errors import EvaluationError
from ..recordings.annotations import Utterance

PROMPT = Path(__file__).with_name("judge_prompt.txt")
KEY = "OPENAI_API_KEY"
"""Environment variable with the endpoint's key, if it wants one."""

SEGMENT_S = 30.0
"""Length of what is judged at once."""

_TIMEOUT_S = 120.0
_Z = 1.96


class Verdict(Enum):
    """What is better."""

    FIRST = "1"
    SECOND = "2"
    TIE = "TIE"


@dataclass(frozen=True, slots=True)
class Match:
    """How often a narration was judged better than, equal to and worse than another."""

    wins: int
    ties: int
    losses: int

    @property
    def count(self) -> int:
        """How often they were compared."""
        return self.wins + self.ties + self.losses

    @property
    def share(self) -> float:
        """Share of wins, a tie being half a win. There must be some."""
        return (self.wins + self.ties / 2) / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the share (Wilson's score interval)."""
        n, p = self.count, self.share
        middle = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        half = _Z / (1 + _Z**2 / n) * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
        return middle - half, middle + half


class Judge:
    """Asks an endpoint, in both orders, and keeps every answer on disk: the same is asked once."""

    def __init__(self, url: str, model: str, cache: Path, prompt: Path = PROMPT) -> None:
        """`url` as OpenAI's clients take it, with its /v1. EvaluationError for an unfit prompt."""
        self._url, self._model, self._cache = url.rstrip("/"), model, cache
        try:
            self._prompt = prompt.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise EvaluationError(f"{prompt} can't be read: {error}") from error
        for name in ("{reference}", "{first}", "{second}"):
            if name not in self._prompt:
                raise EvaluationError(f"{prompt} lacks {name}: a judge's prompt needs it")
        self._client = httpx2.Client(timeout=_TIMEOUT_S, headers=_headers())

    def compare(
        self, reference: Sequence[Utterance], one: Sequence[Utterance], other: Sequence[Utterance]
    ) -> Match:
        """`one` against `other`, segment by segment of the reference, which must not be empty."""
        verdicts = [
            self._both_orders(_told(reference, at_s), _told(one, at_s), _told(other, at_s))
            for at_s in _segments(reference)
        ]
        counts = {verdict: verdicts.count(verdict) for verdict in Verdict}
        return Match(counts[Verdict.FIRST], counts[Verdict.TIE], counts[Verdict.SECOND])

    def _both_orders(self, reference: str, one: str, other: str) -> Verdict:
        """Who stands first is preferred by many judges: what changes with the order is a tie."""
        forward = self._verdict(reference, one, other)
        backward = self._verdict(reference, other, one)
        swapped = {Verdict.FIRST: Verdict.SECOND, Verdict.SECOND: Verdict.FIRST}
        return forward if forward is swapped.get(backward, backward) else Verdict.TIE

    def _verdict(self, reference: str, first: str, second: str) -> Verdict:
        # Not str.format: what was narrated may hold braces.
        parts = {"{reference}": reference, "{first}": first, "{second}": second}
        text = re.sub("|".join(map(re.escape, parts)), lambda m: parts[m[0]], self._prompt)
        message = {"role": "user", "content": text}
        asked = {"model": self._model, "temperature": 0, "messages": [message]}
        name = hashlib.sha256(json.dumps([self._url, asked]).encode()).hexdigest()
        kept = self._cache / f"{name[:32]}.json"
        return _verdict_in(_kept(kept)) or self._new_verdict(asked, kept)

    def _new_verdict(self, asked: dict[str, Any], kept: Path) -> Verdict:
        """Asks; an answer is kept only if there is a verdict in it: the others are asked again."""
        answer = self._answer(asked)
        verdict = _verdict_in(answer)
        if verdict is None:
            raise EvaluationError(f"the judge said neither 1 nor 2 nor TIE, but: {answer[:200]}")
        self._cache.mkdir(parents=True, exist_ok=True)
        write_text(kept, json.dumps({"asked": asked, "answer": answer}, indent=1))
        return verdict

    def _answer(self, asked: dict[str, Any]) -> str:
        try:
            response = self._client.post(f"{self._url}/chat/completions", json=asked)
            response.raise_for_status()
            return str(response.json()["choices"][0]["message"]["content"])
        except (httpx2.HTTPError, ValueError, LookupError, TypeError) as error:
            raise EvaluationError(f"the judge at {self._url} gave no answer: {error!r}") from error


def _headers() -> dict[str, str]:
    key = os.environ.get(KEY)
    if not key:
        return {}
    # Said here: the client's own error would show it.
    if not (key.isascii() and key.isprintable()):
        raise EvaluationError(f"{KEY} holds signs that no key has, perhaps a line's end")
    return {"Authorization": f"Bearer {key}"}


def _kept(file: Path) -> str:
    """The answer in a file; nothing if there is none, or the file is damaged."""
    try:
        return str(json.loads(file.read_text("utf-8"))["answer"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def _verdict_in(answer: str) -> Verdict | None:
    words = re.findall(r"\b(1|2|TIE)\b", answer.upper())
    return Verdict(words[-1]) if words else None


def _segments(reference: Sequence[Utterance]) -> list[float]:
    """Where the segments begin that the reference says something about."""
    spoken = [its for its in reference if its.text]
    return sorted({its.start_s // SEGMENT_S * SEGMENT_S for its in spoken})


def _told(utterances: Sequence[Utterance], begin_s: float) -> str:
    """What was said in the segment, a line each with its second; '-' for nothing."""
    lines = [
        f"{its.start_s:.0f} s: {its.text}"
        for its in utterances
        if its.text and begin_s <= its.start_s < begin_s + SEGMENT_S
    ]
    return "\n".join(lines) or "-"
