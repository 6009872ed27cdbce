"""Views of the demo: a live table in a terminal, or progress lines on standard error."""

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

from ...time_format import format_clock
from ...types import NS_PER_S, Image
from ..console import stderr_console
from .scoreboard import Scoreboard, ScoredSecond, Summary
from .terminal_image import TerminalImage

Refresh = Callable[[Image | None], None]
"""Redraws the scoreboard beside the camera's newest image."""

_IMAGE_COLUMNS = 40
_TEXT_COLUMNS = 80
"""Width that the table needs before an image fits beside it."""

_FIXED_COLUMNS = 36
"""Width of the table without truth and narration: other columns, borders and gaps."""

_FIXED_LINES = 8
"""Height of the view without the seconds: borders, header and totals."""

_ROUNDS_PER_LINE = 10


@contextmanager
def live_view(scoreboard: Scoreboard, seed: int) -> Iterator[Refresh]:
    """Fill the terminal with a table, which stays visible at the end."""
    console = Console(highlight=False)
    waiting = Spinner("dots", " Starting the camera and the narrator")
    newest: RenderableType = waiting

    with Live(waiting, console=console, auto_refresh=False, screen=console.is_terminal) as live:

        def refresh(image: Image | None) -> None:
            nonlocal newest
            if scoreboard.rounds:
                newest = demo_panel(scoreboard, console, seed=seed, image=image)
            live.update(newest, refresh=True)

        try:
            yield refresh
        finally:
            live.stop()
            if scoreboard.rounds:
                console.print(newest)


@contextmanager
def headless_view(scoreboard: Scoreboard, seed: int) -> Iterator[Refresh]:
    """Print a line on standard error every few rounds."""
    console = stderr_console()
    console.print(f"Starting the camera and the narrator (world {seed})")
    printed_rounds = 0

    def refresh(image: Image | None) -> None:
        nonlocal printed_rounds
        if scoreboard.rounds >= printed_rounds + _ROUNDS_PER_LINE:
            printed_rounds = scoreboard.rounds
            console.print(totals(scoreboard.summary()), soft_wrap=True)

    yield refresh


def demo_panel(
    scoreboard: Scoreboard, console: Console, *, seed: int, image: Image | None
) -> RenderableType:
    """Return the newest seconds that fit into the terminal, the camera's image, and the totals."""
    image_width = _IMAGE_COLUMNS + 2
    has_room = console.width >= _TEXT_COLUMNS + image_width
    show_image = image is not None and has_room and console.color_system is not None
    seconds = _newest_seconds(
        scoreboard.seconds(),
        console,
        width=console.width - (image_width if show_image else 0),
        height=console.height - 1 - _FIXED_LINES,
    )
    body = _table(seconds, scoreboard.seconds()[0].start_ns)
    if image is not None and show_image:
        body = _side_by_side(TerminalImage(image, _IMAGE_COLUMNS), body)
    return Panel(
        Group(body, totals(scoreboard.summary())),
        title=f"[bold]streamingvlm demo[/] · world {seed}",
        subtitle="[dim]Ctrl-C to stop[/]",
        border_style="blue",
    )


def totals(summary: Summary) -> Text:
    """Return one line: accuracy, lag and dropped frames."""
    if summary.accuracy is None:
        return Text("no narration yet")
    good = summary.accuracy >= 0.95
    return Text.assemble(
        (f"{summary.accuracy:.1%} correct", "bold green" if good else "bold yellow"),
        f" of {summary.rounds} rounds",
        (f"  ·  lag {summary.lag_p50_s:.2f} s (95th percentile {summary.lag_p95_s:.2f} s)", "dim"),
        (f"  ·  {summary.dropped_frames} frames dropped", "dim"),
    )


def _newest_seconds(
    seconds: list[ScoredSecond], console: Console, *, width: int, height: int
) -> list[ScoredSecond]:
    """Return the last seconds that fit into `height` lines, but at least the newest."""
    column = max(8, (width - _FIXED_COLUMNS) // 2)
    start, used = len(seconds), 0
    while start > 0:
        texts = (seconds[start - 1].truth or "", seconds[start - 1].narration or "")
        used += max(len(Text(text).wrap(console, column)) for text in texts)
        if used > height and start < len(seconds):
            break
        start -= 1
    return seconds[start:]


def _table(seconds: list[ScoredSecond], first_ns: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False)
    table.add_column("second", justify="right", style="dim", width=7)
    table.add_column("truth", ratio=1)
    table.add_column("narration", ratio=1)
    table.add_column("", width=1)
    table.add_column("lag", justify="right", style="dim", width=7)
    for second in seconds:
        style = "green" if second.correct else "red"
        table.add_row(
            format_clock((second.start_ns - first_ns) / NS_PER_S),
            _cell(second.truth, missing="(unknown)", style=""),
            _cell(second.narration, missing="(skipped)", style=style),
            Text("✓" if second.correct else "✗", style=style),
            "" if second.lag_s is None else f"{second.lag_s:.2f} s",
        )
    return table


def _cell(text: str | None, *, missing: str, style: str) -> Text:
    """Return a table cell in which missing text and silence look different."""
    if text is None:
        return Text(missing, style="dim italic")
    return Text(text, style=style) if text else Text("(silence)", style="dim italic")


def _side_by_side(image: TerminalImage, table: Table) -> Table:
    grid = Table.grid(padding=(1, 1, 0, 1), expand=True)
    grid.add_column(width=_IMAGE_COLUMNS)
    grid.add_column(ratio=1)
    grid.add_row(image, table)
    return grid
