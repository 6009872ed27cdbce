"""Training samples: clips as rounds of frames and the text to narrate."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamingvlm_ros.types import Image


@dataclass(frozen=True, slots=True)
class ClipRound:
    """One round of a clip: its frames, if any, and the narration.

    `text` is '' for a silent round. `question` and `answer` are the exchange that the round
    remembers. The text of a `context_only` round is input: no loss is computed on it.
    """

    start_s: float
    end_s: float
    images: tuple[Image, ...] = field(repr=False)
    text: str = ""
    question: str = ""
    answer: str = ""
    context_only: bool = False


@dataclass(frozen=True, slots=True)
class ClipSample:
    """One clip.

    `previous` is the narration before the clip, oldest first, one text per round. `instruction` is
    '' for a clip from the middle of a stream, because the window has dropped it by then.
    `questions` are pairs of question and answer after the last round; each is asked on its own,
    without the others. An `image_qa` sample is the frames of one round with questions, without
    narration.
    """

    rounds: tuple[ClipRound, ...]
    previous: tuple[str, ...] = ()
    instruction: str = ""
    questions: tuple[tuple[str, str], ...] = ()
    image_qa: bool = False
