"""Draw findings.svg from what perf/findings.py kept: python docs/images/draw_findings.py RUN.

Needs matplotlib. A point is a minute of all worlds; times of a round are medians.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

MINUTE = 60
DRAWN = {
    "as it is: rolling, contiguous": ("#0072b2", "-"),
    "sliding, recomputed": ("#56b4e9", "--"),
    "vision window 32 s": ("#e69f00", "-"),
    "all text is kept": ("#d55e00", "-"),
    "vision window 0 s": ("#999999", "-"),
}
"""Colours that can be told apart by nearly everybody (Okabe and Ito 2008)."""


def by_minute(worlds: list[dict[str, Any]], way: str, kind: str) -> np.ndarray[Any, Any]:
    """(minutes, values of all worlds)."""
    values = np.array([world[way][kind] for world in worlds], float)
    minutes = values.shape[1] // MINUTE
    whole = values[:, : minutes * MINUTE].reshape(len(worlds), minutes, MINUTE)
    return whole.transpose(1, 0, 2).reshape(minutes, -1)


def main() -> None:
    """Two drawings side by side: what is right, and what it costs."""
    worlds = [json.loads(path.read_text()) for path in sorted(Path(sys.argv[1]).glob("*.json"))]
    plt.rcParams.update({"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9})
    figure, (right, cost) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for way, (colour, dashes) in DRAWN.items():
        shares = by_minute(worlds, way, "right").mean(1) * 100
        times_ms = np.median(by_minute(worlds, way, "round_ms"), axis=1)
        minutes = np.arange(len(shares)) + 0.5
        right.plot(minutes, shares, colour, linestyle=dashes, label=way)
        cost.plot(minutes, times_ms, colour, linestyle=dashes)
    right.set(xlabel="minutes of stream", ylabel="narrations right, %", ylim=(0, 102))
    cost.set(xlabel="minutes of stream", ylabel="time of a round, ms", ylim=(0, None))
    for axes in (right, cost):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(Path(__file__).with_name("findings.svg"))


if __name__ == "__main__":
    main()
