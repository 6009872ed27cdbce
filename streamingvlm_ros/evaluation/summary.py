"""All results in a table: a row for each contestant under each control."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic_write import write_text
from .metrics import align
from .outcome import BIN_S
from .result import Result, spoken, utterances
from .trend import trend

NARRATION = ("exact", "rouge_l", "bleu", "coverage", "silence", "event_precision", "event_recall")
"""Narration scores of which there are means: weighted by the seconds that were compared."""
SPEED = ("round_p50_ms", "round_p95_ms", "times_real_time", "memory_mb")


def summarize(results: Sequence[Result]) -> list[dict[str, Any]]:
    """A row for each model and control, in the order of the results. Skipped ones count nowhere."""
    rows = dict.fromkeys((r["request"]["model"], r["request"]["control"]) for r in results)
    return [
        _row(model, control, [r for r in results if _is_of(r, model, control)])
        for model, control in rows
    ]


def write_summary(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """summary.json."""
    write_text(folder / "summary.json", json.dumps(rows, indent=1))


def _is_of(result: Result, model: str, control: str) -> bool:
    return (result["request"]["model"], result["request"]["control"]) == (model, control)


def _row(model: str, control: str, results: Sequence[Result]) -> dict[str, Any]:
    done = [r for r in results if "skipped" not in r]
    told = [r["narration"] for r in done if r["narration"]]
    modes = dict.fromkeys(mode for r in done for mode in r["questions"])
    speeds = [r["speed"] for r in done if r["speed"]]
    return {
        "model": model,
        "control": control,
        "items": len(done),
        "skipped": {r["request"]["item"]: r["skipped"] for r in results if "skipped" in r},
        "narration": {name: _mean(told, name, "seconds") for name in NARRATION} if told else None,
        "over time": asdict(_over_time(done)) if told else None,
        "questions": {mode: _mean(_of_mode(done, mode), "right", "count") for mode in modes},
        "speed": {name: _mean(speeds, name, "rounds") for name in SPEED} if speeds else None,
    }


def _of_mode(results: Sequence[Result], mode: str) -> list[dict[str, Any]]:
    return [r["questions"][mode] for r in results if mode in r["questions"]]


def _mean(records: Sequence[dict[str, Any]], name: str, weight: str) -> float | None:
    known = [(r[name], r[weight]) for r in records if r[name] is not None]
    if not known:
        return None
    values, weights = zip(*known, strict=True)
    return float(np.average(values, weights=weights))


def _over_time(results: Sequence[Result]) -> Any:
    """ROUGE-L of all items together over elapsed time."""
    pairs = [
        pair
        for result in results
        for pair in align(utterances(result, "reference"), spoken(result))
    ]
    return trend([p.reference.start_s for p in pairs], [p.rouge_l for p in pairs], BIN_S)
