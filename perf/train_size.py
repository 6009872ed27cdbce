"""The 7B shapes with random weights, trained: tokens per second, memory, FLOP utilisation.

    python perf/train_size.py                 # adapters, as recipes/robot_lora.yaml
    python perf/train_size.py --whole         # all but the vision tower, as stage1.yaml
    python perf/train_size.py --shape tiny    # the same on a CPU, to try the script itself

Needs torch, transformers and peft. A step is a clip of 24 s with noise for frames: forward,
backward and AdamW, with activation checkpointing and the trainer's attention. As with the trainer,
a GPU computes in bfloat16, and trained parameters are float32: with --whole that is all of them,
which takes about 125 GB for the 7B shapes before activations. Utilisation compares the necessary
arithmetic of a step with --peak-tflops (H100 and H200: 989 dense in bfloat16): 6 operations for
each trained parameter and token, 4 for a frozen one through which gradients pass, 2 for the vision
tower, and attention over the clip (Chowdhery et al. 2022, arXiv 2204.02311, appendix B;
recomputation by checkpointing doesn't count). Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from typing import Any

import numpy as np
import torch
from true_size import ROOT, SHAPES, build

sys.path.insert(0, str(ROOT))

from streamingvlm_ros.config import Settings
from streamingvlm_training.attention import use_training_attention
from streamingvlm_training.clip_trainer import loss_positions
from streamingvlm_training.recipe import LoraConfig
from streamingvlm_training.samples import ClipRound, ClipSample
from streamingvlm_training.trainer import (
    collator_for,
    enable_gradient_checkpointing,
)
from streamingvlm_training.weights import add_adapters

CLIP_S = 24
WORDS = "the robot drives past a red door"


def clip(side_px: int, settings: Settings) -> ClipSample:
    """Return a clip of noise, with as many words as a person would say about it."""
    random, count = np.random.default_rng(0), settings.frames.frames_per_chunk
    frames = [random.integers(0, 256, (side_px, side_px, 3), np.uint8) for _ in range(count)]
    return ClipSample(tuple(ClipRound(n, n + 1, tuple(frames), WORDS) for n in range(CLIP_S)))


def operations(model: Any, batch: dict[str, torch.Tensor]) -> float:
    """Return the necessary floating-point operations of a step."""
    text, tokens = model.config.text_config, batch["input_ids"].numel()
    patches = batch["pixel_values_videos"].shape[0]
    total = 0.0
    for name, weights in model.named_parameters():
        if weights.ndim < 2 or "embed_tokens" in name:
            continue
        if "visual" in name:
            total += (6 if weights.requires_grad else 2) * weights.numel() * patches
        else:
            through = batch["logits_to_keep"].numel() if "lm_head" in name else tokens
            total += (6 if weights.requires_grad else 4) * weights.numel() * through
    # Scores and values, forward and twice backward, half of them masked.
    attention = 6 * text.num_hidden_layers * text.hidden_size * tokens**2
    return total + attention


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train some steps and time the later half of them."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    half = device.type == "cuda"
    small = half and not arguments.whole
    loaded = build(
        SHAPES[arguments.shape], device, dtype=torch.bfloat16 if small else torch.float32
    )
    settings, model = Settings(), loaded.model
    model.model.visual.requires_grad_(False)
    collator = collator_for(model, loaded.tokenizer, settings=settings)
    trained = model if arguments.whole else add_adapters(model, LoraConfig())
    use_training_attention(trained)
    enable_gradient_checkpointing(trained)
    trained.train()
    made = collator([clip(arguments.side, settings)])
    batch = {
        name: tensor.to(device)
        for name, tensor in {**made, **loss_positions(made["labels"])}.items()
    }
    learnt = [weight for weight in trained.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=1e-5)
    times_s = [
        step(trained, batch, optimizer=optimizer, device=device) for _ in range(arguments.steps)
    ]
    step_s = float(np.median(times_s[arguments.steps // 2 :]))
    tokens, work = batch["input_ids"].numel(), operations(trained, batch)
    peak = torch.cuda.max_memory_allocated() if half else 0
    return {
        "machine": torch.cuda.get_device_name() if half else platform.processor() or "CPU",
        "shape": arguments.shape,
        "learnt": sum(weight.numel() for weight in learnt),
        "tokens_per_clip": tokens,
        "step_s": round(step_s, 4),
        "tokens_per_s": round(tokens / step_s, 1),
        "peak_memory_gb": round(peak / 1e9, 2),
        "tflops": round(work / step_s / 1e12, 3),
        "utilisation": round(work / step_s / (arguments.peak_tflops * 1e12), 4),
    }


def step(
    model: Any,
    batch: dict[str, torch.Tensor],
    *,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
) -> float:
    """Run one step and return its seconds."""
    began_s = time.perf_counter()
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        loss = model(**batch, use_cache=False).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    if device.type == "cuda":
        torch.cuda.synchronize()
    assert torch.isfinite(loss)
    return time.perf_counter() - began_s


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="7b")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--side", type=int, default=448, help="pixels of the frames")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--peak-tflops", type=float, default=989.0)
    print(json.dumps(measure(parser.parse_args())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
