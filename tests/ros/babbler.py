"""A model that never stops by itself and takes its time: for what happens during an answer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from .peer import CHECKPOINT

TOKENS = 2048
"""Tokens of an answer to which nobody sets an end."""
DEPTH = 5
"""Times as many layers as the model that it is made of: processes can talk while it answers."""


def babbler(folder: Path) -> dict[str, Any]:
    """Parameters of a narrator that says as many tokens as it may, put into `folder`."""
    for file in CHECKPOINT.iterdir():
        (folder / file.name).symlink_to(file)
    config = json.loads((folder / "config.json").read_text())
    layers = config["num_hidden_layers"]
    config["num_hidden_layers"] = config["text_config"]["num_hidden_layers"] = DEPTH * layers
    weights = {
        re.sub(r"layers\.(\d+)", lambda its, n=n: f"layers.{int(its[1]) + n * layers}", name): its
        for n in range(DEPTH)
        for name, its in load_file(CHECKPOINT / "model.safetensors").items()
    }
    stop = AutoTokenizer.from_pretrained(CHECKPOINT).convert_tokens_to_ids("<|im_end|>")
    # Greedily, a logit of 0 never wins: some other's is above it.
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
