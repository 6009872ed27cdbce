"""`streamingvlm history`: past narration and answers of a running narrator."""

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
from .connection import DEFAULT_NODE, NodeName, connect_to_narrator, parse_text
from .console import stderr_console, without_control_characters
from .times import format_time, parse_time

if TYPE_CHECKING:
    from ..history.types import Entry

_TIME_FORMS = "seconds (1830.5), a time today (14:02) or a local date and time (2026-11-21T14:02)"


def history(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            help="Search for entries that contain any of these words. Default: the newest entries.",
            show_default=False,
            parser=parse_text,
        ),
    ] = None,
    since: Annotated[
        int | None,
        typer.Option(
            parser=parse_time, metavar="TIME", help=f"Only entries after this time: {_TIME_FORMS}."
        ),
    ] = None,
    *,
    until: Annotated[
        int | None,
        typer.Option(parser=parse_time, metavar="TIME", help="Only entries before this time."),
    ] = None,
    limit: Annotated[int, typer.Option(help="Maximum number of entries.", min=1, max=10_000)] = 100,
    node: NodeName = DEFAULT_NODE,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line and entry.")
    ] = False,
) -> None:
    """Show past narration and answers of a running narrator: the newest, or by search words."""
    if since is not None and until is not None and until < since:
        raise typer.BadParameter("--until is before --since; swap them")
    console = stderr_console()
    with console.status(f"Asking {node}"), connect_to_narrator(node) as client:
        entries, more = client.history(
            since_ns=since or 0, until_ns=until or 0, words=" ".join(words or ()), limit=limit
        )
    if as_json:
        for entry in entries:
            print(json.dumps(_record(entry), ensure_ascii=False))
    else:
        _print_entries(entries, date.today())
    if not entries:
        console.print("No entries match.")
    if more:
        console.print("There are more entries; raise --limit or narrow the search.")


def _print_entries(entries: Sequence[Entry], today: date) -> None:
    """Print one line per entry; on a terminal, longer text wraps within its column."""
    console = Console(highlight=False)
    times = [format_time(_stamp_ns(entry), today) for entry in entries]
    if not console.is_terminal:
        for time, entry in zip(times, entries, strict=True):
            print(time, _entry_text(entry).plain, sep="  ")
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim", justify="right")
    table.add_column()
    for time, entry in zip(times, entries, strict=True):
        table.add_row(time, _entry_text(entry))
    console.print(table)


def _stamp_ns(entry: Entry) -> int:
    """Return the time to display: a narration's start; for an answer, the end of what was seen."""
    return entry.end_ns if entry.question else entry.start_ns


def _entry_text(entry: Entry) -> Text:
    camera = (f"{entry.camera}: ", "dim") if entry.camera else ""
    if not entry.question:
        return Text.assemble(camera, _one_line(entry.text))
    question, answer = _one_line(entry.question), _one_line(entry.text)
    return Text.assemble(camera, ("Q: ", "bold"), question, ("  A: ", "bold"), answer)


def _one_line(text: str) -> str:
    return without_control_characters(" ".join(text.split()))


def _record(entry: Entry) -> dict[str, Any]:
    return {
        "start_s": entry.start_ns / NS_PER_S,
        "end_s": entry.end_ns / NS_PER_S,
        "text": entry.text,
        "question": entry.question,
        "camera": entry.camera,
    }
