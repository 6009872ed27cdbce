"""What a model is trained on: clips, as rounds of frames and what is to be said about them."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamingvlm_ros.types import Image


@dataclass(frozen=True, slots=True)
class ClipRound:
    """One round of a clip: its frames, and what the assistant says.

    `text` is '' for a silent round. A round without `images` is a question about what was seen,
    asked between two rounds, with the times of the newest one. What is said in a `given` round
    is there to be read, not to be learnt.
    """

    start_s: float
    end_s: float
    images: tuple[Image, ...] = field(default=(), repr=False)
    text: str = ""
    question: str = ""
    answer: str = ""
    given: bool = False


@dataclass(frozen=True, slots=True)
class ClipSample:
    """One clip. `previous` is what was said before it, oldest first, one text per round.

    `instruction` is '' for a clip from the middle of a stream, whose instruction has left. A
    `plain` clip is a single round: frames, a question and its answer, with no narration around.
    """

    rounds: tuple[ClipRound, ...]
    previous: tuple[str, ...] = ()
    instruction: str = ""
    plain: bool = False
