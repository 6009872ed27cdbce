"""A judge's verdict, read from the reply of a language model."""

from __future__ import annotations

import json
import re
from enum import Enum
from typing import Any


class Verdict(Enum):
    """The better of two narrations, as the judge names it."""

    FIRST = "1"
    SECOND = "2"
    TIE = "TIE"


_WORDS = {**{verdict.value: verdict for verdict in Verdict}, "NEITHER": Verdict.TIE}
_KEYS = ("verdict", "winner", "answer", "better", "choice")
_NAMED = re.compile(r"(?<![\w.:])(1|2|TIE|NEITHER)(?![.:]?\d|\w)")
"""A verdict in a sentence. Other numbers hold none: "1.5", "0:01", "12", "1st"."""
_DENIAL = re.compile(r"\b(NOT|WORSE|WRONG)\b|N['\u2019]T\b")
_EDGES = re.compile(r"^[\W_]+|[\W_]+$")


def parse_verdict(reply: str) -> Verdict | None:
    """Return the verdict of a reply; None if it is unclear, which is never a vote.

    A JSON object has it under `verdict`, `winner`, `answer`, `better` or `choice`. Otherwise it is
    the last line that holds nothing else, but perhaps a label: "2", "Answer: **2**". Without such
    a line it is the only one that the reply names: "Narration 2 is better."
    """
    record = _json_object(reply)
    if record is not None:
        values = [value for key, value in record.items() if key.lower() in _KEYS]
        return _agreed([_stated(str(value)) for value in values])
    stated = [verdict for line in reply.splitlines() if (verdict := _stated(line))]
    return stated[-1] if stated else _only_one_named(reply.upper())


def _stated(line: str) -> Verdict | None:
    """Return the verdict of a line that holds nothing else, but perhaps a label before a colon."""
    label, _, value = _bare(line.upper().replace("=", ":")).rpartition(":")
    if _NAMED.search(label):  # such as the scores of both
        return None
    return _WORDS.get(_bare(_bare(value).removeprefix("NARRATION")))


def _only_one_named(reply: str) -> Verdict | None:
    if _DENIAL.search(reply):
        return None
    return _agreed([_WORDS[name] for name in _NAMED.findall(reply)])


def _agreed(verdicts: list[Verdict | None]) -> Verdict | None:
    return verdicts[0] if len(set(verdicts)) == 1 else None


def _json_object(reply: str) -> dict[str, Any] | None:
    """Return the last JSON object in a reply; None if there is none."""
    record: dict[str, Any] | None = None
    for brace in re.finditer("{", reply):
        try:
            record, _ = json.JSONDecoder().raw_decode(reply, brace.start())
        except (ValueError, RecursionError):
            continue
    return record


def _bare(text: str) -> str:
    """Return a text without brackets, quotes, emphasis and other marks around it."""
    return _EDGES.sub("", text)
