"""`streamingvlm demo`: a camera and a narrator as processes of their own, over real ROS 2."""

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
from ..dds import use_packaged_profile
from ..require_ros import needing_ros
from .scoreboard import Scoreboard
from .view import Refresh, headless_view, live_view

_HEADLESS_ROUNDS = 60


def demo(
    seed: Annotated[
        int,
        typer.Option(
            help=f"Which world; from {FIRST_UNSEEN_SEED} on the model never saw them.", min=0
        ),
    ] = FIRST_UNSEEN_SEED,
    seconds: Annotated[
        int,
        typer.Option(
            help="Narrated seconds until it ends; 0 is until Ctrl-C, or 60 when headless.", min=0
        ),
    ] = 0,
    headless: Annotated[
        bool, typer.Option("--headless", help="No view: one line of JSON at the end.")
    ] = False,
) -> None:
    """Watch a small model narrate a synthetic world, live, over ROS 2. Needs no GPU."""
    use_packaged_profile()
    # Processes that share few cores must sleep, not spin, while they wait for each other.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    rounds = seconds or (_HEADLESS_ROUNDS if headless else None)
    scoreboard = Scoreboard()
    with _hangups_as_interrupts():
        try:
            with (headless_view if headless else live_view)(scoreboard, seed) as refresh:
                _watch(scoreboard, seed, rounds, refresh, pictures=not headless)
        except KeyboardInterrupt:
            pass  # the way a demo without end ends
    if headless:
        print(json.dumps({**asdict(scoreboard.summary()), "seed": seed}))
        if scoreboard.rounds < (rounds or 0):
            raise typer.Exit(130)


def _watch(
    scoreboard: Scoreboard, seed: int, rounds: int | None, refresh: Refresh, pictures: bool
) -> None:
    with needing_ros("the demo"):
        from .watch import watch
    watch(scoreboard, seed, rounds, refresh, pictures)


@contextmanager
def _hangups_as_interrupts() -> Iterator[None]:
    """A closed terminal or a polite kill must end the nodes too, as Ctrl-C does."""
    signals = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
