"""How a command reaches a narrator that runs somewhere else, and how Ctrl-C reaches the command."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from .require_ros import needing_ros

if TYPE_CHECKING:
    from ..ros.client import Client

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def parse_text(text: str) -> str:
    """A text as it is; a usage error for bytes that are no UTF-8, which no message can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise typer.BadParameter(f"{text!r} is no text: it must be UTF-8") from error
    return text


NodeName = Annotated[
    str,
    typer.Option("--node", help="The narrator's name.", metavar="NAME", parser=parse_text),
]

DEFAULT_NODE = "/narrator"


@contextmanager
def narrator_at(name: str) -> Iterator[Client]:
    """A client of a narrator. StreamingVLMError where ROS or this package's interfaces are missing.

    Within the block a signal ends a wait with typer.Exit; after it, the process.
    """
    with _noted_signals() as check:
        with needing_ros("asking"):
            from ..ros.client import connected
        with connected(name, check) as client:
            yield client


@contextmanager
def _noted_signals() -> Iterator[Callable[[], None]]:
    """Note Ctrl-C, a polite kill and a closed terminal, each of which `check` then raises once.

    As KeyboardInterrupt they would strike anywhere in ROS's code, which isn't made for it.
    """
    noted: deque[int] = deque()

    def note(number: int, _: object) -> None:
        noted.append(number)

    def check() -> None:
        if noted:
            raise typer.Exit(128 + noted.popleft())

    for number in _SIGNALS:
        signal.signal(number, note)
    try:
        yield check
    finally:
        # Not Python's handlers: what KeyboardInterrupt leaves unwritten is written at the end,
        # into a pipe that perhaps nobody reads.
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
    check()
