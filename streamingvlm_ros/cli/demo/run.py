"""Running the demo's nodes and keeping the score: the part of the demo that needs ROS."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from ...config import DEMO_CHECKPOINT
from ...errors import StreamingVLMError
from ...ros.demo.listener import Listener, NarratedSecond, TrueSecond, open_listener
from .processes import NodeProcess, NodeSpec, run_nodes
from .scoreboard import Scoreboard
from .view import Refresh

_NAMESPACE = "/demo"
_MAX_SILENCE_S = 120.0
"""Longest time without a narration. Loading takes most of it on a slow machine."""

_DISCOVERY_S = 1.0
"""Time to discover a demo that already runs."""

_MAX_TRUTH_DELAY_S = 3.0
"""Longest wait for the truth of the last narrated seconds."""

_REFRESH_S = 0.2


def run_demo(
    scoreboard: Scoreboard, refresh: Refresh, *, seed: int, rounds: int | None, images: bool
) -> None:
    """Run camera and narrator and score them until `rounds` were narrated; None: endlessly.

    Calls `refresh` a few times a second, with the camera's newest image if `images`.

    Raises:
        StreamingVLMError: the model is missing, another demo runs in this ROS domain, a process
            ends unexpectedly, or nothing is narrated for too long.
    """
    if not (DEMO_CHECKPOINT / "config.json").is_file():
        raise StreamingVLMError(
            f"the demo model isn't in {DEMO_CHECKPOINT}; reinstall this package, which contains it"
        )
    with open_listener(_NAMESPACE) as listener:
        _reject_second_demo(listener)
        if images:
            listener.subscribe_images()
        with run_nodes(_nodes(seed), _NAMESPACE) as processes:
            for _ in _score_rounds(listener, processes, scoreboard=scoreboard, rounds=rounds):
                refresh(listener.picture())


def _nodes(seed: int) -> list[NodeSpec]:
    module = "streamingvlm_ros.ros."
    return [
        NodeSpec("narrator", module + "narrator", {"model": "demo"}),
        NodeSpec("synthetic_camera", module + "demo.synthetic_camera", {"seed": str(seed)}),
    ]


def _reject_second_demo(listener: Listener) -> None:
    """Raise if another demo is discovered within a short time."""
    deadline = time.monotonic() + _DISCOVERY_S
    while time.monotonic() < deadline:
        _reject_other_nodes(listener, own=0)
        listener.next(timeout_s=0.05)


def _reject_other_nodes(listener: Listener, own: int) -> None:
    """Raise if nodes of another demo are running: both would receive each other's images."""
    if len(listener.neighbours()) > own:
        raise StreamingVLMError(
            "a demo is already running in this ROS domain; stop it, or start this one in another "
            "domain, for instance with ROS_DOMAIN_ID=42"
        )


def _score_rounds(
    listener: Listener,
    processes: Sequence[NodeProcess],
    *,
    scoreboard: Scoreboard,
    rounds: int | None,
) -> Iterator[None]:
    """Yield a few times a second until `rounds` were narrated; None: endlessly.

    Raises:
        StreamingVLMError: a process ends, or nothing is narrated for too long.
    """
    scored_rounds, last_narration_s = 0, time.monotonic()
    while rounds is None or scoreboard.rounds < rounds:
        _score(listener.next(_REFRESH_S), scoreboard)
        yield
        for process in processes:
            process.check()
        if not scored_rounds:
            # On a busy machine discovery takes longer than the first wait for it.
            _reject_other_nodes(listener, own=len(processes))
        if scoreboard.rounds > scored_rounds:
            scored_rounds, last_narration_s = scoreboard.rounds, time.monotonic()
        if time.monotonic() - last_narration_s > _MAX_SILENCE_S:
            raise StreamingVLMError(_silence_message(processes))
    deadline = time.monotonic() + _MAX_TRUTH_DELAY_S
    while not scoreboard.complete() and time.monotonic() < deadline:
        message = listener.next(_REFRESH_S)
        _score(message if isinstance(message, TrueSecond) else None, scoreboard)
        yield


def _score(message: TrueSecond | NarratedSecond | None, scoreboard: Scoreboard) -> None:
    match message:
        case TrueSecond():
            scoreboard.add_truth(message.start_ns, message.text)
        case NarratedSecond():
            scoreboard.add_narration(
                message.start_ns,
                message.text,
                lag_s=message.lag_s,
                dropped_frames=message.dropped,
            )


def _silence_message(processes: Sequence[NodeProcess]) -> str:
    logs = "\n".join(f"{process.name}:\n{process.log_end()}" for process in processes)
    return (
        f"nothing was narrated for {_MAX_SILENCE_S:.0f} s; run `streamingvlm doctor` to check for "
        f"the usual causes. End of the logs:\n{logs}"
    )
