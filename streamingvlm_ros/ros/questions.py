"""What is asked, and of what: requests of the service and the action become questions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..errors import QuestionError
from ..types import Frame, Moment, Question

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


def question_of(
    request: Any,
    mode: str,
    recent: Callable[[], tuple[Frame, ...]],
    moments: Callable[[str, int], tuple[Moment, ...]],
    count: int,
) -> Question:
    """The question, with the newest frames or the best `count` moments where the mode wants them.

    QuestionError if there are none.
    """
    question = Question(request.question, request.max_tokens or None, request.remember)
    if mode == "recent":
        if not (frames := recent()):
            raise QuestionError("nothing has been seen yet: ask again when frames arrive")
        return replace(question, frames=frames)
    if mode == "history":
        return replace(question, moments=moments(request.question, count))
    return question
