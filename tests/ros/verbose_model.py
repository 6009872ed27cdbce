"""A slow model that never stops by itself, for tests of what happens during an answer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from .ros_peer import CHECKPOINT

TOKENS = 2048
"""Tokens of an answer without a limit of its own."""
DEPTH = 5
"""Repetitions of the parity model's layers: slow enough that processes can talk meanwhile."""


def verbose_model(folder: Path) -> dict[str, Any]:
    """Make the model in `folder`, and return a narrator's parameters that use it."""
    for file in CHECKPOINT.iterdir():
        (folder / file.name).symlink_to(file)
    config = json.loads((folder / "config.json").read_text())
    layers = config["num_hidden_layers"]
    config["num_hidden_layers"] = config["text_config"]["num_hidden_layers"] = DEPTH * layers
    weights = {
        re.sub(r"layers\.(\d+)", lambda m, n=n: f"layers.{int(m[1]) + n * layers}", name): weight
        for n in range(DEPTH)
        for name, weight in load_file(CHECKPOINT / "model.safetensors").items()
    }
    stop = AutoTokenizer.from_pretrained(CHECKPOINT).convert_tokens_to_ids("<|im_end|>")
    # Greedy sampling never picks a logit of 0, as others are above it.
    weights["lm_head.weight"][stop] = 0.0
    for file in ("config.json", "model.safetensors"):
        (folder / file).unlink()
    (folder / "config.json").write_text(json.dumps(config))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return {
        "model": str(folder),
        "min_frame_tokens": 1,
        "max_frame_tokens": 4,
        "max_new_tokens": 4,
        "max_answer_tokens": TOKENS,
        "temperature": 0.0,
    }
