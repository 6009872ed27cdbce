"""The thread that owns the engine: everything that takes long happens here."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Collection, Sequence
from typing import Any

from ... import session
from ...config import SamplingConfig
from ...errors import StreamingVLMError
from ...inbox import Inbox
from ...session import CameraSink, PartEvent, Request, RequestEvent
from ...types import Ask
from ..diagnostics import FAILURES, Counters
from .model import NarratorModel

CAMERA = "image"
"""The name by which the inbox and the session know the one camera."""


class Worker:
    """Serves an inbox's parts and requests until it is stopped.

    Whatever goes wrong is logged and counted, the stream is reset, and the next chunk goes on.
    Every request is replied to, also when the worker stops.
    """

    def __init__(
        self,
        loaded: NarratorModel,
        inbox: Inbox,
        *,
        counters: Counters,
        publish: CameraSink,
        log_error: Callable[[str], Any],
    ) -> None:
        """`publish` is called from the worker's thread, with each narration and its chunk."""
        self._loaded, self._engine, self._stream = loaded, loaded.engine, loaded.stream
        self._inbox, self._counters = inbox, counters
        self._publish, self._log_error = publish, log_error
        self._requests: list[Request] = []
        self._sampling: SamplingConfig | None = None
        self._stale = True  # what the stream saw before this worker is not worth keeping
        self._thread = threading.Thread(target=self._run, name="narration")

    def start(self) -> None:
        """Begin, with an empty stream."""
        self._thread.start()

    def stop(self, why: str) -> None:
        """End when the narration in flight is done. Who still waits is told `why`."""
        _refuse(self._inbox.close(), StreamingVLMError(why))
        self._thread.join()

    def take(
        self, *, wait: bool, ready: Collection[str]
    ) -> Sequence[PartEvent | RequestEvent] | None:
        """Take from the inbox, for the session, and prepare the stream; None if it is closed."""
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
        # It is asked after every token: settings are checked again only when they have changed.
        if self._sampling is not self._loaded.sampling:
            self._stream.sampling = self._sampling = self._loaded.sampling
        return events

    def _run(self) -> None:
        while True:
            try:
                streams = {CAMERA: self._stream}
                return session.serve(self, self._engine, streams=streams, sinks=[self._publish])
            except Exception as error:
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._stale = True
        self._counters.add(FAILURES)
        self._log_error(f"the stream begins anew after a failure:\n{traceback.format_exc()}")
        self._inbox.drop_started()
        failure = StreamingVLMError(f"the model failed: {error!r}")
        self._engine.abort(failure)
        # Those that had not reached the engine. Whoever was replied to listens no more.
        _refuse(self._requests, failure)


def _refuse(requests: Sequence[Request], error: StreamingVLMError) -> None:
    for request in requests:
        match request:
            case Ask():
                request.on_done(error)
            case _:
                request.on_done()
