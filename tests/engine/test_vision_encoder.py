"""Our loop over the vision tower's blocks: transformers' numbers, in fewer and larger calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VisionTransformerPretrainedModel,
)

from streamingvlm_ros.engine.attention import within_runs
from streamingvlm_ros.engine.qwen2_5.vision import VisionSpec, patch_grid, to_patches
from streamingvlm_ros.engine.qwen2_5.vision_encoder import VisionEncoder
from streamingvlm_ros.types import Image

SPEC = VisionSpec(min_tokens=1)
UNEQUAL = (9 * 28, 11 * 28)
"""A size whose windows have four shapes: 4 or 1 rows by 4 or 3 columns of tokens."""

SEVEN_B: dict[str, Any] = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "out_hidden_size": 3584,
    "fullatt_block_indexes": [7, 15, 23, 31],
}


ONE_KERNEL = {torch.ops.aten.rms_norm, torch.ops.aten.scaled_dot_product_attention}
"""Operations that a GPU runs in one launch, although other devices may compose them."""


class Operations(TorchDispatchMode):
    """Counts operations as launches on a GPU. Views cost nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket not in ONE_KERNEL:
            with self:
                done = func.decompose(*args, **(kwargs or {}))
            if done is not NotImplemented:
                return done
        if not func.is_view:
            self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def counted(encoder: VisionEncoder, groups: Sequence[Sequence[Image]]) -> Counter[str]:
    """Return the operations for frames of sizes that were encoded before."""
    with torch.inference_mode():
        encoder.encode(groups, SPEC)
        with Operations() as operations:
            encoder.encode(groups, SPEC)
    return operations.counts


@pytest.fixture(scope="module")
def tower() -> Any:
    """Return a small tower: every weight matters, and a third of the layers see whole frames."""
    torch.manual_seed(0)
    config = Qwen2_5_VLVisionConfig(
        depth=6,
        hidden_size=32,
        intermediate_size=48,
        num_heads=2,
        out_hidden_size=24,
        fullatt_block_indexes=[2, 5],
    )
    made = Qwen2_5_VisionTransformerPretrainedModel._from_config(config, attn_implementation="sdpa")
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return made.eval()


@pytest.fixture(scope="module")
def encoder(tower: Any) -> VisionEncoder:
    return VisionEncoder(tower, "masked")


def noise(frames: int, size: tuple[int, int], *, seed: int = 0) -> list[Image]:
    random = np.random.default_rng(seed)
    return list(random.integers(0, 256, (frames, *size, 3), dtype=np.uint8))


def by_transformers(tower: Any, images: Sequence[Image]) -> Tensor:
    patches, grid = to_patches(images, SPEC)
    shape = torch.tensor([patch_grid(grid, SPEC)])
    with torch.no_grad():
        return tower(patches.to(tower.dtype), grid_thw=shape).pooler_output


@pytest.mark.parametrize("frames", [1, 2, 8, 30])
@pytest.mark.parametrize(
    "size", [(224, 224), (112, 336), UNEQUAL, (56, 84), (28, 28), (112, 140), (100, 333)]
)
def test_tokens_equal_those_of_transformers(
    tower: Any, encoder: VisionEncoder, frames: int, size: tuple[int, int]
) -> None:
    images = noise(frames, size)
    [(tokens, grid)] = encoder.encode([images], SPEC)
    assert grid == to_patches(images, SPEC)[1]
    assert grid[0] == (frames + 1) // 2
    expected = by_transformers(tower, images)
    assert expected.std() > 0.5
    assert tokens.shape == expected.shape
    assert (tokens - expected).abs().max() < 1e-5


@pytest.mark.parametrize("size", [(224, 224), UNEQUAL])
def test_half_precision_is_as_close_to_float32_as_transformers(
    tower: Any, size: tuple[int, int]
) -> None:
    images = noise(4, size)
    exact = by_transformers(tower, images)
    halved = type(tower)._from_config(tower.config, attn_implementation="sdpa")
    halved.load_state_dict(tower.state_dict())
    halved.to(torch.bfloat16).eval()
    [(tokens, _)] = VisionEncoder(halved, "masked").encode([images], SPEC)
    assert tokens.dtype == torch.bfloat16
    error = (tokens - exact).square().mean()
    assert 0 < error < 1.2 * (by_transformers(halved, images) - exact).square().mean()


@pytest.mark.parametrize("size", [(224, 224), UNEQUAL])
def test_pairs_of_frames_one_by_one_equal_all_at_once(
    encoder: VisionEncoder, size: tuple[int, int]
) -> None:
    images = noise(8, size)
    [(at_once, _)] = encoder.encode([images], SPEC)
    pairs = [encoder.encode([images[i : i + 2]], SPEC)[0][0] for i in range(0, 8, 2)]
    assert torch.equal(torch.cat(pairs), at_once)


def test_cameras_together_equal_each_alone_in_the_order_given(encoder: VisionEncoder) -> None:
    groups = [
        noise(2, UNEQUAL, seed=1),
        noise(8, (112, 112), seed=2),
        noise(3, UNEQUAL, seed=3),
        noise(2, (9 * 28 + 5, 11 * 28 - 5), seed=4),
        noise(2, (112, 112), seed=5),
    ]
    together = encoder.encode(groups, SPEC)
    alone = [encoder.encode([group], SPEC)[0] for group in groups]
    assert [grid for _, grid in together] == [grid for _, grid in alone]
    for (tokens, _), (expected, _) in zip(together, alone, strict=True):
        assert (tokens - expected).abs().max() < 1e-5


def test_no_groups_give_no_tokens(encoder: VisionEncoder) -> None:
    assert encoder.encode([], SPEC) == []


@pytest.mark.parametrize(("size", "gathers"), [((224, 224), 0), (UNEQUAL, 4)])
def test_a_layer_attends_in_one_call_without_host_synchronisation(
    tower: Any, encoder: VisionEncoder, size: tuple[int, int], gathers: int
) -> None:
    counts, depth = counted(encoder, [noise(4, size)]), tower.config.depth
    assert counts["scaled_dot_product_attention"] == depth
    windowed = depth - len(tower.config.fullatt_block_indexes)
    assert counts["index_select"] == 2 + gathers * windowed
    assert not {"_local_scalar_dense", "nonzero", "sort", "arange", "cos"} & counts.keys()


def test_groups_of_one_size_share_every_call_after_their_patches(encoder: VisionEncoder) -> None:
    one, four = (counted(encoder, [noise(2, UNEQUAL)] * count) for count in (1, 4))
    for name in ("addmm", "index_select", "mul"):
        assert one[name] == four[name] > 0


@pytest.mark.parametrize(("backend", "max_operations"), [("varlen", 640), ("masked", 800)])
def test_7b_tower_at_8_fps_takes_few_launches_and_no_value_from_the_device(
    backend: str, max_operations: int
) -> None:
    config = Qwen2_5_VLVisionConfig(**SEVEN_B)
    with torch.device("meta"):
        made = Qwen2_5_VisionTransformerPretrainedModel._from_config(config, dtype=torch.bfloat16)
    encoder, images = VisionEncoder(made.eval(), backend), noise(8, (480, 640))
    [(tokens, grid)] = encoder.encode([images], VisionSpec())
    assert grid == (4, 17, 23)
    assert tokens.shape == (4 * 17 * 23, 3584)
    assert tokens.device.type == "meta"
    assert 400 < counted(encoder, [images]).total() <= max_operations


def on_cuda(tower: Any) -> Any:
    again = type(tower)._from_config(tower.config, attn_implementation="sdpa")
    again.load_state_dict(tower.state_dict())
    return again.to("cuda", torch.bfloat16).eval()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("size", [(224, 224), UNEQUAL])
def test_kernels_without_masks_give_the_tokens_of_masked(tower: Any, size: tuple[int, int]) -> None:
    images, halved = noise(4, size), on_cuda(tower)
    exact = by_transformers(tower, images)
    errors = []
    for name in ("masked", "varlen"):
        [(tokens, _)] = VisionEncoder(halved, name).encode([images], SPEC)
        errors.append((tokens.cpu() - exact).square().mean())
    assert errors[1] < 1.2 * errors[0]


@pytest.mark.parametrize("lengths", [[5], [4, 4, 4], [4, 1, 3], [1, 1, 1, 6, 2]])
def test_runs_see_only_themselves(lengths: list[int]) -> None:
    query, key, value = torch.randn(3, sum(lengths), 2, 8)
    cpu = torch.device("cpu")
    attend = within_runs("masked", lengths, device=cpu, dtype=torch.float32)
    assert torch.allclose(
        attend(query, key, value), one_by_one(query, key, value, lengths), atol=1e-6
    )


def one_by_one(query: Tensor, key: Tensor, value: Tensor, lengths: list[int]) -> Tensor:
    runs = zip(*(x.split(lengths) for x in (query, key, value)), strict=True)
    softmax: Callable[[Tensor], Tensor] = torch.nn.Softmax(dim=-1)
    each = []
    for q, k, v in runs:
        weights = softmax(torch.einsum("qhd,khd->hqk", q, k) / q.shape[-1] ** 0.5)
        each.append(torch.einsum("hqk,khd->qhd", weights, v))
    return torch.cat(each)
