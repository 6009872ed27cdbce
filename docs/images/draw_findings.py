"""Draw findings.svg from the results of perf/findings.py.

Usage: `python docs/images/draw_findings.py FOLDER`. Needs matplotlib. Each point is one minute of
all worlds; round times are medians.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

MINUTE = 60
STYLES = {
    "as it is: rolling, contiguous": ("#0072b2", "-"),
    "sliding, recomputed": ("#56b4e9", "--"),
    "vision window 32 s": ("#e69f00", "-"),
    "all text is kept": ("#d55e00", "-"),
    "vision window 0 s": ("#999999", "-"),
}
"""Colour and line style by variant, in colours that nearly everybody can tell apart (Okabe and
Ito 2008)."""


def by_minute(worlds: list[dict[str, Any]], variant: str, *, field: str) -> np.ndarray[Any, Any]:
    """Return an array of (minutes, values of all worlds)."""
    values = np.array([world[variant][field] for world in worlds], float)
    minutes = values.shape[1] // MINUTE
    full = values[:, : minutes * MINUTE].reshape(len(worlds), minutes, MINUTE)
    return full.transpose(1, 0, 2).reshape(minutes, -1)


def main() -> None:
    """Draw accuracy and cost side by side."""
    worlds = [json.loads(path.read_text()) for path in sorted(Path(sys.argv[1]).glob("*.json"))]
    plt.rcParams.update({"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9})
    figure, (accuracy, cost) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for variant, (colour, dashes) in STYLES.items():
        shares = by_minute(worlds, variant, field="right").mean(1) * 100
        times_ms = np.median(by_minute(worlds, variant, field="round_ms"), axis=1)
        minutes = np.arange(len(shares)) + 0.5
        accuracy.plot(minutes, shares, colour, linestyle=dashes, label=variant)
        cost.plot(minutes, times_ms, colour, linestyle=dashes)
    accuracy.set(xlabel="minutes of stream", ylabel="correct narrations, %", ylim=(0, 102))
    cost.set(xlabel="minutes of stream", ylabel="round time, ms", ylim=(0, None))
    for axes in (accuracy, cost):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(Path(__file__).with_name("findings.svg"))


if __name__ == "__main__":
    main()
