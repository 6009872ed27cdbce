"""A model by the name that users write: where the name leads, and the checkpoint in memory.

Weights are safetensors; no code of a checkpoint is run. All that is specific to the model family is
in `qwen2_5/`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig
from transformers.utils import is_flash_attn_2_available

from ..config import (
    DEMO_CHECKPOINT,
    PUBLISHED_MODEL,
    ModelConfig,
    SamplingConfig,
    Settings,
    settings_for,
)
from ..errors import ConfigError, ModelError
from . import hub
from .checkpoint_files import (
    CONFIG,
    GENERATION,
    check_config,
    check_files,
    has_adapter,
    stored_numbers,
)
from .loading import as_model_error, reason
from .qwen2_5 import checkpoint as family
from .weights_size import check_weights

log = logging.getLogger(__name__)

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

    'auto' is the published model where there is a GPU and the demo model elsewhere. A hub id leads
    to the folder in the local cache if the checkpoint is complete there. The network isn't asked.

    Raises:
        ModelError: the name looks like a path and isn't a folder's.
    """
    if name == "auto":
        name = PUBLISHED_MODEL if torch.cuda.is_available() else "demo"
    if name == "demo":
        return DEMO_CHECKPOINT
    try:
        folder = Path(name).expanduser()
        is_folder, is_file = folder.is_dir(), folder.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # no such user, or no valid name
        raise _no_model(name, f" ({reason(error)})") from error
    if is_folder:
        return folder
    if is_file:
        raise _no_model(name, ", which is a file")
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
        raise _no_model(name)
    return hub.complete_snapshot(name) or name


def _no_model(name: str, why: str = "") -> ModelError:
    return ModelError(
        f"no model at {name}{why}: give a checkpoint's folder, a hub id such as {PUBLISHED_MODEL}, "
        "or 'demo'"
    )


def checkpoint_settings(checkpoint: Path | str) -> Settings:
    """Return the settings that a checkpoint was trained for; see `settings_for`.

    Of a hub id, only small files are downloaded.

    Raises:
        ConfigError: its streaming.json is wrong.
        ModelError: a hub id is neither in the cache nor in reach.
    """
    return settings_for(_folder(checkpoint, hub.download_small_files))


def read_model_config(checkpoint: Path | str) -> PreTrainedConfig:
    """Return a checkpoint's configuration without loading weights; ModelError if none."""
    folder = _folder(checkpoint, hub.download_small_files)
    check_config(folder)
    remedy = "Copy the file from the model that this one was made from"
    with as_model_error(f"can't read {folder / CONFIG}", remedy):
        return family.read_config(folder)


def load(checkpoint: Path | str, config: ModelConfig, *, quantization: Any = None) -> LoadedModel:
    """Load a checkpoint in Hugging Face format: its folder, or a name as for `resolve`.

    `quantization` is transformers' configuration of quantised layers.

    Raises:
        ModelError: it can't be loaded; the message names the file and the remedy.
        ConfigError: the device that `config` names doesn't exist here, or has no memory for the
            weights.
    """
    device, dtype = _place(config)
    folder = _folder(checkpoint, hub.download)
    model_config = read_model_config(folder)
    check_files(folder)
    if quantization is None:
        check_weights(folder, dtype, device=device)
    with as_model_error(f"can't load {checkpoint}"):
        _check_size(checkpoint, model_config, stored=stored_numbers(folder))
        model, report = family.load_weights(
            folder,
            dtype=dtype,
            device_map={"": device},
            attn_implementation=attention_backend(device, dtype),
            quantization_config=quantization,
        )
        _check_report(checkpoint, report)
        _check_quantisation(checkpoint, model, unexpected=report["unexpected_keys"])
        family.run_first_forward_hooks(model)
        tokenizer = family.load_tokenizer(folder)
        if has_adapter(folder):
            log.warning(
                "%s holds adapter files beside the weights: they are taken for merged already, "
                "and not applied",
                folder,
            )
        return LoadedModel(model.eval(), tokenizer, **_own_sampling(model, folder))


def _folder(checkpoint: Path | str, download: Callable[[str], Path]) -> Path:
    """Return a checkpoint's folder; a hub id that isn't cached is downloaded."""
    place = resolve(checkpoint) if isinstance(checkpoint, str) else checkpoint
    return download(place) if isinstance(place, str) else place


def _check_size(checkpoint: Path | str, config: PreTrainedConfig, *, stored: int) -> None:
    """Raise ModelError if config.json describes a far larger model than the weights are.

    transformers would allocate all of it before it reports what is missing.
    """
    if getattr(config, "quantization_config", None):
        return  # packed: a stored number holds several weights
    described = family.count_parameters(config)
    if described > 2 * stored:
        raise ModelError(
            f"can't load {checkpoint}: its config.json describes a model of {described:,} numbers, "
            f"but its weights hold {stored:,}. One of them is another model's: copy it again"
        )


def _check_report(checkpoint: Path | str, report: dict[str, Any]) -> None:
    """Raise ModelError if weights are missing or have another shape than config.json says."""
    if wrong := sorted(report["mismatched_keys"]):
        name, stored, expected = wrong[0]
        raise ModelError(
            f"can't load {checkpoint}: {len(wrong)} weights have another shape than config.json "
            f"says, such as {name} with {list(stored)}, not {list(expected)}. Save the model again "
            "(DeepSpeed ZeRO-3: gather the weights first), or copy its own config.json"
        )
    if missing := sorted(report["missing_keys"]):
        raise ModelError(
            f"can't load {checkpoint}: it lacks {len(missing)} weights, such as {missing[0]}. Copy "
            "or download it again"
        )


def _check_quantisation(checkpoint: Path | str, model: Any, *, unexpected: Collection[str]) -> None:
    """Raise ModelError if quantised weights were read as plain ones."""
    stated = getattr(model.config, "quantization_config", None)
    if stated and getattr(model, "hf_quantizer", None) is None:
        raise ModelError(
            f"can't load {checkpoint}: this transformers can't run the quantization_config in its "
            "config.json. Use the unquantised checkpoint"
        )
    scales = sorted(name for name in unexpected if name.endswith(("_scale", "_scale_inv")))
    if scales:
        raise ModelError(
            f"can't load {checkpoint}: its weights are quantised ({scales[0]}), but its "
            "config.json has no quantization_config for them. Copy config.json again"
        )


def _own_sampling(model: Any, folder: Path) -> dict[str, Any]:
    """Return a checkpoint's own top_k, top_p and stop ids, as transformers' generate uses them."""
    own, vocabulary = model.generation_config, model.config.get_text_config().vocab_size
    top_k = _TOP_K if own.top_k is None else own.top_k
    top_p = 1.0 if own.top_p is None else own.top_p
    stop = [] if own.eos_token_id is None else own.eos_token_id
    stop_ids = stop if isinstance(stop, list | tuple) else [stop]
    if not _is_number(top_k) or not _is_number(top_p) or top_k < 0 or not top_p >= 0.0:
        raise ModelError(
            f"{folder / GENERATION} asks for top_k {top_k!r} and top_p {top_p!r}: they must be "
            "numbers, neither negative. Correct or remove them"
        )
    if not all(isinstance(id, int) and not isinstance(id, bool) for id in stop_ids):
        raise ModelError(
            f"{folder / GENERATION} has the eos_token_id {stop!r}: give an id or a list of ids"
        )
    return {
        "top_k": min(int(top_k), vocabulary),
        "top_p": min(top_p, 1.0),
        "stop_ids": frozenset(stop_ids),
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


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
    try:
        device = torch.device(
            ("cuda" if cuda else "cpu") if config.device == "auto" else config.device
        )
    except RuntimeError as error:
        raise ConfigError(
            f"device {config.device!r} is no device of torch: use auto, cpu, cuda or cuda:N"
        ) from error
    if device.type == "cuda" and not cuda:
        raise ModelError(
            "device cuda was asked for, but torch sees no GPU: see `streamingvlm doctor`"
        )
    if config.dtype == "auto":
        return device, torch.bfloat16 if device.type == "cuda" else torch.float32
    dtype: torch.dtype = getattr(torch, config.dtype)
    return device, dtype
