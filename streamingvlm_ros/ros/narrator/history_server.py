"""The history as a narrator has it: what it says goes in, and others may ask what was said."""

from __future__ import annotations

from pathlib import Path

from rclpy.lifecycle import LifecycleNode

from streamingvlm_ros import srv

from ... import types
from ...errors import HistoryError, QuestionError
from ...history.config import HistoryConfig
from ...history.store import History
from ...history.types import Entry
from ...types import Frame, HistoryMoment
from .. import qos
from ..conversions import to_ns
from .messages import entry_message

OFF = "this narrator keeps no history: start it with the parameter history_folder"

_LIMIT = 100
"""Entries that are given where no limit is."""


class HistoryServer:
    """Keeps a history in `folder`, or none where that is empty, and serves `~/history`.

    Called from the node's default callback group, the service never meets a transition.
    """

    def __init__(self, node: LifecycleNode, folder: str, config: HistoryConfig) -> None:
        """HistoryError if there can be no history in that folder."""
        self._node = node
        self._store = History(_expanded(folder), config) if folder else None
        self.service = node.create_service(
            srv.History, "~/history", self._on_history, qos_profile=qos.REQUESTS
        )

    def close(self) -> None:
        """Write what waits to be written, and let go of the folder."""
        self._node.destroy_service(self.service)
        if self._store:
            self._store.close()

    def diagnostics(self) -> dict[str, str]:
        """For the diagnostics."""
        if not self._store:
            return {}
        return {"history: lost": str(self._store.lost), "history: failed": self._store.failure}

    def add_narration(self, narration: types.Narration, newest: Frame) -> None:
        """Keep what was said, and perhaps the picture. Never waits for the disk."""
        if self._store:
            entry = Entry(narration.text, narration.start_ns, narration.end_ns)
            self._store.add(entry, newest)

    def add_answer(self, question: str, answer: types.Answer) -> None:
        """Keep what was asked and answered. Never waits for the disk."""
        if self._store and answer.text:
            entry = Entry(answer.text, answer.seen_from_ns, answer.seen_until_ns, question)
            self._store.add(entry)

    def moments(self, question: str, count: int) -> tuple[HistoryMoment, ...]:
        """The moments that fit a question best. QuestionError if there are none."""
        if not self._store:
            raise QuestionError(OFF)
        moments = tuple(self._store.moments(question, count))
        if not moments:
            raise QuestionError("nothing is in the history yet: ask again when more was seen")
        return moments

    def _on_history(
        self, request: srv.History.Request, response: srv.History.Response
    ) -> srv.History.Response:
        if not self._store:
            return srv.History.Response(success=False, message=OFF)
        try:
            entries, response.more = self._store.entries(
                to_ns(request.since) or None,
                to_ns(request.until) or None,
                words=request.words,
                limit=request.limit or _LIMIT,
            )
        except HistoryError as error:
            return srv.History.Response(success=False, message=str(error))
        response.success, response.entries = True, [entry_message(entry) for entry in entries]
        return response


def _expanded(folder: str) -> Path:
    try:
        return Path(folder).expanduser()
    except RuntimeError as error:
        raise HistoryError(f"history_folder {folder!r} names nobody's home folder") from error
