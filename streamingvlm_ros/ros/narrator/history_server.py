"""The service `~/history`, and the history that a narrator keeps."""

from __future__ import annotations

from pathlib import Path

from rclpy.lifecycle import LifecycleNode

from streamingvlm_ros import srv
from streamingvlm_ros.msg import HistoryEntry

from ...errors import HistoryError
from ...history.config import HistoryConfig
from ...history.store import History
from ...history.types import Entry
from ...types import to_ns
from .. import qos
from ..messages import to_time

NO_HISTORY = "this narrator has no history: start it with the parameter history_folder"

_DEFAULT_LIMIT = 100
"""Maximum number of entries in a reply when the request sets no limit."""


def open_history(folder: str, config: HistoryConfig) -> History | None:
    """Open the history in `folder`; None if that is empty.

    Raises:
        HistoryError: the folder can't be used.
    """
    if not folder:
        return None
    try:
        path = Path(folder).expanduser()
    except RuntimeError as error:
        raise HistoryError(f"history_folder {folder!r}: unknown user's home folder") from error
    return History(path, config)


class HistoryServer:
    """Serves `~/history` from a history; without one, it replies how to get one.

    The service uses the node's default callback group, so it never runs during a transition.
    """

    def __init__(self, node: LifecycleNode, history: History | None) -> None:
        self._node, self._history = node, history
        self.service = node.create_service(
            srv.History, "~/history", self._on_history, qos_profile=qos.REQUESTS
        )

    def close(self) -> None:
        """Destroy the service."""
        self._node.destroy_service(self.service)

    def _on_history(
        self, request: srv.History.Request, response: srv.History.Response
    ) -> srv.History.Response:
        if not self._history:
            return srv.History.Response(success=False, message=NO_HISTORY)
        try:
            entries, response.more = self._history.entries(
                to_ns(request.since) or None,
                to_ns(request.until) or None,
                words=request.words,
                limit=request.limit or _DEFAULT_LIMIT,
            )
        except HistoryError as error:
            return srv.History.Response(success=False, message=str(error))
        response.success, response.entries = True, [_entry_message(entry) for entry in entries]
        return response


def _entry_message(entry: Entry) -> HistoryEntry:
    return HistoryEntry(
        start=to_time(entry.start_ns),
        end=to_time(entry.end_ns),
        text=entry.text,
        question=entry.question,
        camera=entry.camera,
    )
