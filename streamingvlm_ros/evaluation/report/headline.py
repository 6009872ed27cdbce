"""What was compared, on what, and how it ended: the page's first lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...time_format import format_clock
from ..result import ORIGINAL, Result
from .timeline import length_s

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rank:
    """A score (0 to 1) of a model, or of a control."""

    label: str
    score: float
    control: bool


_SHOWN = {
    ORIGINAL: "",
    "no frames": "without frames",
    "shuffled frames": "with frames of other times",
}


def compared(results: Mapping[str, Sequence[Result]], rows: Sequence[Row]) -> str:
    """How many models, on how much; `results` are those of each recording."""
    first = [its[0] for its in results.values()]
    said = sum(len(result["reference"]) for result in first)
    asked = sum(len({str(a["asked"]) for a in result["answers"]}) for result in first)
    length = format_clock(sum(length_s(its) for its in results.values()))
    parts = [
        f"{_count(len({row['model'] for row in rows}), 'model')} on "
        f"{_count(len(results), 'recording')} of {length} in all",
        f"{said:,} utterances of reference" if said else "",
        _count(asked, "question") if asked else "",
        "with controls" if any(row["control"] != ORIGINAL for row in rows) else "",
    ]
    return ", ".join(filter(None, parts)) + "."


def verdicts(rows: Sequence[Row]) -> dict[str, list[Rank]]:
    """By score: every model, the best first, and then what the best owes to the pictures."""
    modes = dict.fromkeys(mode for row in rows for mode in row["questions"])
    told = [(row, (row["narration"] or {}).get("rouge_l")) for row in rows]
    found = {"Narration (ROUGE-L)": _ranks(told)}
    for mode in modes:
        shares = [(row, row["questions"].get(mode)) for row in rows]
        found[f"Right answers ({mode})"] = _ranks(shares)
    return {name: ranks for name, ranks in found.items() if ranks}


def skipped(results: Sequence[Result]) -> dict[tuple[str, str], list[str]]:
    """Which models were not tried on a recording, by the recording and the reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for result in results:
        if "skipped" in result:
            request = result["request"]
            trial = f"{request['model']} {_shown(request)}"
            found.setdefault((request["item"], result["skipped"]), []).append(trial.strip())
    return found


def differing(results: Sequence[Result]) -> dict[str, dict[str, Any]]:
    """Settings that are not the same for all models: by setting, each model's."""
    models = {r["request"]["model"]: r["request"]["settings"] for r in results}
    names = dict.fromkeys(name for settings in models.values() for name in settings)
    return {
        name: {model: settings.get(name) for model, settings in models.items()}
        for name in names
        if len({str(settings.get(name)) for settings in models.values()}) > 1
    }


def _ranks(scores: Sequence[tuple[Row, float | None]]) -> list[Rank]:
    known = [(row, score) for row, score in scores if score is not None]
    seen = sorted((its for its in known if its[0]["control"] == ORIGINAL), key=lambda its: -its[1])
    return [Rank(row["model"], score, False) for row, score in seen] + [
        Rank(f"{row['model']} {_shown(row)}", score, True)
        for row, score in known
        if row["control"] != ORIGINAL and seen and row["model"] == seen[0][0]["model"]
    ]


def _shown(row: Row) -> str:
    return _SHOWN.get(row["control"], str(row["control"]))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
