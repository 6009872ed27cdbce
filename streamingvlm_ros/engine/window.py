"""Eviction from the cache before a round: a pure function of the ledger, without torch.

Source: arXiv 2510.09608, section 3, with its published code's order of eviction. The oldest
narrations move to the end of the previous text; frames and turns that are too old are dropped; the
previous text keeps its first tokens (the sink) and its newest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..config import WindowConfig
from .ledger import Kind, Ledger, Segment

Slots = list[int]
"""Slots of tokens in the cache, in order."""


@dataclass(frozen=True)
class Eviction:
    """The ledger afterwards, and the previous slot of each of its tokens."""

    ledger: Ledger
    slots: Slots

    @property
    def first_moved(self) -> int:
        """First slot whose token changes; the length of the cache if none does."""
        for slot, source in enumerate(self.slots):
            if slot != source:
                return slot
        return len(self.slots)


def evict(ledger: Ledger, round: int, *, window: WindowConfig) -> Eviction:
    """Return the ledger that remains when `round` is about to be fed."""
    moved: list[tuple[tuple[int, ...], Slots]] = []
    remaining: list[tuple[Segment, Slots]] = []
    start = 0
    for segment in ledger:
        slots = list(range(start, start + len(segment)))
        start += len(segment)
        if not _is_too_old(segment, round, window=window):
            remaining.append((segment, slots))
        elif segment.kind in (Kind.ANSWER, Kind.NARRATION):
            moved.append((segment.ids, slots))
    return _rebuild(remaining, moved, window=window)


def cut(previous: Sequence[int], window: WindowConfig) -> list[int]:
    """Return the previous text's ids with only its sink and its newest tokens."""
    return [previous[i] for i in _remaining_indices(len(previous), window)]


def token_bound(window: WindowConfig, fixed: int, *, vision: int, user: int, assistant: int) -> int:
    """Return the maximum number of tokens in the cache while a round is fed and narrated.

    `fixed` tokens never leave; `vision`, `user` and `assistant` are the maxima that one round adds:
    for its frames, the rest of its user turn, and its assistant turn.
    """
    carried = window.text_sink + window.text_window
    return (
        fixed
        + carried
        + window.vision_rounds * vision
        + max(window.vision_rounds, window.text_rounds) * user
        + window.text_rounds * assistant
    )


def _is_too_old(segment: Segment, round: int, *, window: WindowConfig) -> bool:
    age = round - segment.round
    match segment.kind:
        case Kind.SYSTEM | Kind.PREVIOUS_HEAD | Kind.PREVIOUS_TEXT | Kind.PREVIOUS_END:
            return False
        case Kind.VISION:
            return age >= window.vision_rounds
        case Kind.TIME | Kind.ASSISTANT_HEAD | Kind.ANSWER | Kind.NARRATION | Kind.ASSISTANT_END:
            return age >= window.text_rounds
        case _:
            return age >= max(window.vision_rounds, window.text_rounds)


def _rebuild(
    remaining: list[tuple[Segment, Slots]],
    moved: list[tuple[tuple[int, ...], Slots]],
    *,
    window: WindowConfig,
) -> Eviction:
    """Put the moved narrations at the end of the previous text and cut it."""
    body_ids = [i for s, _ in remaining if s.kind is Kind.PREVIOUS_TEXT for i in s.ids]
    body_slots = [i for s, slots in remaining if s.kind is Kind.PREVIOUS_TEXT for i in slots]
    for ids, slots in moved:
        body_ids += ids
        body_slots += slots
    chosen = _remaining_indices(len(body_ids), window)
    body = Segment(Kind.PREVIOUS_TEXT, tuple(body_ids[i] for i in chosen))

    segments: list[Segment] = []
    sources: Slots = []
    for segment, slots in remaining:
        if segment.kind is Kind.PREVIOUS_TEXT:
            continue
        if segment.kind is Kind.PREVIOUS_END:
            segments.append(body)
            sources += [body_slots[i] for i in chosen]
        segments.append(segment)
        sources += slots
    return Eviction(Ledger().append(segments), sources)


def _remaining_indices(length: int, window: WindowConfig) -> Slots:
    """Return indices of the previous text's tokens that stay.

    Its `<|im_end|>` is the window's last token.
    """
    newest = window.text_window - 1
    if length <= window.text_sink + newest:
        return list(range(length))
    return [*range(window.text_sink), *range(length - newest, length)]
