"""The thread that owns the stream: everything that takes long happens here."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from sensor_msgs.msg import CompressedImage, Image

from .. import session
from ..errors import StreamingVLMError
from ..frames.buffer import FrameBuffer
from ..frames.sampler import RawChunk
from ..session import Event, Question, Reset
from ..types import Chunk, Frame, Narration
from .conversions import BadImageError, to_array
from .diagnostics import FAILURES, Tally
from .loaded import Loaded

Message: TypeAlias = Image | CompressedImage
Inbox: TypeAlias = FrameBuffer[Message, Question | Reset]


class Worker:
    """Serves an inbox's chunks and requests, one after another, until it is stopped.

    Whatever goes wrong in a round is logged and counted, the stream is reset, and the next round
    goes on. Every request is replied to, also when the worker stops.
    """

    def __init__(
        self,
        loaded: Loaded,
        inbox: Inbox,
        tally: Tally,
        publish: Callable[[Narration], None],
        reject: Callable[[BadImageError], None],
        log_error: Callable[[str], Any],
    ) -> None:
        """`publish` and `reject` (of an image) are called from the worker's thread."""
        self._loaded, self._stream = loaded, loaded.stream
        self._inbox, self._tally = inbox, tally
        self._publish, self._reject, self._log_error = publish, reject, log_error
        self._in_hand: RawChunk[Message] | Question | Reset | None = None
        self._dropped = 0
        self._stale = True  # what the stream saw before this worker is not worth keeping
        self._thread = threading.Thread(target=self._run, name="narration")

    def start(self) -> None:
        """Begin, with an empty stream."""
        self._thread.start()

    def stop(self) -> None:
        """End when the round in flight is done."""
        for request in self._inbox.close():
            _refuse(request, "the narrator was deactivated")
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                return session.run(self._events(), self._stream, [self._publish])
            except Exception as error:
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._stale = True
        self._tally.add(FAILURES)
        self._log_error(f"the stream begins anew after a failure:\n{traceback.format_exc()}")
        _refuse(self._in_hand, f"the model failed: {error!r}")

    def _events(self) -> Iterator[Event]:
        for event in self._inbox:
            self._in_hand = event
            if self._stale:
                self._stream.reset()
                self._stale = False
            self._stream.sampling = self._loaded.sampling
            if not isinstance(event, RawChunk):
                yield event
            elif chunk := self._decoded(event):
                yield chunk
            self._in_hand = None

    def _decoded(self, raw: RawChunk[Message]) -> Chunk | None:
        """The chunk with its pictures; None if none of them can be used."""
        self._tally.add("frames dropped", raw.dropped)
        self._dropped += raw.dropped
        frames: list[Frame] = []
        # Newest first: its size is the one that counts.
        for stamp_ns, message in reversed(raw.frames):
            try:
                image = to_array(message)
                if frames and image.shape != frames[0].image.shape:
                    raise BadImageError("changed", "the pictures' size changed within a chunk")
            except BadImageError as error:
                self._reject(error)
            else:
                frames.insert(0, Frame(image, stamp_ns, message.header.frame_id))
        if not frames:
            return None
        dropped, self._dropped = self._dropped, 0
        return Chunk(tuple(frames), raw.start_ns, raw.end_ns, dropped)


def _refuse(request: RawChunk[Message] | Question | Reset | None, why: str) -> None:
    match request:
        case Question():
            request.reply(StreamingVLMError(why))
        case Reset():
            request.reply()
