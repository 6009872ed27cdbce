"""Conversion of frames to the patches that Qwen2.5-VL's vision tower takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ...config import AskingConfig, ModelConfig
from ...errors import ImageError
from ...types import Image
from ..ledger import Grid

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class VisionSpec:
    """Sizes by which a checkpoint's vision tower cuts frames.

    `min_tokens` and `max_tokens` are per frame.

    A temporal step of `grid_seconds` is `grid_seconds * tokens_per_second` positions long.
    """

    patch_px: int = 14
    temporal_patch: int = 2
    merge: int = 2
    tokens_per_second: float = 2.0
    min_tokens: int = 100
    max_tokens: int = 768

    @classmethod
    def of(cls, checkpoint: Any, config: ModelConfig) -> VisionSpec:
        """Return the spec of a checkpoint's configuration, with the user's frame budget."""
        tower = checkpoint.vision_config
        return cls(
            patch_px=tower.patch_size,
            temporal_patch=tower.temporal_patch_size,
            merge=tower.spatial_merge_size,
            tokens_per_second=float(tower.tokens_per_second),
            min_tokens=config.min_frame_tokens,
            max_tokens=config.max_frame_tokens,
        )

    def for_questions(self, config: AskingConfig) -> VisionSpec:
        """Return the spec of the same tower with the budget of a question's own frames."""
        return replace(self, max_tokens=max(self.max_tokens, config.question_frame_tokens))

    def grid_seconds(self, fps: float) -> float:
        """Return the time between two temporal steps of vision tokens."""
        return self.temporal_patch / fps

    @property
    def token_px(self) -> int:
        """Side of the square of pixels that becomes one token."""
        return self.patch_px * self.merge


def frame_size(height: int, width: int, *, spec: VisionSpec) -> tuple[int, int]:
    """Return the (height, width) that a frame is resized to, in pixels.

    Both are multiples of a token's side, there are never more tokens than the spec allows (fewer
    only where the shape leaves no choice), and the shape is kept as well as that allows: the rule
    of `smart_resize` in qwen-vl-utils, except that the budget also holds for very small and very
    long frames.
    """
    side = spec.token_px
    rows, columns = max(1, round(height / side)), max(1, round(width / side))
    if rows * columns > spec.max_tokens:
        scale = math.sqrt(height * width / (spec.max_tokens * side * side))
        rows = max(1, math.floor(height / scale / side))
        columns = max(1, math.floor(width / scale / side))
    elif rows * columns < spec.min_tokens:
        scale = math.sqrt(spec.min_tokens * side * side / (height * width))
        rows, columns = math.ceil(height * scale / side), math.ceil(width * scale / side)
    rows = min(rows, spec.max_tokens)
    columns = min(columns, spec.max_tokens // rows)
    return rows * side, columns * side


def token_grid(images: Sequence[Image], spec: VisionSpec) -> Grid:
    """Return the token grid of one round's frames, all of one size.

    Raises:
        ImageError: an image is not (height, width, 3), has no pixels, or differs in size.
    """
    shapes = list(dict.fromkeys(image.shape for image in images))
    shape = shapes[0]
    if len(shapes) > 1 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise ImageError(
            f"images are {', '.join(map(str, shapes))}: give (height, width, 3), all of one size"
        )
    height, width, _ = shape
    height, width = frame_size(height, width, spec=spec)
    steps = math.ceil(len(images) / spec.temporal_patch)
    return steps, height // spec.token_px, width // spec.token_px


def to_patches(
    images: Sequence[Image], spec: VisionSpec, *, device: torch.device | str = "cpu"
) -> tuple[Tensor, Grid]:
    """Return patches and token grid of one round's frames.

    `images` are (height, width, 3) uint8, all of one size; an odd last one is repeated. Returns
    float32 (patches, 3 * temporal_patch * patch_px**2) in the tower's order (four patches of a
    token together) and the merged grid.
    """
    missing = -len(images) % spec.temporal_patch
    video = _uploaded(np.stack([*images, *[images[-1]] * missing]), torch.device(device))
    size = frame_size(video.shape[1], video.shape[2], spec=spec)
    if size != tuple(video.shape[1:3]):
        video = _resize(video, size)
    patches, grid = _cut(video, spec)
    scale, offset = _normalisation(spec.patch_px**2 * spec.temporal_patch, patches.device)
    return torch.addcmul(offset, patches.float(), scale), grid


def _uploaded(pixels: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Copy bytes to the device; the host does not wait until a GPU has them."""
    host = torch.from_numpy(pixels)
    if device.type == "cuda":
        host = host.pin_memory()
    return host.to(device, non_blocking=True)


@cache
def _normalisation(values: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return factor and summand of each column of patches with `values` values per colour."""
    mean, std = torch.tensor(CLIP_MEAN).double(), torch.tensor(CLIP_STD).double()
    scale, offset = 1 / (255 * std), -mean / std
    columns = torch.stack([scale, offset]).float().repeat_interleave(values, dim=1).to(device)
    return columns[0], columns[1]


def _resize(video: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize bicubically with antialiasing, rounded to uint8 levels, as torchvision does."""
    channels_first = video.permute(0, 3, 1, 2).float()
    resized = F.interpolate(channels_first, size=size, mode="bicubic", antialias=True)
    return resized.round_().clamp_(0, 255).permute(0, 2, 3, 1)


def _cut(video: Tensor, spec: VisionSpec) -> tuple[Tensor, Grid]:
    """Cut (frames, height, width, 3) into rows of one patch each, grouped by merged token."""
    frames, height, width, colours = video.shape
    steps, merge, patch = frames // spec.temporal_patch, spec.merge, spec.patch_px
    rows, columns = height // spec.token_px, width // spec.token_px
    video = video.reshape(
        steps, spec.temporal_patch, rows, merge, patch, columns, merge, patch, colours
    )
    video = video.permute(0, 2, 5, 3, 6, 8, 1, 4, 7)
    patches = video.reshape(steps * rows * columns * merge * merge, -1)
    return patches, (steps, rows, columns)


def patch_grid(grid: Grid, spec: VisionSpec) -> Grid:
    """Return the grid in patches, as in transformers' `grid_thw`."""
    return grid[0], grid[1] * spec.merge, grid[2] * spec.merge
