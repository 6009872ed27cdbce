"""A model that never stops by itself: for what happens while an answer is on its way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from .peer import CHECKPOINT

TOKENS = 2048
"""Tokens of an answer to which nobody sets an end: some seconds."""


def babbler(folder: Path) -> dict[str, Any]:
    """Parameters of a narrator that says as many tokens as it may, put into `folder`."""
    for file in CHECKPOINT.iterdir():
        (folder / file.name).symlink_to(file)
    weights = load_file(CHECKPOINT / "model.safetensors")
    stop = AutoTokenizer.from_pretrained(CHECKPOINT).convert_tokens_to_ids("<|im_end|>")
    # Greedily, a logit of 0 never wins: some other's is above it.
    weights["lm_head.weight"][stop] = 0.0
    (folder / "model.safetensors").unlink()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return {
        "model": str(folder),
        "min_frame_tokens": 1,
        "max_frame_tokens": 4,
        "max_new_tokens": 4,
        "max_answer_tokens": TOKENS,
        "temperature": 0.0,
    }
