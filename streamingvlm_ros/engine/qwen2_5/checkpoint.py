"""A Qwen2.5-VL's files, read by transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import (
    AutoConfig,
    AutoTokenizer,
    PreTrainedConfig,
    Qwen2_5_VLForConditionalGeneration,
)

from ...errors import ModelError

_MODEL_TYPE = "qwen2_5_vl"


def read_config(checkpoint: Path | str) -> PreTrainedConfig:
    """Return the configuration; ModelError if it is that of another family."""
    config: PreTrainedConfig = AutoConfig.from_pretrained(checkpoint, trust_remote_code=False)
    if config.model_type != _MODEL_TYPE:
        raise ModelError(
            f"{checkpoint} is a {config.model_type}, not a {_MODEL_TYPE}: this engine runs "
            "Qwen2.5-VL checkpoints only"
        )
    return config


def load_weights(checkpoint: Path | str, **options: Any) -> tuple[Any, dict[str, Any]]:
    """Return the model, and transformers' report of what was loaded.

    `options` are those of `from_pretrained`.
    """
    model, report = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        checkpoint, use_safetensors=True, output_loading_info=True, **options
    )
    return model, report


def load_tokenizer(checkpoint: Path | str) -> Any:
    """Return the checkpoint's tokenizer."""
    return AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=False)
