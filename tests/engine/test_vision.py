"""Conversion of frames to patches: sizes, order and values as in Qwen's own preprocessing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
    Qwen2VLImageProcessorPil,
    smart_resize,
)

from streamingvlm_ros.engine.qwen2_5.vision import (
    CLIP_MEAN,
    CLIP_STD,
    VisionSpec,
    frame_size,
    patch_grid,
    to_patches,
)

SPEC = VisionSpec()


@given(st.integers(28, 2200), st.integers(28, 2200))
def test_frame_sizes_are_those_of_smart_resize(height: int, width: int) -> None:
    expected = smart_resize(
        height,
        width,
        factor=28,
        min_pixels=SPEC.min_tokens * 28 * 28,
        max_pixels=SPEC.max_tokens * 28 * 28,
    )
    assert frame_size(height, width, spec=SPEC) == expected


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 40))
def test_a_frame_never_takes_more_tokens_than_allowed(height: int, width: int, limit: int) -> None:
    spec = VisionSpec(min_tokens=min(16, limit), max_tokens=limit)
    rows, columns = (side // 28 for side in frame_size(height, width, spec=spec))
    assert 1 <= rows * columns <= limit


def test_patches_equal_those_of_qwens_image_processor() -> None:

    image = np.random.default_rng(0).integers(0, 256, (56, 84, 3), dtype=np.uint8)
    spec = VisionSpec(min_tokens=1, max_tokens=6)
    expected = Qwen2VLImageProcessorPil(
        size={"shortest_edge": 28 * 28, "longest_edge": 6 * 28 * 28}
    )(images=[image], return_tensors="pt")
    patches, grid = to_patches([image], spec)
    assert torch.allclose(patches, expected["pixel_values"], atol=1e-5)
    assert [patch_grid(grid, spec)] == [tuple(g) for g in expected["image_grid_thw"].tolist()]


def test_an_odd_last_frame_is_repeated() -> None:
    images = np.random.default_rng(1).integers(0, 256, (3, 56, 56, 3), dtype=np.uint8)
    spec = VisionSpec(min_tokens=1)
    odd, grid = to_patches(list(images), spec)
    even, _ = to_patches([*images, images[2]], spec)
    assert grid == (2, 2, 2)
    assert torch.equal(odd, even)


@pytest.mark.parametrize("size", [(480, 640), (1080, 1920), (37, 53)])
def test_resizing_equals_torchvisions(size: tuple[int, int]) -> None:
    vision_process = pytest.importorskip(
        "qwen_vl_utils.vision_process", reason="needs torchvision", exc_type=ImportError
    )
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.functional import resize

    image = np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)
    height, width = frame_size(*size, spec=SPEC)
    assert (height, width) == vision_process.smart_resize(
        *size, min_pixels=SPEC.min_tokens * 784, max_pixels=SPEC.max_tokens * 784
    )
    expected = resize(
        torch.from_numpy(image).permute(2, 0, 1), [height, width], InterpolationMode.BICUBIC
    )
    got, _ = to_patches([image], SPEC)
    same, _ = to_patches([expected.permute(1, 2, 0).numpy()], SPEC)
    assert torch.allclose(got, same, atol=1e-5)


def test_every_level_of_every_colour_is_normalised_as_in_three_steps() -> None:
    levels = np.arange(256, dtype=np.uint8).repeat(56 * 28).reshape(-1, 56, 28)
    images = [np.stack([level] * 3, axis=-1) for level in levels]
    patches, _ = to_patches(images, VisionSpec(min_tokens=1))
    got = patches.view(128, 8, 3, 2, 196).permute(0, 3, 2, 1, 4).reshape(256, 3, -1)
    mean, std = torch.tensor(CLIP_MEAN), torch.tensor(CLIP_STD)
    expected = (torch.arange(256.0)[:, None] / 255.0 - mean) / std
    assert (got - expected[..., None]).abs().max() < 1e-6
