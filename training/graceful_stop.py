"""Stopping a run on SIGINT or SIGTERM without losing what it has learned."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback

from streamingvlm_ros.rank import process_rank

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NOTICE = b"stopping after this step; a second signal ends at once\n"


class StoppedError(Exception):
    """A signal stopped the run: nothing is wrong, but nothing is finished."""


class GracefulStop(TrainerCallback):
    """Ends a run after the step in which a signal arrives, with a checkpoint to resume from.

    A second signal ends the process at once, and so does one while no training step runs.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._is_training = False

    @contextmanager
    def handle_signals(self) -> Iterator[None]:
        """Handle signals inside the block, except ignored ones.

        A shell ignores SIGINT for commands in the background. With several processes the default
        handlers stay: the launcher signals each process separately, and one that stopped after its
        own step would leave the others waiting for its gradients.
        """
        single = process_rank().count == 1
        signals = [s for s in _SIGNALS if single and signal.getsignal(s) != signal.SIG_IGN]
        before = {number: signal.signal(number, self._on_signal) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Save on signals from now on."""
        self._is_training = True

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Save and stop if a signal has arrived."""
        if self.signal:
            control.should_save = control.should_training_stop = True

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """End the process on signals from now on: the last checkpoint is saved."""
        self._is_training = False

    def _on_signal(self, number: int, _: Any) -> None:
        if self.signal or not self._is_training:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.signal = number
        # print() may be what the signal interrupted.
        os.write(2, _NOTICE)
