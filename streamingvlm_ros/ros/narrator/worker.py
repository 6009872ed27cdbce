"""The thread that owns the engine: everything slow happens here."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Collection, Sequence
from typing import Any

from ... import session
from ...config import SamplingConfig
from ...errors import ModelError, StreamingVLMError
from ...inbox import Inbox
from ...session import CameraSink, PartEvent, Request, RequestEvent
from ...types import Ask
from ..diagnostics import Counters
from .model import NarratorModel
from .status import FAILURES

CAMERA = "image"
"""Name of the one camera in the inbox and the session."""


class Worker:
    """Serves an inbox's frames and requests until it is stopped.

    An exception is logged and counted, the stream is reset, and narration continues with the next
    chunk. A ModelError would come back with every chunk: it ends the worker. Every request gets a
    reply, also when the worker stops.
    """

    def __init__(
        self,
        model: NarratorModel,
        inbox: Inbox,
        *,
        counters: Counters,
        sinks: Sequence[CameraSink],
        log_error: Callable[[str], Any],
    ) -> None:
        """Call each of `sinks` from the worker's thread, with a camera, a chunk, its narration."""
        self._model, self._engine, self._stream = model, model.engine, model.stream
        self._inbox, self._counters = inbox, counters
        self._sinks, self._log_error = sinks, log_error
        self._requests: list[Request] = []
        self._sampling: SamplingConfig | None = None
        self.problem = ""
        """The ModelError that ended the worker."""
        self._stale = True  # what the stream saw before this worker started doesn't count
        self._thread = threading.Thread(target=self._run, name="narration")

    def start(self) -> None:
        """Start the thread, with an empty stream."""
        self._thread.start()

    def stop(self, reason: str) -> None:
        """Stop when the round in progress is done. Open requests fail with `reason`."""
        _refuse(self._inbox.close(), StreamingVLMError(reason))
        self._thread.join()

    def take(
        self, *, wait: bool, ready: Collection[str]
    ) -> Sequence[PartEvent | RequestEvent] | None:
        """Take the session's next events from the inbox; None if it is closed."""
        events = self._inbox.take(wait=wait, ready=ready)
        if events is None:
            return None
        self._requests = [event.request for event in events if isinstance(event, RequestEvent)]
        for event in events:
            if isinstance(event, PartEvent):
                self._counters.add("frames dropped", event.part.dropped)
        if self._stale and events:
            self._stream.reset()
            self._stale = False
        # This runs after every token: set the sampling, which checks it, only when it changed.
        if self._sampling is not self._model.sampling:
            self._stream.sampling = self._sampling = self._model.sampling
        return events

    def _run(self) -> None:
        while True:
            try:
                return session.serve(
                    self, self._engine, streams={CAMERA: self._stream}, sinks=self._sinks
                )
            except ModelError as error:
                return self._give_up(error)
            except Exception as error:
                self._recover(error)

    def _give_up(self, error: ModelError) -> None:
        self.problem = f"narration has stopped: {error}"
        self._counters.add(FAILURES)
        self._log_error(self.problem)
        self._engine.abort(error)
        _refuse([*self._requests, *self._inbox.close()], error)

    def _recover(self, error: Exception) -> None:
        self._stale = True
        self._counters.add(FAILURES)
        self._log_error(f"the stream is reset after an error:\n{traceback.format_exc()}")
        self._inbox.drop_started()
        failure = StreamingVLMError(f"the model failed: {error!r}")
        self._engine.abort(failure)
        # Requests that had not reached the engine yet. A second reply to one that had is ignored.
        _refuse(self._requests, failure)


def _refuse(requests: Sequence[Request], error: StreamingVLMError) -> None:
    for request in requests:
        match request:
            case Ask():
                request.on_done(error)
            case _:
                request.on_done()
