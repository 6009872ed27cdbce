"""How a demo looks in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from ...types import NS_PER_S, Image
from ..narration_formats import format_clock
from .picture import Picture
from .scoreboard import Scoreboard, Second, Summary

Refresh = Callable[[Image | None], None]
"""Draws anew what the scoreboard knows, beside the newest picture of the camera."""

_PICTURE_COLUMNS = 40
_TEXT_COLUMNS = 80
"""Width that the table needs before a picture may stand beside it."""

_FIXED_COLUMNS = 36
"""Of the table's width: what isn't truth or narration, with all borders and gaps."""

_FIXED_LINES = 8
"""Of the view's height: what isn't a second."""

_ROUNDS_PER_LINE = 10


@contextmanager
def live_view(scoreboard: Scoreboard, seed: int) -> Iterator[Refresh]:
    """A table that fills the terminal and stays there at the end."""
    console = Console(highlight=False)
    waiting = Spinner("dots", " starting the camera and the narrator")
    newest: RenderableType = waiting

    with Live(waiting, console=console, auto_refresh=False, screen=console.is_terminal) as live:

        def refresh(image: Image | None) -> None:
            nonlocal newest
            newest = demo_panel(scoreboard, seed, image, console) if scoreboard.rounds else waiting
            live.update(newest, refresh=True)

        try:
            yield refresh
        finally:
            live.stop()
            if scoreboard.rounds:
                console.print(newest)


@contextmanager
def headless_view(scoreboard: Scoreboard, seed: int) -> Iterator[Refresh]:
    """A line on the standard error every few rounds."""
    console = Console(stderr=True, highlight=False)
    console.print(f"world {seed}: starting the camera and the narrator")
    told = 0

    def refresh(image: Image | None) -> None:
        nonlocal told
        if scoreboard.rounds >= told + _ROUNDS_PER_LINE:
            told = scoreboard.rounds
            console.print(totals(scoreboard.summary()), soft_wrap=True)

    yield refresh


def demo_panel(
    scoreboard: Scoreboard, seed: int, image: Image | None, console: Console
) -> RenderableType:
    """The newest seconds that fit into the terminal, the camera's picture, and the totals."""
    beside = _PICTURE_COLUMNS + 2
    picture = None
    if image is not None and console.width >= _TEXT_COLUMNS + beside and console.color_system:
        picture = Picture(image, _PICTURE_COLUMNS)
    width = console.width - (beside if picture else 0)
    seconds = _newest(scoreboard.seconds(), console, width, console.height - 1 - _FIXED_LINES)
    body = _table(seconds, scoreboard.seconds()[0].start_ns)
    if picture:
        body = _side_by_side(body, picture)
    return Panel(
        Group(body, totals(scoreboard.summary())),
        title=f"[bold]streamingvlm demo[/] · world {seed}",
        subtitle="[dim]Ctrl-C ends it[/]",
        border_style="blue",
    )


def totals(summary: Summary) -> Text:
    """One line: how right, how late, how much was missed."""
    if summary.accuracy is None:
        return Text("nothing was narrated")
    good = summary.accuracy >= 0.95
    return Text.assemble(
        (f"{summary.accuracy:.1%} right", "bold green" if good else "bold yellow"),
        f" of {summary.rounds} rounds",
        (f"  ·  lag {summary.lag_p50_s:.2f} s, 95 % below {summary.lag_p95_s:.2f} s", "dim"),
        (f"  ·  {summary.dropped_frames} frames dropped", "dim"),
    )


def _newest(seconds: list[Second], console: Console, width: int, height: int) -> list[Second]:
    """The last seconds that fit into `height` lines, the newest of them at any rate."""
    column = max(8, (width - _FIXED_COLUMNS) // 2)
    start, used = len(seconds), 0
    while start > 0:
        texts = (seconds[start - 1].truth or "", seconds[start - 1].narration or "")
        used += max(len(Text(text).wrap(console, column)) for text in texts)
        if used > height and start < len(seconds):
            break
        start -= 1
    return seconds[start:]


def _table(seconds: list[Second], first_ns: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False)
    table.add_column("second", justify="right", style="dim", width=7)
    table.add_column("truth", ratio=1)
    table.add_column("narration", ratio=1)
    table.add_column("", width=1)
    table.add_column("lag", justify="right", style="dim", width=7)
    for second in seconds:
        style = "green" if second.right else "red"
        table.add_row(
            format_clock((second.start_ns - first_ns) / NS_PER_S),
            _said(second.truth, "(not heard)", ""),
            _said(second.narration, "(skipped)", style),
            Text("✓" if second.right else "✗", style=style),
            "" if second.lag_s is None else f"{second.lag_s:.2f} s",
        )
    return table


def _said(text: str | None, unknown: str, style: str) -> Text:
    """A text that is missing and one that is silent look different."""
    if text is None:
        return Text(unknown, style="dim italic")
    return Text(text, style=style) if text else Text("(silence)", style="dim italic")


def _side_by_side(table: Table, picture: Picture) -> Table:
    grid = Table.grid(padding=(1, 1, 0, 1), expand=True)
    grid.add_column(width=_PICTURE_COLUMNS)
    grid.add_column(ratio=1)
    grid.add_row(picture, table)
    return grid
