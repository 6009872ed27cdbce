"""The thread that owns the stream: everything that takes long happens here."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from sensor_msgs.msg import CompressedImage, Image

from .. import session
from ..errors import StreamingVLMError
from ..frames.buffer import FrameBuffer
from ..frames.pictures import BadImageError, to_frames
from ..frames.sampler import RawChunk
from ..session import Event, Request, Reset
from ..types import Ask, Chunk, Narration
from .diagnostics import FAILURES, Tally
from .loaded import Loaded
from .view import View

Message: TypeAlias = Image | CompressedImage
Inbox: TypeAlias = FrameBuffer[Message, Request]


class Worker:
    """Serves an inbox's chunks and requests, one after another, until it is stopped.

    Whatever goes wrong in a round is logged and counted, the stream is reset, and the next round
    goes on. Every request is replied to, also when the worker stops.
    """

    def __init__(
        self,
        loaded: Loaded,
        inbox: Inbox,
        view: View,
        tally: Tally,
        publish: Callable[[Narration, Chunk], None],
        reject: Callable[[BadImageError], None],
        log_error: Callable[[str], Any],
    ) -> None:
        """`publish` and `reject` (of an image) are called from the worker's thread.

        `publish` is given the chunk that a narration is about, too. `view` is told what the
        stream looks at; whoever asks for a reset clears it.
        """
        self._loaded, self._stream = loaded, loaded.stream
        self._inbox, self._view, self._tally = inbox, view, tally
        self._publish, self._reject, self._log_error = publish, reject, log_error
        self._chunk: Chunk | None = None
        self._asked: list[Request] = []
        self._dropped = 0
        self._stale = True  # what the stream saw before this worker is not worth keeping
        self._thread = threading.Thread(target=self._run, name="narration")

    def start(self) -> None:
        """Begin, with an empty stream."""
        self._thread.start()

    def stop(self, why: str) -> None:
        """End when the round in flight is done. Who still waits is told `why`."""
        _refuse(self._inbox.close(), why)
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                return session.run(self._events(), self._stream, [self._say], self._interjected)
            except Exception as error:
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._stale = True
        self._tally.add(FAILURES)
        self._log_error(f"the stream begins anew after a failure:\n{traceback.format_exc()}")
        self._chunk = None
        # Whoever was answered before it failed listens no more.
        _refuse(self._asked, f"the model failed: {error!r}")

    def _say(self, narration: Narration) -> None:
        assert self._chunk
        self._publish(narration, self._chunk)

    def _interjected(self) -> Sequence[Ask]:
        asked = self._inbox.interjected()
        self._asked += asked
        return [request for request in asked if isinstance(request, Ask)]

    def _events(self) -> Iterator[Event]:
        for raw in self._inbox:
            event = self._decoded(raw) if isinstance(raw, RawChunk) else raw
            if not event:
                continue
            self._asked = [] if isinstance(event, Chunk) else list(event)
            if self._stale:
                self._stream.reset()
                self._view.clear()
                self._stale = False
            if isinstance(event, Chunk):
                self._chunk = event
                self._view.add(event)
            self._stream.sampling = self._loaded.sampling
            yield event
            self._chunk = None

    def _decoded(self, raw: RawChunk[Message]) -> Chunk | None:
        """The chunk with its pictures; None if none of them can be used."""
        self._tally.add("frames dropped", raw.dropped)
        self._dropped += raw.dropped
        frames = to_frames(raw.frames, self._reject)
        if not frames:
            return None
        dropped, self._dropped = self._dropped, 0
        return Chunk(frames, raw.start_ns, raw.end_ns, dropped)


def _refuse(requests: Sequence[Request], why: str) -> None:
    for request in requests:
        match request:
            case Ask():
                request.reply(StreamingVLMError(why))
            case Reset():
                request.reply()
