"""The vision tower's loop over the blocks that transformers loaded, for frames of many cameras.

Ours, so that a layer is one attention call for any windows, and so that what depends on a frame's
size is computed once. A token sees its own temporal step only: frames may be encoded together or
separately. Training runs transformers' own forward; tests hold both to the same output.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ...types import Image
from ..attention import AttendRun, rotate, signed, within_runs
from ..ledger import Grid
from .vision import VisionSpec, to_patches

MAX_LAYOUTS = 16
"""Maximum number of cached layouts. A camera has one, or two if frames are fed in pairs."""


class VisionEncoder:
    """Turns frames into vision tokens with a loaded Qwen2.5-VL's tower."""

    def __init__(self, tower: Any, backend: str) -> None:
        """Take a model's `visual` as `tower`, and a backend of engine/attention.py."""
        self._tower = tower
        self._patch_weight: Tensor = tower.patch_embed.proj.weight
        self.device, self.dtype = self._patch_weight.device, self._patch_weight.dtype
        self._layout = lru_cache(MAX_LAYOUTS)(partial(_layout, tower=tower, backend=backend))

    @torch.no_grad()
    def encode(
        self, groups: Sequence[Sequence[Image]], spec: VisionSpec
    ) -> list[tuple[Tensor, Grid]]:
        """Return vision tokens (tokens, hidden) of each group of frames, and their grid.

        A group is one camera's frames, all of one size. Groups with the same numbers of token rows
        and columns go through the tower together.
        """
        patches = [to_patches(images, spec, device=self.device) for images in groups]
        together: dict[tuple[int, int], list[int]] = {}
        for index, (_, (_, rows, columns)) in enumerate(patches):
            together.setdefault((rows, columns), []).append(index)
        encoded: dict[int, Tensor] = {}
        for size, members in together.items():
            steps = [patches[index][1][0] for index in members]
            tokens = self._run(
                torch.cat([patches[index][0] for index in members]), steps, size=size
            )
            encoded.update(zip(members, tokens, strict=True))
        return [(encoded[index], grid) for index, (_, grid) in enumerate(patches)]

    def _run(self, patches: Tensor, steps: list[int], *, size: tuple[int, int]) -> Sequence[Tensor]:
        """Return tokens of groups of `steps` temporal steps each, all of one (rows, columns)."""
        layout = self._layout((sum(steps), *size))
        hidden = layout.to_windows(patches.to(self.dtype))
        hidden = F.linear(hidden, self._patch_weight.flatten(1))
        for index, block in enumerate(self._tower.blocks):
            whole = index in self._tower.fullatt_block_indexes
            attend = layout.within_frames if whole else layout.within_windows
            hidden += self._attend(
                block.attn, _norm(block.norm1, hidden), layout=layout, attend=attend
            )
            hidden += block.mlp(_norm(block.norm2, hidden))
        tokens = layout.from_windows(self._tower.merger(hidden))
        return tokens.split([count * math.prod(size) for count in steps])

    def _attend(
        self, attention: Any, hidden: Tensor, *, layout: _Layout, attend: AttendRun
    ) -> Tensor:
        """Return one block's attention, (patches, hidden)."""
        projected = attention.qkv(hidden).unflatten(1, (3, attention.num_heads, -1))
        queries_keys = projected[:, :2].unflatten(0, (-1, len(layout.cos)))
        rotated = rotate(queries_keys, layout.cos, layout.sin).flatten(0, 1)
        attended = attend(rotated[:, 0], rotated[:, 1], projected[:, 2])
        attended_projected: Tensor = attention.proj(attended.flatten(1))
        return attended_projected


@dataclass(frozen=True)
class _Layout:
    """Layout of a grid: the order of its patches, their rotations and their attention.

    Within a step, tokens are ordered by window; `cos` and `sin` are (patches of a step, 1, 1,
    head_dim) in that order, float32.
    """

    order: Tensor
    back: Tensor
    cos: Tensor
    sin: Tensor
    within_windows: AttendRun
    within_frames: AttendRun

    def to_windows(self, patches: Tensor) -> Tensor:
        """Reorder (patches, n), those of a token together, by window."""
        tokens = len(self.order)
        merged = len(self.cos) // tokens
        by_token = patches.view(-1, tokens, merged * patches.shape[1])
        return by_token.index_select(1, self.order).view(patches.shape)

    def from_windows(self, tokens: Tensor) -> Tensor:
        """Reorder (tokens, n) by window back to rows and columns."""
        steps = tokens.unflatten(0, (-1, len(self.order)))
        return steps.index_select(1, self.back).flatten(0, 1)


def _layout(grid: Grid, *, tower: Any, backend: str) -> _Layout:
    """Return the layout of a token grid, made on the host to avoid waiting for the device."""
    steps, rows, columns = grid
    merge = tower.spatial_merge_size
    side = tower.window_size // (merge * tower.patch_size)
    row, column = torch.arange(rows)[:, None], torch.arange(columns)
    window = (row // side * math.ceil(columns / side) + column // side).flatten()
    order = window.argsort(stable=True)
    lengths: list[int] = (window.bincount() * merge**2).tolist()
    weight = tower.patch_embed.proj.weight
    runs = partial(within_runs, backend, device=weight.device, dtype=weight.dtype)
    cos, sin = _rotation(tower, order // columns, columns=order % columns)
    return _Layout(
        order=order.to(weight.device),
        back=order.argsort().to(weight.device),
        cos=cos,
        sin=sin,
        within_windows=runs(lengths * steps),
        within_frames=runs([rows * columns * merge**2] * steps),
    )


def _rotation(tower: Any, rows: Tensor, *, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosine and signed sine of the patches of tokens at `rows` and `columns`."""
    merge = tower.spatial_merge_size
    within = torch.arange(merge**2)
    patch_rows = (rows[:, None] * merge + within // merge).flatten()
    patch_columns = (columns[:, None] * merge + within % merge).flatten()
    frequencies = tower.rotary_pos_emb.inv_freq.float()
    positions = torch.stack([patch_rows, patch_columns], dim=1).to(frequencies.device)
    angles = (positions[..., None] * frequencies).flatten(1).repeat(1, 2)[:, None, None]
    return angles.cos(), signed(angles.sin())


def _norm(norm: Any, hidden: Tensor) -> Tensor:
    """Apply an RMS norm as one operation."""
    return F.rms_norm(hidden, norm.weight.shape, norm.weight, norm.variance_epsilon)
