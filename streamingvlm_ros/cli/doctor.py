"""`streamingvlm doctor`: what is installed, what is missing, and how to fix it."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.text import Text

from ..plural import plural
from .checks import Finding, State, run_checks

_MARKS = {
    State.OK: ("✓", "green"),
    State.OPTIONAL: ("•", "yellow"),
    State.BROKEN: ("✗", "bold red"),
}


def doctor() -> None:
    """Check the installation: Python, torch, GPU, ROS 2 and models; say how to fix problems."""
    console = Console(highlight=False)
    with console.status("Checking"):
        findings = list(run_checks())
    for finding in findings:
        # The terminal wraps long lines: a command wrapped here could not be copied.
        console.print(_line(finding), soft_wrap=True)
    broken = sum(finding.state is State.BROKEN for finding in findings)
    if broken:
        problems = plural(broken, "problem")
        console.print(f"[bold red]{problems} to fix.[/]")
        raise typer.Exit(1)
    console.print("[green]Ready: everything that this machine needs is installed.[/]")


def _line(finding: Finding) -> Text:
    mark, style = _MARKS[finding.state]
    text = Text.assemble((f"{mark} ", style), (f"{finding.subject:<14}", "bold"), finding.detail)
    if finding.remedy:
        text.append(f"\n{'':<16}→ {finding.remedy}", style=style)
    return text
