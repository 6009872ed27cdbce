"""Messages on standard error, and text that is safe to print on a terminal."""

from __future__ import annotations

import unicodedata

from rich.console import Console
from rich.markup import escape


def stderr_console() -> Console:
    """Return a console on standard error: standard output belongs to a command's result."""
    return Console(stderr=True, highlight=False)


def print_message(console: Console, text: str) -> None:
    """Print one line unwrapped. The terminal wraps it, so paths and commands can be copied."""
    console.print(text, markup=False, soft_wrap=True)


def print_warning(console: Console, subject: str, *, reason: str) -> None:
    """Print a warning in one line."""
    console.print(f"[yellow]{escape(subject)}:[/] {escape(reason)}", soft_wrap=True)


def print_error(message: str) -> None:
    """Print the one line of a command that failed."""
    stderr_console().print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)


def without_control_characters(text: str) -> str:
    """Return `text` without control characters except line breaks, so it can't alter a terminal."""
    return "".join(char for char in text if char == "\n" or unicodedata.category(char) != "Cc")
