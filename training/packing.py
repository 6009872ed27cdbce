"""Clips as the rows of a batch: each padded in a row of its own, or all packed into one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from streamingvlm_ros.engine.ledger import Grid, Ledger

IGNORED = -100
"""Label of a token that is not learnt."""

_PADDING = -1


@dataclass(frozen=True)
class ClipSequence:
    """A clip as the model takes it: segments and their labels, patches and the grids of those.

    `branch` is each token's question, from 1 on; 0 is what all questions are asked of. Positions
    are (3, tokens).
    """

    ledger: Ledger
    labels: tuple[int, ...]
    branch: tuple[int, ...]
    positions: Tensor
    patches: tuple[Tensor, ...]
    grids: tuple[Grid, ...]


def padded(clips: Sequence[ClipSequence], padding_id: int) -> dict[str, Tensor]:
    """Rows of (clips, tokens), padded at the right; positions are (3, clips, tokens).

    Where a clip has several questions there is a mask (clips, 1, tokens, tokens), true where a
    row's token sees a column's. Without, causal is all: padding comes last, and so does a question
    that is alone.
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
    return batch | _mask(clips, owner, branch)


def packed(clips: Sequence[ClipSequence]) -> dict[str, Tensor]:
    """One row of all tokens, (1, tokens), a clip after the other; positions are (4, 1, tokens).

    The first of those count a clip's tokens from 0: by them attention is kept within clips, where
    there is no mask. There is one, as for padded rows, where a clip has several questions.
    """
    counts = [len(clip.ledger) for clip in clips]
    text = torch.cat([torch.arange(n, dtype=torch.float32) for n in counts])
    places = torch.cat([clip.positions for clip in clips], dim=1)
    batch = {
        "input_ids": torch.tensor([[id for clip in clips for id in clip.ledger.ids]]),
        "labels": torch.tensor([[label for clip in clips for label in clip.labels]]),
        "position_ids": torch.cat([text[None], places])[:, None],
    }
    owner = torch.arange(len(clips)).repeat_interleave(torch.tensor(counts))
    branch = torch.tensor([n for clip in clips for n in clip.branch])
    return batch | _mask(clips, owner[None], branch[None])


def _mask(clips: Sequence[ClipSequence], owner: Tensor, branch: Tensor) -> dict[str, Tensor]:
    """The mask of rows whose tokens belong to these clips and branches, where there must be one.

    A token sees those before it of its clip: of its own branch and of the stem. Padding sees
    padding, or attention would be no number.
    """
    if all(max(clip.branch) < 2 for clip in clips):
        return {}
    same_clip = owner[:, :, None] == owner[:, None]
    same_branch = branch[:, :, None] == branch[:, None]
    sees = same_clip & (same_branch | (branch == 0)[:, None])
    return {"attention_mask": sees.tril()[:, None]}
