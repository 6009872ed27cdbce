"""Recordings whose reader raises anything anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from streamingvlm_ros.errors import ConfigError, ModelError
from streamingvlm_ros.recordings.recording import Recording, open_recording

POINTS = ("open", "start_ns", "duration_s", "chunks", "first chunk", "second chunk", "losses")

_LIBRARIES = {
    *("builtins", "streamingvlm_ros", "av", "rosbags", "zstandard", "sqlite3", "json", "struct"),
    *("yaml", "numpy", "PIL", "cv2", "zlib", "binascii"),
}
_Open = Callable[..., AbstractContextManager[Recording]]


def _all_below(kind: type[Exception]) -> Iterator[type[Exception]]:
    for each in kind.__subclasses__():
        yield each
        yield from _all_below(each)


def _instance(kind: type[Exception]) -> Exception | None:
    """None if the class needs other arguments or blames no recording."""
    if kind.__module__.partition(".")[0] not in _LIBRARIES:
        return None
    if issubclass(kind, ConfigError | ModelError):
        return None
    for arguments in (("a reason",), (1, "a reason")):
        try:
            return kind(*arguments)
        except Exception:  # it needs other arguments
            continue
    return None


def exceptions() -> st.SearchStrategy[Exception]:
    """Instances of every exception class that Python, this package or a reader's library has."""
    kinds = sorted({Exception, *_all_below(Exception)}, key=lambda kind: kind.__qualname__)
    return st.sampled_from(list(filter(None, map(_instance, kinds))))


class FailingRecording:
    """A recording that raises an error at one of the `POINTS`, and is whole up to it."""

    def __init__(self, recording: Recording, error: Exception, *, point: str) -> None:
        self._recording, self._error, self._point = recording, error, point

    def __getattr__(self, name: str) -> Any:
        if name == self._point:
            raise self._error
        return getattr(self._recording, name)

    def chunks(self, *arguments: Any) -> Iterator[Any]:
        if self._point == "chunks":
            raise self._error
        events = iter(self._recording.chunks(*arguments))
        if self._point == "first chunk":
            raise self._error
        yield next(events)
        if self._point == "second chunk":
            raise self._error
        yield from events


def opening_that_fails(name: str, error: Exception, *, point: str) -> _Open:
    """`open_recording`, but the recording with this name fails at the point."""

    @contextmanager
    def opened(path: Path, camera: str | None = None) -> Iterator[Any]:
        if path.name == name and point == "open":
            raise error
        with open_recording(path, camera) as recording:
            fails = path.name == name
            yield FailingRecording(recording, error, point=point) if fails else recording

    return opened
