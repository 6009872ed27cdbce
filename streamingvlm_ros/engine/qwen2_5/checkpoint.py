"""A Qwen2.5-VL's files, read by transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PreTrainedConfig,
    Qwen2_5_VLForConditionalGeneration,
)

from ...errors import ModelError
from ..checkpoint_files import CONFIG, read_object
from ..loading import as_model_error

_MODEL_TYPE = "qwen2_5_vl"


_CONFIG_IDS = {
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
    "video_token_id": "<|video_pad|>",
    "image_token_id": "<|image_pad|>",
}
"""Ids in config.json, and the tokens that a Qwen2.5-VL's tokenizer has for them."""

_TURN_START, _TURN_END, _TEXT_END = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
_SAMPLE = "previous text\nTime=0.0-1.0s Describe what the robot sees ..."
_REMEDY = "Copy the tokenizer's files from the model that it was made from"


def read_config(folder: Path) -> PreTrainedConfig:
    """Return the configuration; ModelError if it is that of another family."""
    config: PreTrainedConfig = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if config.model_type != _MODEL_TYPE:
        raise ModelError(
            f"{folder} is a {config.model_type}, not a {_MODEL_TYPE}: this engine runs "
            "Qwen2.5-VL checkpoints only"
        )
    return config


def count_parameters(config: PreTrainedConfig) -> int:
    """Return how many numbers a model of this configuration holds, without allocating it."""
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config)
    return sum(parameter.numel() for parameter in model.parameters())


def load_weights(folder: Path, **options: Any) -> tuple[Any, dict[str, Any]]:
    """Return the model, and transformers' report of what was loaded.

    `options` are those of `from_pretrained`. Weights of another shape are in the report.
    """
    model, report = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        folder,
        use_safetensors=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        local_files_only=True,
        # transformers applies an adapter that it finds beside the weights, and then reports what is
        # missing in the adapter instead of in the weights: make it look where there is none.
        adapter_kwargs={"subfolder": "no-adapter"},
        **options,
    )
    return model, report


def run_first_forward_hooks(model: Any) -> None:
    """Run what a quantiser does before the whole model's first forward, such as unpacking.

    The engine calls the layers by itself, so such a hook would never run.

    Raises:
        ModelError: a module that the engine doesn't call as a whole has hooks of its own.
    """
    for hook in list(model._forward_pre_hooks.values()):
        hook(model, ())
    text = model.model.language_model
    bypassed = [model, model.model, text, *text.layers]
    bypassed += [part for layer in text.layers for part in (layer.self_attn, layer.mlp)]
    for module in bypassed:
        if module._forward_pre_hooks or module._forward_hooks or "forward" in vars(module):
            raise ModelError(
                f"{type(module).__name__} runs code of its quantiser around its forward, which "
                "this engine doesn't call: use the unquantised checkpoint, or one whose "
                "quantisation is in its linear layers"
            )


def load_tokenizer(folder: Path) -> Any:
    """Return the checkpoint's tokenizer.

    Raises:
        ModelError: it can't be read, its special tokens have other ids than config.json says, it
            has more ids than the model, or it can't encode text.
    """
    with as_model_error(f"can't load the tokenizer in {folder}", _REMEDY):
        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
        _check_tokenizer(tokenizer, folder)
    return tokenizer


def _check_tokenizer(tokenizer: Any, folder: Path) -> None:
    config = read_object(folder / CONFIG)
    # Older files repeat the text model's entries at the top, or have them only there.
    config = (config.get("text_config") or {}) | {k: v for k, v in config.items() if v is not None}
    for token in (_TURN_START, _TURN_END, *_CONFIG_IDS.values()):
        id = tokenizer.convert_tokens_to_ids(token)
        if id is None or tokenizer.encode(token, add_special_tokens=False) != [id]:
            raise ModelError(f"the tokenizer in {folder} has no special token {token}. {_REMEDY}")
    for key, token in _CONFIG_IDS.items():
        expected, id = config.get(key), tokenizer.convert_tokens_to_ids(token)
        if expected is not None and expected != id:
            raise ModelError(
                f"the tokenizer in {folder} doesn't belong to the weights: {token} is {id}, and "
                f"config.json says {key} {expected}. {_REMEDY}"
            )
    _check_end(tokenizer, config.get("eos_token_id"), folder=folder)
    _check_vocabulary(tokenizer, config.get("vocab_size"), folder=folder)


def _check_end(tokenizer: Any, end: int | list[int] | None, *, folder: Path) -> None:
    ids = tokenizer.convert_tokens_to_ids([_TURN_END, _TEXT_END])
    stated = end if isinstance(end, list) else [end]
    if end is not None and not set(stated) & set(ids):
        raise ModelError(
            f"the tokenizer in {folder} doesn't belong to the weights: {_TURN_END} is {ids[0]}, "
            f"and config.json says eos_token_id {end}. {_REMEDY}"
        )


def _check_vocabulary(tokenizer: Any, size: int | None, *, folder: Path) -> None:
    largest = max(tokenizer.get_vocab().values())
    if size is not None and largest >= size:
        raise ModelError(
            f"the tokenizer in {folder} doesn't belong to the weights: it has ids up to {largest}, "
            f"and config.json says vocab_size {size}. {_REMEDY}"
        )
    ids = tokenizer.encode(_SAMPLE, add_special_tokens=False)
    if tokenizer.decode(ids, clean_up_tokenization_spaces=False) != _SAMPLE:
        raise ModelError(f"the tokenizer in {folder} can't encode plain text. {_REMEDY}")
