"""The table of an evaluation: whole figures in terminals of any width, whole lines in pipes."""

from __future__ import annotations

import os
import pty
import re

import pytest
from rich.console import Console

from streamingvlm_ros.cli.evaluation_output import print_scores
from streamingvlm_ros.evaluation.results import Request, SkippedTrial
from streamingvlm_ros.evaluation.summary import NarrationMeans, SpeedMeans, SummaryRow
from streamingvlm_ros.evaluation.trend import Trend

from ..support.cli import read_terminal

LABELS = (
    "demo",
    "demo instruction='[b]Name [/x] every [red]colour[/red] of every box.' fps=1",
    f"/home/robot/models/{'a' * 70}",
)
MODES = ("stream", "recent", "history")
FIGURES = ["99.9", "88.8", "77.7", "66.6", "55.5", "44.4", "12345", "81234", "+12 ± 35"]


def row(model: str, control: str = "seen") -> SummaryRow:
    narration = NarrationMeans(
        exact=0.999,
        rouge_l=0.888,
        bleu=None,
        coverage=None,
        silence=None,
        event_precision=None,
        event_recall=0.777,
    )
    return SummaryRow(
        model=model,
        control=control,
        items=1,
        skipped={},
        narration=narration,
        over_time=Trend((), 0.12, -0.3, 0.4),
        questions=dict(zip(MODES, (0.666, 0.555, 0.444), strict=True)),
        tasks={},
        speed=SpeedMeans(
            round_p50_ms=12345, round_p95_ms=None, times_real_time=None, memory_mb=81234
        ),
    )


def rows() -> list[SummaryRow]:
    return [each for label in LABELS for each in (row(label), row(label, "shuffled frames"))]


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    print_scores([], rows(), console=Console(stderr=True))
    return capsys.readouterr().out


def test_a_pipe_gets_whole_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    out = printed(capsys)
    lines = [line for line in out.splitlines() if FIGURES[0] in line]
    assert len(lines) == 2 * len(LABELS)
    for label, line in zip(LABELS, lines[::2], strict=True):
        assert line.strip().startswith(label)
    for line in lines:
        assert re.search(r"\s+".join(map(re.escape, FIGURES)), line)
    assert "…" not in out


def in_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a terminal of this width shows of the table, without colours."""
    ours, theirs = pty.openpty()
    with monkeypatch.context() as patch, os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        patch.setenv("TERM", "xterm")
        patch.setenv("COLUMNS", str(columns))
        patch.setattr("sys.stdout", terminal)
        print_scores([], rows(), console=Console(stderr=True))
    return re.sub(r"\x1b\[[\d;]*m", "", read_terminal(ours)).replace("\r", "")


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_a_terminal_breaks_labels_but_shows_every_figure(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    shown = in_terminal(columns, monkeypatch)
    lines = shown.splitlines()
    for figure in FIGURES:
        assert shown.count(figure) == 2 * len(LABELS)
    assert "…" not in shown
    assert max(map(len, lines)) <= max(columns, 80)
    label_parts = [line[: line.find("99.9")] if "99.9" in line else line for line in lines]
    together = "".join("".join(label_parts).split())
    for label in LABELS:
        assert "".join(label.split()) in together


def test_brackets_in_names_and_reasons_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    odd = row("demo")
    odd.skipped = {"film [/b] [x1]": "[bold]no[/bold] video [/]"}
    request = Request(item="a", recording="a", model="demo", settings={})
    results = [SkippedTrial(request, "no video")]
    print_scores(results, [odd], console=Console(stderr=True, highlight=False))
    assert "skipped film [/b] [x1]: [bold]no[/bold] video [/]" in capsys.readouterr().err
