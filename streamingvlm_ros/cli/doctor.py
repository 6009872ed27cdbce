"""`streamingvlm doctor`: what is there, what is missing, and what to do about it."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.text import Text

from .checks import Finding, State, examine

_MARKS = {
    State.OK: ("✓", "green"),
    State.OPTIONAL: ("•", "yellow"),
    State.BROKEN: ("✗", "bold red"),
}


def doctor() -> None:
    """Check Python, torch, GPU, attention, ROS, DDS profile and models: ok, or what to do."""
    console = Console(highlight=False)
    with console.status("Looking around"):
        findings = list(examine())
    for finding in findings:
        # Long lines are left to the terminal: a command that is wrapped here can't be copied.
        console.print(_line(finding), soft_wrap=True)
    broken = sum(finding.state is State.BROKEN for finding in findings)
    if broken:
        console.print(f"[bold red]{broken} to repair.[/]")
        raise typer.Exit(1)
    console.print("[green]Ready: what this machine needs is here.[/]")


def _line(finding: Finding) -> Text:
    mark, style = _MARKS[finding.state]
    text = Text.assemble((f"{mark} ", style), (f"{finding.what:<14}", "bold"), finding.detail)
    if finding.remedy:
        text.append(f"\n{'':<16}→ {finding.remedy}", style=style)
    return text
