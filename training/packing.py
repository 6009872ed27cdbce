"""Clips as rows of a batch: one padded row per clip, or all clips packed into one row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from streamingvlm_ros.engine.ledger import Grid, Ledger

IGNORED = -100
"""Label of a token without a loss, as torch's cross entropy has it."""

_PADDING = -1


@dataclass(frozen=True)
class ClipSequence:
    """A clip as model input: segments with labels, patches and the patches' grids.

    `branch` holds the question number of each token, from 1; 0 is the stem that all questions
    share. `positions` are (3, tokens).
    """

    ledger: Ledger
    labels: tuple[int, ...]
    branch: tuple[int, ...]
    positions: Tensor
    patches: tuple[Tensor, ...]
    grids: tuple[Grid, ...]


def pad_clips(clips: Sequence[ClipSequence], padding_id: int) -> dict[str, Tensor]:
    """Return rows of (clips, tokens), padded at the right; positions are (3, clips, tokens).

    If a clip has several questions there is a mask (clips, 1, tokens, tokens), true where a row's
    token sees a column's. Otherwise causal attention is enough: padding comes last, and so does a
    single question.
    """
    length = max(len(clip.ledger) for clip in clips)
    shape = (len(clips), length)
    batch = {
        "input_ids": torch.full(shape, padding_id),
        "labels": torch.full(shape, IGNORED),
        "position_ids": torch.zeros(3, *shape),
    }
    owner, branch = torch.full(shape, _PADDING), torch.zeros(shape, dtype=torch.long)
    for row, clip in enumerate(clips):
        n = len(clip.ledger)
        batch["input_ids"][row, :n] = torch.tensor(clip.ledger.ids)
        batch["labels"][row, :n] = torch.tensor(clip.labels)
        batch["position_ids"][:, row, :n] = clip.positions
        owner[row, :n], branch[row, :n] = row, torch.tensor(clip.branch)
    return batch | _mask(clips, owner, branch=branch)


def pack_clips(clips: Sequence[ClipSequence]) -> dict[str, Tensor]:
    """Return one row (1, tokens) with one clip after another; positions are (4, 1, tokens).

    The first of the four positions counts each clip's tokens from 0. Attention stays within clips
    by it where there is no mask. There is a mask, as for padded rows, if a clip has several
    questions.
    """
    counts = [len(clip.ledger) for clip in clips]
    text = torch.cat([torch.arange(n, dtype=torch.float32) for n in counts])
    positions = torch.cat([clip.positions for clip in clips], dim=1)
    batch = {
        "input_ids": torch.tensor([[id for clip in clips for id in clip.ledger.ids]]),
        "labels": torch.tensor([[label for clip in clips for label in clip.labels]]),
        "position_ids": torch.cat([text[None], positions])[:, None],
    }
    owner = torch.arange(len(clips)).repeat_interleave(torch.tensor(counts))
    branch = torch.tensor([n for clip in clips for n in clip.branch])
    return batch | _mask(clips, owner[None], branch=branch[None])


def _mask(clips: Sequence[ClipSequence], owner: Tensor, *, branch: Tensor) -> dict[str, Tensor]:
    """Return the attention mask of rows by each token's clip and branch, if one is needed.

    A token sees earlier tokens of its clip that are on its own branch or on the stem. Padding sees
    padding: attention to nothing would be NaN.
    """
    if all(max(clip.branch) < 2 for clip in clips):
        return {}
    same_clip = owner[:, :, None] == owner[:, None]
    same_branch = branch[:, :, None] == branch[:, None]
    sees = same_clip & (same_branch | (branch == 0)[:, None])
    return {"attention_mask": sees.tril()[:, None]}
