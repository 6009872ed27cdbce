"""What may be asked: requests of the service and the action are checked here."""

from __future__ import annotations

from typing import Any

from ...errors import QuestionError

MODES = ("stream", "recent", "history")


def mode_of(request: Any) -> str:
    """The mode of a request, which is fit to be asked. QuestionError if it is not."""
    if request.mode not in ("", *MODES):
        raise QuestionError(f"there is no mode {request.mode!r}: take one of {', '.join(MODES)}")
    mode = str(request.mode) or MODES[0]
    if request.camera:
        raise QuestionError(
            f"there is no camera {request.camera!r}: this narrator watches one, which has no "
            "name; leave `camera` empty"
        )
    if not request.timeout >= 0:
        raise QuestionError(f"timeout must be 0 or more seconds, not {request.timeout}")
    if request.remember and mode != MODES[0]:
        raise QuestionError(f"only what is asked in mode {MODES[0]} can be remembered")
    return mode
