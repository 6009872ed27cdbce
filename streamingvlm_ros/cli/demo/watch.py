"""Runs a demo's nodes and keeps its score. The part of `streamingvlm demo` that needs ROS."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from ...config import DEMO_CHECKPOINT
from ...errors import StreamingVLMError
from ...ros.demo.listener import Listener, NarratedSecond, TrueSecond, open_listener
from .processes import Node, Process, running
from .scoreboard import Scoreboard
from .view import Refresh

_NAMESPACE = "/demo"
_PATIENCE_S = 120.0
"""Longest time without a narration: loading on a slow machine takes a good part of it."""

_DISCOVERY_S = 1.0
_LAST_TRUTH_S = 3.0
_TICK_S = 0.2


def watch(
    scoreboard: Scoreboard, seed: int, rounds: int | None, refresh: Refresh, pictures: bool
) -> None:
    """Start camera and narrator, score what they say until `rounds` are full, and end them.

    `refresh` is called a few times a second, with the camera's newest picture if `pictures`.
    StreamingVLMError if there is no model or another demo, a process ends by itself, or
    nothing is narrated for too long.
    """
    if not (DEMO_CHECKPOINT / "config.json").is_file():
        raise StreamingVLMError(
            f"the demo model isn't in {DEMO_CHECKPOINT}: install this package again, "
            "it belongs to it"
        )
    with open_listener(_NAMESPACE) as listener:
        _refuse_second_demo(listener)
        if pictures:
            listener.subscribe_images()
        with running(_nodes(seed), _NAMESPACE) as processes:
            for _ in _score_rounds(listener, processes, scoreboard, rounds):
                refresh(listener.picture())


def _nodes(seed: int) -> list[Node]:
    module = "streamingvlm_ros.ros."
    return [
        Node("narrator", module + "narrator", {"model": "demo"}),
        Node("synthetic_camera", module + "demo.synthetic_camera", {"seed": str(seed)}),
    ]


def _refuse_second_demo(listener: Listener) -> None:
    """Wait a while for other nodes to be discovered."""
    deadline = time.monotonic() + _DISCOVERY_S
    while time.monotonic() < deadline:
        _refuse_neighbours(listener, own=0)
        listener.next(timeout_s=0.05)


def _refuse_neighbours(listener: Listener, own: int) -> None:
    """Two demos in one ROS domain would hear each other's cameras."""
    if len(listener.neighbours()) > own:
        raise StreamingVLMError(
            "a demo already runs in this ROS domain: end it, or start this one in another, "
            "for instance with ROS_DOMAIN_ID=42"
        )


def _score_rounds(
    listener: Listener, processes: Sequence[Process], scoreboard: Scoreboard, rounds: int | None
) -> Iterator[None]:
    """Yield a few times a second until `rounds` were narrated (None: for ever).

    StreamingVLMError if a process ends or nothing is narrated for too long.
    """
    heard, last_s = 0, time.monotonic()
    while rounds is None or scoreboard.rounds < rounds:
        _score(listener.next(_TICK_S), scoreboard)
        yield
        for process in processes:
            process.check()
        if not heard:
            # On a busy machine discovery takes longer than it was waited for.
            _refuse_neighbours(listener, own=len(processes))
        if scoreboard.rounds > heard:
            heard, last_s = scoreboard.rounds, time.monotonic()
        if time.monotonic() - last_s > _PATIENCE_S:
            raise StreamingVLMError(_silence(processes))
    deadline = time.monotonic() + _LAST_TRUTH_S
    while not scoreboard.complete() and time.monotonic() < deadline:
        late = listener.next(_TICK_S)
        _score(late if isinstance(late, TrueSecond) else None, scoreboard)
        yield


def _score(heard: TrueSecond | NarratedSecond | None, scoreboard: Scoreboard) -> None:
    match heard:
        case TrueSecond():
            scoreboard.add_truth(heard.start_ns, heard.text)
        case NarratedSecond():
            scoreboard.add_narration(heard.start_ns, heard.text, heard.lag_s, heard.dropped)


def _silence(processes: Sequence[Process]) -> str:
    logs = "\n".join(f"{process.name}:\n{process.log_end()}" for process in processes)
    return (
        f"nothing was narrated for {_PATIENCE_S:.0f} s: `streamingvlm doctor` looks for the usual "
        f"reasons. The logs end:\n{logs}"
    )
