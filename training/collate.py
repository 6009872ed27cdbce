"""Clips to batches: the very sequences that the engine feeds, with labels."""

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

from .packing import IGNORED, ClipSequence, packed, padded
from .samples import ClipRound, ClipSample


class Collator:
    """Builds batches for one tokenizer and the settings that a model will run with.

    A batch that `always_sees` has a frame, be it a black one that no other token sees. Processes
    that share the vision tower's weights wait for each other there: none may leave it out. With
    `packing` a batch is one row, without padding. Positions are integers where all are whole.
    """

    def __init__(
        self,
        chat_format: ChatFormat,
        settings: Settings,
        spec: VisionSpec,
        always_sees: bool = False,
        packing: bool = False,
    ) -> None:
        self._always_sees, self._packing = always_sees, packing
        self._chat_format, self._settings, self._spec = chat_format, settings, spec
        self._question_spec = spec.of_questions(settings.asking)
        self._grid_seconds = spec.grid_seconds(settings.frames.fps)
        self._tokens_per_second = spec.tokens_per_second

    def __call__(self, samples: Sequence[ClipSample]) -> dict[str, Tensor]:
        """Rows, as `packed` or `padded` make them, and all their patches in the same order."""
        clips = [self.sequence(sample) for sample in samples]
        if self._always_sees and not any(clip.grids for clip in clips):
            clips[0] = self._with_black_frame(clips[0])
        batch = packed(clips) if self._packing else padded(clips, self._chat_format.end_id)
        batch["position_ids"] = _whole(batch["position_ids"])
        grids = [patch_grid(grid, self._spec) for clip in clips for grid in clip.grids]
        if grids:
            batch["pixel_values_videos"] = torch.cat([p for clip in clips for p in clip.patches])
            batch["video_grid_thw"] = torch.tensor(grids)
        return batch

    def sequence(self, sample: ClipSample) -> ClipSequence:
        """The clip's dialogue, as if the engine had streamed it and nothing had left since.

        Its questions branch off at the end, side by side, as the engine answers them.
        """
        seen = [
            self._seen(round, sample.plain) if round.images else None for round in sample.rounds
        ]
        grids = [one[1] if one else None for one in seen]
        stem = self._stem(sample, grids)
        branches = [stem, *(self._asked(sample, *pair) for pair in sample.asked)]
        given = {index for index, round in enumerate(sample.rounds) if round.given}
        return ClipSequence(
            Ledger().append(segment for branch in branches for segment in branch),
            tuple(
                label
                for branch in branches
                for segment in branch
                for label in self._labels(segment, learnt=segment.round not in given)
            ),
            tuple(n for n, branch in enumerate(branches) for _ in range(sum(map(len, branch)))),
            self._places(branches),
            tuple(one[0] for one in seen if one),
            tuple(grid for grid in grids if grid),
        )

    def _with_black_frame(self, clip: ClipSequence) -> ClipSequence:
        """The clip and, at the end of its last branch, a frame: causal or not, none sees it."""
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

    def _seen(self, round: ClipRound, plain: bool) -> tuple[Tensor, Grid]:
        """A round's patches: frames that only a question brings along have its resolution."""
        spec = self._question_spec if plain or round.given else self._spec
        return to_patches(round.images, spec)

    def _stem(self, sample: ClipSample, grids: Sequence[Grid | None]) -> list[Segment]:
        """The opening and every round; or frames alone."""
        if sample.plain and grids[0]:
            return self._chat_format.plain_frames(grids[0], self._grid_seconds)
        segments = self._opening(sample.previous)
        for index, (round, grid) in enumerate(zip(sample.rounds, grids, strict=True)):
            segments += self._round(index, round, grid, "" if index else sample.instruction)
        return segments

    def _asked(self, sample: ClipSample, question: str, answer: str) -> list[Segment]:
        """A question after the last round, and its answer."""
        if sample.plain:
            return [
                *self._chat_format.plain_question(question),
                *self._chat_format.plain_answer(answer),
            ]
        index, newest = len(sample.rounds), sample.rounds[-1]
        turn = self._chat_format.user_turn(index, newest.start_s, newest.end_s, question=question)
        return turn + self._chat_format.assistant_turn(index, "", answer)

    def _places(self, branches: Sequence[Sequence[Segment]]) -> Tensor:
        """(3, tokens): every branch goes on where the stem ends."""
        stem = branches[0]
        length = sum(map(len, stem))
        places = [positions(stem, self._tokens_per_second)]
        for branch in branches[1:]:
            places.append(positions([*stem, *branch], self._tokens_per_second)[:, length:])
        return torch.cat(places, dim=1)

    def _opening(self, previous: Sequence[str]) -> list[Segment]:
        """The system turn and what was said before, cut as the engine cuts it."""
        ids = [id for text in previous if text for id in self._chat_format.encode(" " + text)]
        return self._chat_format.opening(cut(ids, self._settings.window))

    def _round(
        self, index: int, round: ClipRound, grid: Grid | None, instruction: str
    ) -> list[Segment]:
        user = self._chat_format.user_turn(
            index,
            round.start_s,
            round.end_s,
            grid=grid,
            grid_seconds=self._grid_seconds,
            question=round.question,
            instruction=instruction,
        )
        return user + self._chat_format.assistant_turn(index, round.text, round.answer)

    def _labels(self, segment: Segment, learnt: bool) -> list[int]:
        """The assistant's tokens to `<|im_end|>`: the line break after it is written, not said."""
        ids = list(segment.ids)
        if not learnt or segment.kind not in (Kind.NARRATION, Kind.ASSISTANT_END):
            return [IGNORED] * len(ids)
        said = (
            ids.index(self._chat_format.end_id) + 1 if self._chat_format.end_id in ids else len(ids)
        )
        return ids[:said] + [IGNORED] * (len(ids) - said)


def _whole(places: Tensor) -> Tensor:
    """Integers, if all are whole, as at 1, 2 and 4 frames per second.

    Under DeepSpeed and FSDP a model that computes in bfloat16 gets floating inputs in it, too, and
    bfloat16 has no 257.
    """
    whole = places.long()
    return whole if torch.equal(whole.to(places.dtype), places) else places
