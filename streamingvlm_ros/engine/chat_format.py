"""Format of the dialogue: text to segments of token ids and back.

Special tokens are handled nowhere else. The engine and the trainer both build their sequences here,
so a model is trained on the format that it is later fed.

Source: arXiv 2510.09608 and the published inference code; docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokenizers.decoders import DecodeStream

from ..errors import ModelError
from .ledger import Grid, Kind, Segment

SYSTEM_PROMPT = "You are a helpful assistant."
TO_BE_CONTINUED = " ..."


class ChatFormat:
    """Encodes turns as segments with one tokenizer, and decodes generated ids."""

    def __init__(self, tokenizer: Any) -> None:
        """Take a checkpoint's own tokenizer; raise ModelError if it isn't a Qwen2.5-VL's."""
        self._tokenizer = tokenizer
        self.end_id = self._special("<|im_end|>")
        self.pad_id = self._special("<|video_pad|>")
        self._start_id = self._special("<|im_start|>")
        self._vision_start_id = self._special("<|vision_start|>")
        self._vision_end_id = self._special("<|vision_end|>")
        self._newline = self.encode("\n")
        self._continued = self.encode(TO_BE_CONTINUED)

    def encode(self, text: str) -> tuple[int, ...]:
        """Return token ids of plain text; special tokens in it are encoded as ordinary text."""
        if not text:
            return ()
        ids = self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        return tuple(ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Decode to text for people: no special tokens, ` ...`, surrounding space or NUL."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return _without_nul(text).removesuffix(TO_BE_CONTINUED).strip()

    def incremental_detokenizer(self) -> IncrementalDetokenizer:
        """Return a detokenizer for one answer."""
        return IncrementalDetokenizer(self, self._tokenizer.backend_tokenizer)

    def opening(self, previous: Sequence[int] = ()) -> list[Segment]:
        """Return the system turn and the ids of the previous text, before the first round."""
        head = (self._start_id, *self.encode("previous text\n"))
        return [
            self._system(),
            Segment(Kind.PREVIOUS_HEAD, head),
            Segment(Kind.PREVIOUS_TEXT, tuple(previous)),
            Segment(Kind.PREVIOUS_END, self._turn_end),
        ]

    def user_turn(
        self,
        round: int,
        span_s: tuple[float, float],
        *,
        grid: Grid | None = None,
        grid_seconds: float = 1.0,
        question: str = "",
        instruction: str = "",
    ) -> list[Segment]:
        """Return a round's user turn and the header of the reply; no frames without `grid`."""
        return [
            *self.round_start(round, span_s, question=question),
            *([self.vision(round, grid, grid_seconds=grid_seconds)] if grid else []),
            *self.round_end(round, instruction),
        ]

    def round_start(
        self, round: int, span_s: tuple[float, float], *, question: str = ""
    ) -> list[Segment]:
        """Return a round's user turn up to its frames. `span_s` is its time in the stream."""
        start_s, end_s = span_s
        asked = self.encode(" " + question) if question else ()
        return [
            self._head(Kind.USER_HEAD, "user", round=round),
            Segment(Kind.TIME, self.encode(f"Time={start_s:.1f}-{end_s:.1f}s"), round),
            Segment(Kind.QUESTION, asked, round),
        ]

    def vision(self, round: int, grid: Grid, *, grid_seconds: float, ended: bool = True) -> Segment:
        """Return a round's frames between their markers; without `ended`, more may follow."""
        pads = (self.pad_id,) * (grid[0] * grid[1] * grid[2])
        end = (self._vision_end_id,) if ended else ()
        return Segment(Kind.VISION, (self._vision_start_id, *pads, *end), round, grid, grid_seconds)

    def round_end(self, round: int, instruction: str = "") -> list[Segment]:
        """Return a round's user turn after its frames, and the header of the reply."""
        return [
            Segment(Kind.INSTRUCTION, self.encode(instruction), round),
            Segment(Kind.USER_END, self._turn_end, round),
            self._head(Kind.ASSISTANT_HEAD, "assistant", round=round),
        ]

    def plain_frames(self, grid: Grid, grid_seconds: float) -> list[Segment]:
        """Return the model's ordinary prompt up to the question: frames without a dialogue."""
        return [
            self._system(),
            self._head(Kind.USER_HEAD, "user", round=0),
            self.vision(0, grid, grid_seconds=grid_seconds),
        ]

    def plain_question(self, question: str) -> list[Segment]:
        """Return a question about `plain_frames`, and the header of the reply."""
        return [
            Segment(Kind.QUESTION, self.encode(question), 0),
            Segment(Kind.USER_END, self._turn_end, 0),
            self._head(Kind.ASSISTANT_HEAD, "assistant", round=0),
        ]

    def plain_answer(self, answer: str) -> list[Segment]:
        """Return the assistant's reply to `plain_question`, for training."""
        return [Segment(Kind.NARRATION, self.encode(answer), 0), self.closing(0)]

    def answers(self, round: int, answers: Sequence[str]) -> Segment:
        """Return remembered answers for the assistant's turn, where they precede the narration."""
        return Segment(Kind.ANSWER, self.encode("".join(f"{text}\n" for text in answers)), round)

    def assistant_turn(self, round: int, text: str, *, answer: str = "") -> list[Segment]:
        """Return the assistant's turn, for training: an answer, if any, then the narration.

        The narration starts with a space, as every word of a text stream does; one that is empty is
        a silent round.
        """
        spoken = (answer + "\n" if answer else "") + (" " + text.strip() if text.strip() else "")
        ids = (*self.encode(spoken), *self._continued)
        narration, continued = self.split_generated(round, ids)
        return [narration, continued, self.closing(round)]

    def split_generated(self, round: int, ids: Sequence[int]) -> tuple[Segment, Segment]:
        """Split generated ids (without `<|im_end|>`) into narration and its ` ...`, if any."""
        n = len(self._continued)
        cut = len(ids) - n if tuple(ids[-n:]) == self._continued else len(ids)
        return (
            Segment(Kind.NARRATION, tuple(ids[:cut]), round),
            Segment(Kind.ASSISTANT_END, tuple(ids[cut:]), round),
        )

    def closing(self, round: int) -> Segment:
        """Return the end of an assistant turn, which is fed with the next turn."""
        return Segment(Kind.ASSISTANT_END, self._turn_end, round)

    def truncated_end(self, round: int) -> list[Segment]:
        """Return the end of an assistant turn that was cut short: ` ...` and `<|im_end|>`."""
        return [Segment(Kind.ASSISTANT_END, (*self._continued, *self._turn_end), round)]

    def truncated_round(self, round: int) -> list[Segment]:
        """Return the end of a round that was cut short between frames, with an empty reply."""
        return [
            Segment(Kind.VISION, (self._vision_end_id,), round),
            *self.round_end(round),
            *self.truncated_end(round),
        ]

    def _head(self, kind: Kind, role: str, *, round: int) -> Segment:
        return Segment(kind, (self._start_id, *self.encode(f"{role}\n")), round)

    def _system(self) -> Segment:
        text = self.encode("system\n" + SYSTEM_PROMPT)
        return Segment(Kind.SYSTEM, (self._start_id, *text, *self._turn_end))

    @property
    def _turn_end(self) -> tuple[int, ...]:
        return (self.end_id, *self._newline)

    def _special(self, text: str) -> int:
        id = self._tokenizer.convert_tokens_to_ids(text)
        if id is None or id == self._tokenizer.unk_token_id:
            raise ModelError(f"the tokenizer has no {text} token: not a Qwen2.5-VL tokenizer")
        return int(id)


class IncrementalDetokenizer:
    """Decodes one answer token by token; text is returned once no later token can change it.

    The pieces together equal the result of `ChatFormat.decode`.
    """

    def __init__(self, chat_format: ChatFormat, tokenizer: Any) -> None:
        """`tokenizer` is a `tokenizers.Tokenizer`."""
        self._chat_format, self._tokenizer = chat_format, tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)
        self._ids: list[int] = []
        self._pending = ""
        """Text that may turn out to be the ending, which `decode` leaves out."""
        self._emitted = 0

    def add(self, id: int) -> str:
        """Add a token and return the text that is now final; '' if none."""
        self._ids.append(id)
        text = self._pending + _without_nul(self._stream.step(self._tokenizer, id) or "")
        certain = _without_marker(text).rstrip()
        self._pending = text[len(certain) :]
        piece = certain if self._emitted else certain.lstrip()
        self._emitted += len(piece)
        return piece

    def end(self) -> str:
        """Return the rest of the text, when no more tokens will come."""
        rest = self._chat_format.decode(self._ids)[self._emitted :]
        self._emitted += len(rest)
        return rest


def _without_nul(text: str) -> str:
    """Drop NULs: one ends a string in ROS messages, and what follows would be lost."""
    return text.replace("\0", "")


def _without_marker(text: str) -> str:
    """Drop ` ...`, or the beginning of one, from the end."""
    for length in range(len(TO_BE_CONTINUED), 0, -1):
        if text.endswith(TO_BE_CONTINUED[:length]):
            return text[:-length]
    return text
