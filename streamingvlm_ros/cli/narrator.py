"""How a command reaches a narrator that runs somewhere else, and how Ctrl-C reaches the command."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import StreamingVLMError

if TYPE_CHECKING:
    from ..ros.client import Client

NodeName = Annotated[str, typer.Option("--node", help="The narrator's name.", metavar="NAME")]

DEFAULT_NODE = "/narrator"


@contextmanager
def narrator_at(name: str) -> Iterator[Client]:
    """A client of a narrator. StreamingVLMError where ROS or this package's interfaces are missing.

    From here to the end of the process a signal ends a wait with typer.Exit.
    """
    check = _note_signals()
    try:
        from ..ros.client import connected
    except ImportError as error:
        raise StreamingVLMError(
            f"asking needs ROS 2 and this package's interfaces ({error}): `streamingvlm doctor` "
            "says what to do"
        ) from error
    with connected(name, check) as client:
        yield client


def _note_signals() -> Callable[[], None]:
    """Note Ctrl-C, a polite kill and a closed terminal, each of which `check` then raises once.

    As KeyboardInterrupt they would strike anywhere in ROS's code, which isn't made for it.
    """
    noted: deque[int] = deque()

    def note(number: int, _: object) -> None:
        noted.append(number)

    def check() -> None:
        if noted:
            raise typer.Exit(128 + noted.popleft())

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, note)
    return check
