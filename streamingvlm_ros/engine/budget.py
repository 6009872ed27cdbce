"""Upper bounds on the tokens of a stream and of the questions beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from ..config import Settings
from ..errors import ConfigError
from ..setting import settings_of
from .chat_format import ChatFormat
from .ledger import Segment
from .window import token_bound

LATEST_S = 9_999_999_999.9
"""The latest time that fits into a round's turn: a clock may jump by decades."""

EARLIEST_S = -999_999_999.9
"""The earliest such time: a minus sign takes as much room as a digit."""

_SIZES = (
    "vision_rounds",
    "max_frame_tokens",
    "min_frame_tokens",
    "fps",
    "chunk_seconds",
    "text_rounds",
    "text_sink",
    "text_window",
    "max_new_tokens",
    "question_frame_tokens",
    "questions_at_once",
    "recent_frames",
    "history_moments",
    "max_question_tokens",
    "max_answer_tokens",
)
"""Settings that bound the tokens in the cache."""

MAX_INSTRUCTION_TOKENS = 4096
"""Maximum length of an instruction, which is that of the longest question."""


@dataclass(frozen=True)
class Budget:
    """Token bounds that follow from settings.

    `temporal_patch` is the number of frames that become one temporal step of vision tokens.

    Raises:
        ConfigError: the instruction is longer than there is room for.
    """

    chat_format: ChatFormat
    settings: Settings
    temporal_patch: int

    def __post_init__(self) -> None:
        tokens = len(self.chat_format.encode(self.settings.prompt.instruction))
        if tokens > MAX_INSTRUCTION_TOKENS:
            raise ConfigError(
                f"instruction has {tokens:,} tokens, {tokens - MAX_INSTRUCTION_TOKENS:,} more than "
                f"the {MAX_INSTRUCTION_TOKENS:,} that a round has room for: shorten it, or put "
                "what the model shall remember into previous_text"
            )

    @cached_property
    def steps_per_round(self) -> int:
        """Maximum number of temporal steps of vision tokens in one round."""
        return math.ceil(self.settings.frames.frames_per_chunk / self.temporal_patch)

    @cached_property
    def remembered(self) -> int:
        """Maximum number of tokens of remembered questions and answers in a stream's cache."""
        asking = self.settings.asking
        return asking.max_question_tokens + asking.max_answer_tokens + 2

    def window(self, step_tokens: int) -> int:
        """Return the maximum number of slots of a stream with `step_tokens` per temporal step."""
        settings, chat_format = self.settings, self.chat_format
        return token_bound(
            settings.window,
            fixed=_tokens(chat_format.opening())
            + len(chat_format.encode(settings.prompt.instruction))
            + self.remembered,
            vision=self.steps_per_round * step_tokens + 2,
            user=self._turn,
            assistant=settings.sampling.max_new_tokens + len(chat_format.closing(0)),
        )

    def questions(self, frame_tokens: int) -> int:
        """Return the slots for the questions that are answered at once, each of the longest kind.

        `frame_tokens` is the maximum number of tokens of a question's own frame.
        """
        asking, chat_format = self.settings.asking, self.chat_format
        own = _tokens(chat_format.truncated_round(0)) + self._turn
        own += asking.max_question_tokens + asking.max_answer_tokens
        opening, frame = _tokens(chat_format.opening()), frame_tokens + 2
        steps = math.ceil(asking.recent_frames / self.temporal_patch)
        narration = _tokens(chat_format.assistant_turn(0, ""))
        narration += self.settings.sampling.max_new_tokens
        return max(
            asking.questions_at_once * own,
            opening + steps * frame + own,
            opening + asking.history_moments * (self._turn + frame + narration) + own,
        )

    def arena(self, streams: int, step_tokens: int, *, frame_tokens: int) -> int:
        """Return the slots of the questions and of `streams`, each with its two regions."""
        return self.questions(frame_tokens) + 2 * streams * self.window(step_tokens)

    @cached_property
    def _turn(self) -> int:
        """Maximum number of tokens of a user turn's headers and times."""
        return _tokens(self.chat_format.user_turn(0, (LATEST_S, LATEST_S)))


def largest_setting(settings: Settings, slots: Callable[[Settings], int]) -> str:
    """Return the name of the setting that saves most slots if it is lowered as far as it goes."""
    declared = settings_of(Settings)
    saving: dict[str, int] = {}
    for name in _SIZES:
        with suppress(ConfigError):  # Another setting forbids it.
            saving[name] = slots(settings.updated({name: declared[name].low}))
    return min(saving, key=lambda name: saving[name])


def _tokens(segments: Sequence[Segment]) -> int:
    return sum(map(len, segments))
