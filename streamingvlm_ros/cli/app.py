"""The commands, and how an error of ours reaches a person: as one line."""

from __future__ import annotations

import errno
import io
import os
import sys

import typer
from rich.console import Console
from rich.markup import escape

from ..atomic_write import DISK_FULL
from ..errors import StreamingVLMError
from .ask import ask
from .demo.command import demo
from .doctor import doctor
from .evaluate import evaluate
from .export import export
from .history import history
from .narrate import narrate
from .record import record
from .replay import replay

app = typer.Typer(
    name="streamingvlm",
    help="A robot that watches and speaks: StreamingVLM for ROS 2.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(demo)
app.command()(narrate)
app.command()(record)
app.command()(replay)
app.command()(evaluate)
app.command()(export)
app.command()(ask)
app.command()(history)
app.command()(doctor)

_UNWRITABLE = DISK_FULL | {errno.EBADF, errno.EPIPE}
"""How the system says that the standard output takes no more."""


def main() -> None:
    """Run the command line. Exit code 1 for an error of ours, 2 for a command that can't be."""
    try:
        _prepare_output()
        try:
            app(prog_name="streamingvlm")
        finally:
            sys.stdout.flush()  # at the interpreter's end it would be too late to say it well
    except StreamingVLMError as error:
        _tell(str(error))
        sys.exit(1)
    except OSError as error:
        file = error.filename2 or error.filename
        if file is not None:
            _tell(f"{file}: {error.strerror}")
            sys.exit(1)
        if error.errno not in _UNWRITABLE:
            raise
        _drop_output()
        if error.errno != errno.EPIPE:  # who went away needs no word
            _tell(f"can't write the output: {error.strerror}")
        sys.exit(1)
    except KeyboardInterrupt:  # before a command has begun
        sys.exit(130)


def _prepare_output() -> None:
    """Let no text fail because of the output's encoding. StreamingVLMError if it is closed."""
    if sys.stdout is None:
        raise StreamingVLMError("the standard output is closed: >/dev/null throws it away")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _drop_output() -> None:
    """Else Python would try once more, and complain, when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell(error: str) -> None:
    Console(stderr=True, highlight=False).print(
        f"[bold red]error:[/] {escape(error)}", soft_wrap=True
    )
