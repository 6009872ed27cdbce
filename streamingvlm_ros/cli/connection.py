"""Connection of a command to a narrator in another process, interruptible by signals."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from .ros_environment import require_ros

if TYPE_CHECKING:
    from ..ros.client import Client

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def parse_text(text: str) -> str:
    """Return the text. Bytes that aren't UTF-8 are a usage error: no message holds them.

    Python hides bytes that the locale can't decode. In the locale "C", UTF-8 is among them.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        try:
            return os.fsencode(text).decode()
        except UnicodeError as error:
            raise typer.BadParameter(f"{text!r} isn't valid UTF-8 text") from error
    return text


NodeName = Annotated[
    str,
    typer.Option("--node", help="Name of the narrator node.", metavar="NAME", parser=parse_text),
]

DEFAULT_NODE = "/narrator"


@contextmanager
def connect_to_narrator(name: str) -> Iterator[Client]:
    """Yield a client of the narrator `name`.

    Within the block a signal ends a wait with typer.Exit. After the block, signals end the process.

    Raises:
        StreamingVLMError: ROS or this package's interfaces are missing.
    """
    with _deferred_signals() as check:
        with require_ros("asking"):
            from ..ros.client import connected
        with connected(name, check) as client:
            yield client


@contextmanager
def _deferred_signals() -> Iterator[Callable[[], None]]:
    """Record SIGINT, SIGTERM and SIGHUP; `check` raises typer.Exit once for each.

    A KeyboardInterrupt could be raised anywhere in ROS's code, which doesn't expect it. A signal
    that was ignored from the start (nohup, a background job) stays ignored.
    """
    received: deque[int] = deque()

    def on_signal(number: int, _: object) -> None:
        received.append(number)

    def check() -> None:
        if received:
            raise typer.Exit(128 + received.popleft())

    handled = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    for number in handled:
        signal.signal(number, on_signal)
    try:
        yield check
    finally:
        # Not Python's own handler: after a KeyboardInterrupt, Python still flushes its output at
        # exit, and blocks if that is a pipe that nobody reads.
        for number in handled:
            signal.signal(number, signal.SIG_DFL)
    check()
