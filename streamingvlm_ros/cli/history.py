"""`streamingvlm history`: what a running narrator said, and was asked, some time ago."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..types import NS_PER_S
from .ask import shown
from .connection import DEFAULT_NODE, NodeName, narrator_at, parse_text
from .times import parse_time, time_text

if TYPE_CHECKING:
    from ..history.entry import Entry

_TIME = "seconds (1830.5), a time of today (14:02) or a local date and time (2026-11-21T14:02)"


def history(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            help="What holds any of these, the best matches.", show_default=False, parser=parse_text
        ),
    ] = None,
    since: Annotated[
        int | None,
        typer.Option(parser=parse_time, metavar="TIME", help=f"From then on: {_TIME}."),
    ] = None,
    until: Annotated[
        int | None, typer.Option(parser=parse_time, metavar="TIME", help="Before then.")
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many entries.", min=1, max=10_000)] = 100,
    node: NodeName = DEFAULT_NODE,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object per entry and line.")
    ] = False,
) -> None:
    """Show what a running narrator said and answered: the newest, or what holds certain words."""
    if since is not None and until is not None and until < since:
        raise typer.BadParameter("--until is before --since: perhaps they are swapped")
    console = Console(stderr=True, highlight=False)
    with console.status(f"Asking {node}"), narrator_at(node) as client:
        entries, more = client.history(
            since_ns=since or 0, until_ns=until or 0, words=" ".join(words or ()), limit=limit
        )
    if as_json:
        for entry in entries:
            print(json.dumps(_record(entry), ensure_ascii=False))
    else:
        _show(entries, date.today())
    if not entries:
        console.print("Nothing that fits was kept.")
    if more:
        console.print("There is more: raise --limit, or ask for less.")


def _show(entries: Sequence[Entry], today: date) -> None:
    """One line per entry; on a terminal a text that needs more stays in its column."""
    console = Console(highlight=False)
    times = [time_text(_said_ns(entry), today) for entry in entries]
    if not console.is_terminal:
        for moment, entry in zip(times, entries, strict=True):
            print(moment, _said(entry).plain, sep="  ")
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim", justify="right")
    table.add_column()
    for moment, entry in zip(times, entries, strict=True):
        table.add_row(moment, _said(entry))
    console.print(table)


def _said_ns(entry: Entry) -> int:
    """A question comes after what it is asked of; its answer may speak of all of that."""
    return entry.end_ns if entry.question else entry.start_ns


def _said(entry: Entry) -> Text:
    camera = (f"{entry.camera}: ", "dim") if entry.camera else ""
    if not entry.question:
        return Text.assemble(camera, _one_line(entry.text))
    question, answer = _one_line(entry.question), _one_line(entry.text)
    return Text.assemble(camera, ("Q: ", "bold"), question, ("  A: ", "bold"), answer)


def _one_line(text: str) -> str:
    return shown(" ".join(text.split()))


def _record(entry: Entry) -> dict[str, Any]:
    return {
        "start_s": entry.start_ns / NS_PER_S,
        "end_s": entry.end_ns / NS_PER_S,
        "text": entry.text,
        "question": entry.question,
        "camera": entry.camera,
    }
