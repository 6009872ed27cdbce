"""A model by the name that users write: where the name leads, and the checkpoint in memory.

Weights are safetensors; no code of a checkpoint is run. All that is specific to the model family is
in `qwen2_5/`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import GenerationConfig, PreTrainedConfig
from transformers.utils import is_flash_attn_2_available

from ..config import DEMO_CHECKPOINT, PUBLISHED_MODEL, ModelConfig, SamplingConfig
from ..errors import ModelError
from .qwen2_5 import checkpoint as family
from .weight_files import check_weights

_TOP_K = 50
"""Default of transformers' generate for checkpoints without a top_k."""


@dataclass(frozen=True)
class LoadedModel:
    """A checkpoint in memory: weights, its tokenizer, and its own sampling settings."""

    model: Any
    tokenizer: Any
    top_k: int = _TOP_K
    top_p: float = 1.0
    stop_ids: frozenset[int] = frozenset()

    def complete(self, config: SamplingConfig) -> SamplingConfig:
        """Return `config` completed with the checkpoint's own values.

        In the result, a top_k of 0 or a top_p of 1 means all tokens; a top_p of 0 means the
        likeliest only.
        """
        top_k = self.top_k if config.top_k < 0 else config.top_k
        top_p = self.top_p if config.top_p == 0.0 else config.top_p
        return replace(config, top_k=top_k, top_p=top_p)


def resolve(name: str) -> Path | str:
    """Return the folder or hub id for a model's name as users write it.

    'auto' is the published model where there is a GPU and the demo model elsewhere. Raises
    ModelError if the name looks like a path and doesn't exist.
    """
    if name == "auto":
        name = PUBLISHED_MODEL if torch.cuda.is_available() else "demo"
    if name == "demo":
        return DEMO_CHECKPOINT
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
        raise ModelError(
            f"no model at {name}: give a checkpoint's folder, a hub id such as {PUBLISHED_MODEL}, "
            "or 'demo'"
        )
    return name


def read_model_config(checkpoint: Path | str) -> PreTrainedConfig:
    """Return a checkpoint's configuration without loading weights; ModelError if none."""
    try:
        return family.read_config(checkpoint)
    except (OSError, ValueError) as error:
        raise ModelError(f"can't read a model at {checkpoint}: {_first_line(error)}") from error


def load(checkpoint: Path | str, config: ModelConfig, *, quantization: Any = None) -> LoadedModel:
    """Load a checkpoint in Hugging Face format. ModelError says what is wrong with it.

    `quantization` is transformers' configuration of quantised layers.

    Raises:
        ConfigError: there is no memory for the weights.
    """
    read_model_config(checkpoint)
    device, dtype = _place(config)
    if quantization is None:
        check_weights(checkpoint, dtype, device=device)
    try:
        model, report = family.load_weights(
            checkpoint,
            dtype=dtype,
            device_map={"": device},
            attn_implementation=attention_backend(device, dtype),
            quantization_config=quantization,
        )
        tokenizer = family.load_tokenizer(checkpoint)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"can't load {checkpoint}: {_first_line(error)}") from error
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise ModelError(f"{checkpoint} lacks {len(missing)} weights, such as {missing[0]}")
    own = model.generation_config
    stop = own.eos_token_id if own.eos_token_id is not None else []
    stop_ids = frozenset([stop] if isinstance(stop, int) else stop)
    top_k, top_p = _limits(own, model.config.get_text_config().vocab_size)
    return LoadedModel(model.eval(), tokenizer, top_k, top_p, stop_ids)


def _limits(own: GenerationConfig, vocabulary: int) -> tuple[int, float]:
    """Return a checkpoint's own top_k and top_p, as transformers' generate uses them."""
    top_k = _TOP_K if own.top_k is None else own.top_k
    top_p = 1.0 if own.top_p is None else own.top_p
    if top_k < 0 or top_p < 0.0:
        raise ModelError(
            f"generation_config.json asks for top_k {top_k} and top_p {top_p}: neither may be "
            "negative"
        )
    return min(top_k, vocabulary), min(top_p, 1.0)


def own_device(number: int) -> str:
    """Return the device of process `number` on a host where several share the GPUs."""
    count = torch.cuda.device_count()
    return f"cuda:{number % count}" if count else "auto"


def attention_backend(device: torch.device, dtype: torch.dtype) -> str:
    """Return transformers' attention: flash-attn if installed and applicable, else SDPA."""
    half = dtype in (torch.bfloat16, torch.float16)
    if device.type == "cuda" and half and is_flash_attn_2_available():
        return "flash_attention_2"
    return "sdpa"


def _place(config: ModelConfig) -> tuple[torch.device, torch.dtype]:
    """Return the device and the data type, with 'auto' resolved."""
    cuda = torch.cuda.is_available()
    device = torch.device(("cuda" if cuda else "cpu") if config.device == "auto" else config.device)
    if device.type == "cuda" and not cuda:
        raise ModelError(
            "device cuda was asked for, but torch sees no GPU: see `streamingvlm doctor`"
        )
    if config.dtype == "auto":
        return device, torch.bfloat16 if device.type == "cuda" else torch.float32
    dtype: torch.dtype = getattr(torch, config.dtype)
    return device, dtype


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
