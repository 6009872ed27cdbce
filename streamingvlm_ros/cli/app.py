"""The commands. Errors of this package are reported in one line."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Annotated

import typer

import streamingvlm_ros

from ..atomic_write import DISK_FULL
from ..errors import StreamingVLMError
from .ask import ask
from .console import print_error
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
    help="Live commentary on a robot's cameras, and answers to your questions: "
    "StreamingVLM for ROS 2.",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"streamingvlm {streamingvlm_ros.__version__}")
        raise typer.Exit


@app.callback()
def _options_without_a_command(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Declare the options that come before a command."""


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
"""Error numbers of a standard output that can't be written."""


def main() -> None:
    """Run the command line.

    Exits with 1 after an error of this package, with 2 after a usage error.
    """
    try:
        _prepare_output()
        try:
            app(prog_name="streamingvlm")
        finally:
            sys.stdout.flush()  # at interpreter exit a failure can no longer be reported well
    except StreamingVLMError as error:
        print_error(str(error))
        sys.exit(1)
    except OSError as error:
        file = error.filename2 or error.filename
        if file is not None:
            print_error(f"{file}: {error.strerror}")
            sys.exit(1)
        if error.errno not in _UNWRITABLE:
            raise
        _discard_output()
        if error.errno != errno.EPIPE:  # the reader has closed the pipe and needs no message
            print_error(f"can't write the output: {error.strerror}")
        sys.exit(1)
    except KeyboardInterrupt:  # before a command has started
        sys.exit(130)


def _prepare_output() -> None:
    """Replace characters that the output's encoding lacks.

    Raises:
        StreamingVLMError: the standard output is closed.
    """
    if sys.stdout is None:
        raise StreamingVLMError("the standard output is closed; use >/dev/null to discard it")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _discard_output() -> None:
    """Send the rest to /dev/null: Python would fail to write it again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
