"""The commands, and how an error of ours reaches a person: as one line."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.markup import escape

from ..errors import StreamingVLMError
from .ask import ask
from .demo import demo
from .doctor import doctor
from .history import history
from .narrate import narrate

app = typer.Typer(
    name="streamingvlm",
    help="A robot that watches and speaks: StreamingVLM for ROS 2.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(demo)
app.command()(narrate)
app.command()(ask)
app.command()(history)
app.command()(doctor)


def main() -> None:
    """Run the command line. Exit code 1 for an error of ours, 2 for a command that can't be."""
    try:
        app(prog_name="streamingvlm")
    except StreamingVLMError as error:
        Console(stderr=True, highlight=False).print(
            f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True
        )
        sys.exit(1)
    except KeyboardInterrupt:  # before a command has begun
        sys.exit(130)
