"""The model that a run starts from: a check before it is loaded, and its files beside weights."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from safetensors import SafetensorError

from streamingvlm_ros.engine.checkpoint_files import stored_tensors
from streamingvlm_ros.engine.hub import CARRIED_FILES
from streamingvlm_ros.engine.model import read_model_config, resolve
from streamingvlm_ros.errors import ConfigError, ModelError
from streamingvlm_ros.recordings.skipping import one_line

_NOT_CARRIED = ("*.index.json", "adapter_config.json", "trainer_state.json", "start.json")
"""Files about the start's own weights, adapters and training."""

_DECLARATIONS = ("quantization_config", "compression_config")
"""Keys of a configuration that say how the weights are quantized."""
_DECLARING_FILES = ("hf_quant_config.json", "quantize_config.json", "quant_config.json")
"""Files that say it in checkpoints of other tools."""
_UNQUANTIZED = {"F64", "F32", "F16", "BF16", "I64", "BOOL"}
"""Types in a safetensors file of weights that can be trained, and of positions and masks."""


def check_not_quantized(start: str) -> None:
    """Raise ConfigError if the weights of a start are quantized: they can't be trained.

    A folder is judged by its configuration and its files, a hub id by its configuration.

    Raises:
        ModelError: `start` doesn't exist or can't be read.
    """
    source = resolve(start)
    declared = list(_declared(read_model_config(source).to_dict()))
    signs = [*declared, *(_signs_in(source) if isinstance(source, Path) else ())]
    if signs:
        raise ConfigError(
            f"the start {start} is quantized already ({signs[0]}) and can't be trained: name the "
            "model that it was made from, in 16 or 32 bits; lora: {four_bit: true} holds that in "
            "4 bits while adapters are trained"
        )


def copy_small_files(start: str, folder: Path) -> None:
    """Copy a start's small files, so that a finished model has them, too.

    Raises:
        ModelError: The files of a hub id can't be downloaded.
    """
    source = resolve(start)
    folder.mkdir()
    for path in _small_files(source if isinstance(source, Path) else _download(source)):
        shutil.copyfile(path, folder / path.name)


def _small_files(source: Path) -> Iterator[Path]:
    for path in sorted(source.iterdir()):
        carried, excluded = (
            any(fnmatch(path.name, pattern) for pattern in patterns)
            for patterns in (CARRIED_FILES, _NOT_CARRIED)
        )
        if carried and not excluded and path.is_file():
            yield path


def _download(hub_id: str) -> Path:
    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(CARRIED_FILES)))
    except (OSError, ValueError) as error:
        raise ModelError(f"can't read the files of {hub_id}: {one_line(str(error))}") from error


def _declared(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield how a configuration, or one inside it, says that weights are quantized."""
    for name, value in config.items():
        if name in _DECLARATIONS and value:
            method = value.get("quant_method") if isinstance(value, Mapping) else value
            yield f"config.json: {name}: {method or 'unnamed'}"
        elif isinstance(value, Mapping):
            yield from _declared(value)


def _signs_in(folder: Path) -> Iterator[str]:
    """Yield the files of a folder that show quantized weights."""
    yield from (name for name in _DECLARING_FILES if (folder / name).exists())
    for path in sorted(folder.glob("*.safetensors")):
        try:
            types = {kind for kind, _ in stored_tensors(path)}
        except (OSError, SafetensorError):
            continue  # loading it reports what is wrong
        if quantized := sorted(types - _UNQUANTIZED):
            yield f"{path.name} holds {quantized[0]}"
