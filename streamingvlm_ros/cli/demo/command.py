"""`streamingvlm demo`: a synthetic camera and a narrator, in processes connected by ROS 2."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer

from ...demo.world import FIRST_UNSEEN_SEED
from ..ros_environment import require_ros, use_packaged_profile
from .scoreboard import Scoreboard
from .view import Refresh, headless_view, live_view

_HEADLESS_ROUNDS = 60


def demo(
    seed: Annotated[
        int,
        typer.Option(
            help=f"Seed of the world. The model was never trained on seeds from "
            f"{FIRST_UNSEEN_SEED} on.",
            min=0,
        ),
    ] = FIRST_UNSEEN_SEED,
    seconds: Annotated[
        int,
        typer.Option(
            help="Seconds to narrate. Default: until Ctrl-C, or 60 with --headless.",
            min=0,
            show_default=False,
        ),
    ] = 0,
    *,
    headless: Annotated[
        bool,
        typer.Option("--headless", help="Show no live view; print one line of JSON at the end."),
    ] = False,
) -> None:
    """Watch a small model narrate a synthetic world live over ROS 2. Needs no GPU."""
    use_packaged_profile()
    # Processes that share few cores must sleep, not spin, while they wait.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    rounds = seconds or (_HEADLESS_ROUNDS if headless else None)
    scoreboard = Scoreboard()
    view = headless_view if headless else live_view
    with _termination_as_interrupt():
        try:
            with view(scoreboard, seed) as refresh:
                _run(scoreboard, refresh, seed=seed, rounds=rounds, images=not headless)
        except KeyboardInterrupt:
            pass  # the usual end of an endless demo
    if headless:
        print(json.dumps({**asdict(scoreboard.summary()), "seed": seed}))
        if scoreboard.rounds < (rounds or 0):
            raise typer.Exit(130)


def _run(
    scoreboard: Scoreboard, refresh: Refresh, *, seed: int, rounds: int | None, images: bool
) -> None:
    with require_ros("the demo"):
        from .run import run_demo
    run_demo(scoreboard, refresh, seed=seed, rounds=rounds, images=images)


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM and SIGHUP as Ctrl-C, so that the nodes end too.

    A signal that was ignored from the start (nohup) stays ignored.
    """
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    handled = {n: handler for n, handler in previous.items() if handler != signal.SIG_IGN}
    for number in handled:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)
