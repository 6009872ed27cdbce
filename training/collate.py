"""Clips as batches: the same token sequences that the engine feeds, with labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from streamingvlm_ros.config import Settings
from streamingvlm_ros.engine.chat_format import ChatFormat
from streamingvlm_ros.engine.ledger import Grid, Kind, Ledger, Segment
from streamingvlm_ros.engine.qwen2_5.positions import positions
from streamingvlm_ros.engine.qwen2_5.vision import VisionSpec, patch_grid, to_patches
from streamingvlm_ros.engine.window import cut

from .packing import IGNORED, ClipSequence, pack_clips, pad_clips
from .samples import ClipRound, ClipSample


class Collator:
    """Builds batches for one tokenizer and the settings that a model will run with.

    With `always_sees` every batch has at least one frame, if need be a black one that no other
    token sees. Processes that share the vision tower's weights wait for each other there, so none
    may skip it. With `packing` a batch is one row without padding. Positions are integers if all
    are whole numbers.
    """

    def __init__(
        self,
        chat_format: ChatFormat,
        settings: Settings,
        *,
        spec: VisionSpec,
        always_sees: bool = False,
        packing: bool = False,
    ) -> None:
        self._always_sees, self._packing = always_sees, packing
        self._chat_format, self._settings, self._spec = chat_format, settings, spec
        self._question_spec = spec.for_questions(settings.asking)
        self._grid_seconds = spec.grid_seconds(settings.frames.fps)
        self._tokens_per_second = spec.tokens_per_second

    def __call__(self, samples: Sequence[ClipSample]) -> dict[str, Tensor]:
        """Return rows from `pack_clips` or `pad_clips`, with all patches in the same order."""
        clips = [self.sequence(sample) for sample in samples]
        if self._always_sees and not any(clip.grids for clip in clips):
            clips[0] = self._with_black_frame(clips[0])
        end_id = self._chat_format.end_id
        batch = pack_clips(clips) if self._packing else pad_clips(clips, end_id)
        batch["position_ids"] = _as_integers(batch["position_ids"])
        grids = [patch_grid(grid, self._spec) for clip in clips for grid in clip.grids]
        if grids:
            batch["pixel_values_videos"] = torch.cat([p for clip in clips for p in clip.patches])
            batch["video_grid_thw"] = torch.tensor(grids)
        return batch

    def sequence(self, sample: ClipSample) -> ClipSequence:
        """Return the clip's dialogue as the engine would have streamed it, with no eviction.

        Questions branch off at the end, side by side, as the engine answers them.
        """
        encoded = [
            self._encode_frames(round, sample.image_qa) if round.images else None
            for round in sample.rounds
        ]
        grids = [frames[1] if frames else None for frames in encoded]
        stem = self._stem(sample, grids)
        branches = [stem]
        for question, answer in sample.questions:
            branches.append(self._question_turn(sample, question, answer=answer))
        context = {index for index, round in enumerate(sample.rounds) if round.context_only}
        return ClipSequence(
            Ledger().append(segment for branch in branches for segment in branch),
            tuple(
                label
                for branch in branches
                for segment in branch
                for label in self._labels(segment, is_context=segment.round in context)
            ),
            tuple(n for n, branch in enumerate(branches) for _ in range(sum(map(len, branch)))),
            self._positions(branches),
            tuple(frames[0] for frames in encoded if frames),
            tuple(grid for grid in grids if grid),
        )

    def _with_black_frame(self, clip: ClipSequence) -> ClipSequence:
        """Append a black frame to the last branch: no token sees it, as none comes after it."""
        patches, grid = to_patches((np.zeros((28, 28, 3), np.uint8),), self._spec)
        frame = self._chat_format.plain_frames(grid, self._grid_seconds)
        count = sum(map(len, frame))
        return ClipSequence(
            clip.ledger.append(frame),
            (*clip.labels, *[IGNORED] * count),
            (*clip.branch, *[clip.branch[-1]] * count),
            torch.cat([clip.positions, positions(frame, self._tokens_per_second)], dim=1),
            (patches,),
            (grid,),
        )

    def _encode_frames(self, round: ClipRound, image_qa: bool) -> tuple[Tensor, Grid]:
        """Return a round's patches and grid. Frames attached to a question have its resolution."""
        spec = self._question_spec if image_qa or round.context_only else self._spec
        return to_patches(round.images, spec)

    def _stem(self, sample: ClipSample, grids: Sequence[Grid | None]) -> list[Segment]:
        """Return the opening and every round; of an image_qa sample only its frames."""
        if sample.image_qa and grids[0]:
            return self._chat_format.plain_frames(grids[0], self._grid_seconds)
        segments = self._opening(sample.previous)
        for index, (round, grid) in enumerate(zip(sample.rounds, grids, strict=True)):
            instruction = "" if index else sample.instruction
            segments += self._round(index, round, grid=grid, instruction=instruction)
        return segments

    def _question_turn(self, sample: ClipSample, question: str, *, answer: str) -> list[Segment]:
        """Return a question after the last round, with its answer."""
        if sample.image_qa:
            return [
                *self._chat_format.plain_question(question),
                *self._chat_format.plain_answer(answer),
            ]
        index, newest = len(sample.rounds), sample.rounds[-1]
        turn = self._chat_format.user_turn(index, (newest.start_s, newest.end_s), question=question)
        return turn + self._chat_format.assistant_turn(index, "", answer=answer)

    def _positions(self, branches: Sequence[Sequence[Segment]]) -> Tensor:
        """Return positions (3, tokens). Every branch continues where the stem ends."""
        stem = branches[0]
        length = sum(map(len, stem))
        parts = [positions(stem, self._tokens_per_second)]
        for branch in branches[1:]:
            parts.append(positions([*stem, *branch], self._tokens_per_second)[:, length:])
        return torch.cat(parts, dim=1)

    def _opening(self, previous: Sequence[str]) -> list[Segment]:
        """Return the system turn and the previous narration, cut as the engine cuts it."""
        ids = [id for text in previous if text for id in self._chat_format.encode(" " + text)]
        return self._chat_format.opening(cut(ids, self._settings.window))

    def _round(
        self, index: int, round: ClipRound, *, grid: Grid | None, instruction: str
    ) -> list[Segment]:
        user = self._chat_format.user_turn(
            index,
            (round.start_s, round.end_s),
            grid=grid,
            grid_seconds=self._grid_seconds,
            question=round.question,
            instruction=instruction,
        )
        return user + self._chat_format.assistant_turn(index, round.text, answer=round.answer)

    def _labels(self, segment: Segment, *, is_context: bool) -> list[int]:
        """Label the assistant's tokens up to `<|im_end|>`.

        The line break after it has no label: the engine writes it, the model doesn't.
        """
        ids = list(segment.ids)
        if is_context or segment.kind not in (Kind.NARRATION, Kind.ASSISTANT_END):
            return [IGNORED] * len(ids)
        end_id = self._chat_format.end_id
        count = ids.index(end_id) + 1 if end_id in ids else len(ids)
        return ids[:count] + [IGNORED] * (len(ids) - count)


def _as_integers(positions: Tensor) -> Tensor:
    """Return integers if all positions are whole numbers, as at 1, 2 and 4 frames per second.

    DeepSpeed and FSDP convert floating-point inputs of a model in bfloat16 to bfloat16, which can't
    represent 257.
    """
    integers = positions.long()
    return integers if torch.equal(integers.to(positions.dtype), positions) else positions
