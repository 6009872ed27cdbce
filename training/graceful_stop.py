"""A run that is asked to stop keeps what it has learnt."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback

from streamingvlm_ros.rank import process_rank

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_HEARD = b"stopping after this step; a second signal ends at once\n"


class StoppedError(Exception):
    """The run was asked to stop: nothing is wrong, and nothing finished."""


class Stopping(TrainerCallback):
    """Ends a run after the step in which a signal comes, with a state to go on from.

    A second one ends the process at once, as does one while nothing is learnt.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._learning = False

    @contextmanager
    def heeding(self) -> Iterator[None]:
        """Signals that are ignored stay so: those of a command in the background are.

        One of several processes ends as ever. The launcher signals each by itself: who stopped
        after its own step would leave others waiting for its gradients.
        """
        alone = process_rank().count == 1
        heeded = [its for its in _SIGNALS if alone and signal.getsignal(its) != signal.SIG_IGN]
        before = {its: signal.signal(its, self._hear) for its in heeded}
        try:
            yield
        finally:
            for its, handler in before.items():
                signal.signal(its, handler)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """From here on there is something to keep."""
        self._learning = True

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Save and stop, if that was asked for."""
        if self.signal:
            control.should_save = control.should_training_stop = True

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The last state is saved."""
        self._learning = False

    def _hear(self, number: int, _: Any) -> None:
        if self.signal or not self._learning:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.signal = number
        # print() may be what the signal interrupted.
        os.write(2, _HEARD)
