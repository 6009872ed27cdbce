"""A checkpoint's files before they are loaded: errors name the file and the remedy."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ..errors import ModelError

CONFIG = "config.json"
GENERATION = "generation_config.json"
_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_ADAPTER = "adapter_config.json"
_TOKENIZER = "tokenizer.json"
_VOCABULARY = ("vocab.json", "merges.txt")
_JSON_FILES = (GENERATION, _INDEX, "tokenizer_config.json")
_LFS_POINTER = b"version https://git-lfs"
_OTHER_FORMATS = {
    "*.gguf": "GGUF files",
    "*.bin": "pickled weights, which could run code",
    "*.pt": "pickled weights, which could run code",
    "*.pth": "pickled weights, which could run code",
}
_AGAIN = "copy or download it again"


def check_files(folder: Path) -> None:
    """Check that a folder holds a checkpoint whose files are complete.

    Raises:
        ModelError: a file is missing, broken, or only a pointer to itself.
    """
    check_config(folder)
    for name in _JSON_FILES:
        if (folder / name).exists():
            read_object(folder / name)
    for path in weight_files(folder):
        _check_weights(path)
    _check_tokenizer_files(folder)


def check_config(folder: Path) -> None:
    """Raise ModelError unless a folder has a readable config.json."""
    if not (folder / CONFIG).exists():
        raise ModelError(f"{folder} has no {CONFIG}: {_remedy_without_config(folder)}")
    read_object(folder / CONFIG)


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        ModelError: the file can't be read, or holds something else.
    """
    _check_file(path)
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not JSON ({error}): {_AGAIN}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds no JSON object: {_AGAIN}")
    return content


def stored_numbers(folder: Path) -> int:
    """Return how many numbers the weights of a checked folder hold."""
    return sum(count for path in weight_files(folder) for _, count in stored_tensors(path))


def stored_tensors(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the type, such as "BF16", and the number of elements of each tensor in a file.

    Raises:
        SafetensorError, OSError: it is no whole safetensors file.
    """
    # As numpy: torch would map the file as memory to write to, which Linux may refuse.
    with safe_open(path, framework="numpy") as file:
        for name in file.keys():  # noqa: SIM118  it is no mapping
            tensor = file.get_slice(name)
            yield tensor.get_dtype(), math.prod(tensor.get_shape())


def has_adapter(folder: Path) -> bool:
    """Return True if an adapter was saved into a folder."""
    return (folder / _ADAPTER).exists()


def _remedy_without_config(folder: Path) -> str:
    if has_adapter(folder):
        return (
            "it holds an adapter, not a model. Merge the adapter into its base model "
            "(peft: merge_and_unload, then save_pretrained) and give that folder"
        )
    for inner in sorted(folder.glob(f"*/{CONFIG}")):
        return f"give the model's own folder, such as {inner.parent}"
    if other := _other_format(folder):
        return f"{other} can't be loaded. Give the model in Hugging Face format"
    return "it is not a checkpoint's folder, or a download or copy was cut off"


def weight_files(folder: Path) -> list[Path]:
    """Return the files that transformers reads the weights from; ModelError if there are none."""
    if (folder / _WEIGHTS).exists():
        return [folder / _WEIGHTS]
    if (folder / _INDEX).exists():
        files = read_object(folder / _INDEX).get("weight_map")
        if not isinstance(files, dict) or not all(isinstance(f, str) for f in files.values()):
            raise ModelError(f"{folder / _INDEX} has no weight_map of file names: {_AGAIN}")
        return [folder / name for name in sorted(set(files.values()))]
    if other := _other_format(folder):
        raise ModelError(
            f"can't load {folder}: it has no {_WEIGHTS}, and {other} are not loaded. "
            "Save the model with transformers (save_pretrained)"
        )
    raise ModelError(f"can't load {folder}: it has neither {_WEIGHTS} nor {_INDEX}: {_AGAIN}")


def _other_format(folder: Path) -> str:
    """Return what else than safetensors files a folder holds; '' if it holds none of these."""
    kinds = (kind for pattern, kind in _OTHER_FORMATS.items() if any(folder.glob(pattern)))
    return next(kinds, "")


def _check_weights(path: Path) -> None:
    _check_file(path)
    try:
        with safe_open(path, framework="numpy"):  # see `stored_tensors`
            pass
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"can't load {path}: it is damaged or incomplete ({error}): {_AGAIN}"
        ) from error


def _check_tokenizer_files(folder: Path) -> None:
    if (folder / _TOKENIZER).exists():
        return _check_file(folder / _TOKENIZER)
    for name in _VOCABULARY:
        if not (folder / name).exists():
            raise ModelError(
                f"{folder} has no tokenizer ({_TOKENIZER}, or {' and '.join(_VOCABULARY)}): copy "
                "those files from the model that it was made from"
            )
        _check_file(folder / name)


def _check_file(path: Path) -> None:
    """Raise ModelError unless a file can be read and is itself, not a pointer of git-lfs."""
    try:
        with path.open("rb") as file:
            start = file.read(len(_LFS_POINTER))
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing: {_AGAIN}") from error
    except OSError as error:
        raise ModelError(f"can't read {path}: {error.strerror}") from error
    if start == _LFS_POINTER:
        raise ModelError(
            f"{path} is only a pointer of git-lfs, not the file: run `git lfs pull` in "
            f"{path.parent}, or use `hf download`"
        )
