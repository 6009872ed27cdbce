"""Clips to batches: the very sequences that the engine feeds, with labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from streamingvlm_ros.config import Settings
from streamingvlm_ros.engine.dialogue import Dialogue
from streamingvlm_ros.engine.ledger import Grid, Kind, Ledger, Segment
from streamingvlm_ros.engine.positions import positions
from streamingvlm_ros.engine.vision import VisionSpec, patch_grid, to_patches
from streamingvlm_ros.engine.window import cut

from .samples import ClipRound, ClipSample

IGNORED = -100
"""Label of a token that is not learnt."""


@dataclass(frozen=True)
class ClipSequence:
    """A clip as the model takes it: segments and their labels, patches and the grids of those."""

    ledger: Ledger
    labels: tuple[int, ...]
    patches: tuple[Tensor, ...]
    grids: tuple[Grid, ...]


class Collator:
    """Builds and pads batches for one tokenizer and the settings that a model will run with."""

    def __init__(
        self, dialogue: Dialogue, settings: Settings, spec: VisionSpec, tokens_per_second: float
    ) -> None:
        self._dialogue, self._settings, self._spec = dialogue, settings, spec
        self._tokens_per_second = tokens_per_second

    def __call__(self, samples: Sequence[ClipSample]) -> dict[str, Tensor]:
        """A batch of (clips, tokens), padded at the right; positions are (3, clips, tokens)."""
        clips = [self.sequence(sample) for sample in samples]
        length = max(len(clip.ledger) for clip in clips)
        batch = {
            "input_ids": torch.full((len(clips), length), self._dialogue.end_id),
            "attention_mask": torch.zeros(len(clips), length, dtype=torch.long),
            "labels": torch.full((len(clips), length), IGNORED),
            "position_ids": torch.zeros(3, len(clips), length),
        }
        for row, clip in enumerate(clips):
            n = len(clip.ledger)
            batch["input_ids"][row, :n] = torch.tensor(clip.ledger.ids)
            batch["attention_mask"][row, :n] = 1
            batch["labels"][row, :n] = torch.tensor(clip.labels)
            batch["position_ids"][:, row, :n] = positions(clip.ledger, self._tokens_per_second)
        grids = [patch_grid(grid, self._spec) for clip in clips for grid in clip.grids]
        batch["pixel_values_videos"] = torch.cat([p for clip in clips for p in clip.patches])
        batch["video_grid_thw"] = torch.tensor(grids)
        return batch

    def sequence(self, sample: ClipSample) -> ClipSequence:
        """The clip's dialogue, as if the engine had streamed it and nothing had left since."""
        segments = [] if sample.plain else self._opening(sample.previous)
        patches: list[Tensor] = []
        grids: list[Grid] = []
        for index, round in enumerate(sample.rounds):
            grid = None
            if round.images:
                seen, grid = to_patches(round.images, self._spec)
                patches.append(seen)
                grids.append(grid)
            if sample.plain and grid:
                segments += self._plain(round, grid)
            else:
                segments += self._round(index, round, grid, "" if index else sample.instruction)
        ledger = Ledger().append(segments)
        given = {index for index, round in enumerate(sample.rounds) if round.given}
        labels = tuple(
            label
            for segment in ledger
            for label in self._labels(segment, learnt=segment.round not in given)
        )
        return ClipSequence(ledger, labels, tuple(patches), tuple(grids))

    def _opening(self, previous: Sequence[str]) -> list[Segment]:
        """The system turn and what was said before, cut as the engine cuts it."""
        ids = [id for text in previous if text for id in self._dialogue.encode(" " + text)]
        return self._dialogue.opening(cut(ids, self._settings.window))

    def _round(
        self, index: int, round: ClipRound, grid: Grid | None, instruction: str
    ) -> list[Segment]:
        user = self._dialogue.user_turn(
            index,
            round.start_s,
            round.end_s,
            grid=grid,
            grid_seconds=self._grid_seconds,
            question=round.question,
            instruction=instruction,
        )
        return user + self._dialogue.assistant_turn(index, round.text, round.answer)

    def _plain(self, round: ClipRound, grid: Grid) -> list[Segment]:
        asked = self._dialogue.plain_turn(round.question, grid, self._grid_seconds)
        return asked + self._dialogue.plain_answer(round.answer)

    @property
    def _grid_seconds(self) -> float:
        return self._spec.temporal_patch / self._settings.frames.fps

    def _labels(self, segment: Segment, learnt: bool) -> list[int]:
        """The assistant's tokens to `<|im_end|>`: the line break after it is written, not said."""
        ids = list(segment.ids)
        if not learnt or segment.kind not in (Kind.NARRATION, Kind.ASSISTANT_END):
            return [IGNORED] * len(ids)
        said = ids.index(self._dialogue.end_id) + 1 if self._dialogue.end_id in ids else len(ids)
        return ids[:said] + [IGNORED] * (len(ids) - said)
