"""What a model is trained on: clips, as rounds of frames and what is to be said about them."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamingvlm_ros.types import Image


@dataclass(frozen=True, slots=True)
class ClipRound:
    """One round of a clip: its frames, if any, and what the assistant says.

    `text` is '' for a silent round. `question` and `answer` are those that the round remembers.
    What is said in a `given` round is there to be read, not to be learnt.
    """

    start_s: float
    end_s: float
    images: tuple[Image, ...] = field(repr=False)
    text: str = ""
    question: str = ""
    answer: str = ""
    given: bool = False


@dataclass(frozen=True, slots=True)
class ClipSample:
    """One clip. `previous` is what was said before it, oldest first, one text per round.

    `instruction` is '' for a clip from the middle of a stream, whose instruction has left. `asked`
    are questions after the last round and their answers, each of which knows nothing of the
    others. A `plain` clip is a single round's frames and the questions, without narration.
    """

    rounds: tuple[ClipRound, ...]
    previous: tuple[str, ...] = ()
    instruction: str = ""
    asked: tuple[tuple[str, str], ...] = ()
    plain: bool = False
