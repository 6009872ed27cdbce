"""Checkpoints on the Hugging Face Hub: from the local cache if they are complete there.

The network is asked once, and only for what the cache lacks: a robot in the field has none.
"""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download

from ..errors import ModelError
from .checkpoint_files import CONFIG, check_files
from .loading import reason

CARRIED_FILES = ("*.json", "*.jinja", "*.txt", "*.model", "LICENSE*", "NOTICE*")
"""Files that other programs read beside the weights: processors, chat templates, vocabularies."""

SMALL_FILES = (*CARRIED_FILES, "*.yaml", "*.jsonl")
"""Configuration, settings, tokenizer, license and notes: megabytes."""

ALL_FILES = (*SMALL_FILES, "*.safetensors")


def complete_snapshot(hub_id: str) -> Path | None:
    """Return the cached folder of a checkpoint; None if it isn't cached, or only in part."""
    folder = _cached(hub_id, ALL_FILES)
    if folder is None:
        return None
    try:
        check_files(folder)
    except ModelError:
        return None  # an interrupted download, for instance
    return folder


def download(hub_id: str) -> Path:
    """Download what the cache lacks of a checkpoint, and return the cached folder.

    Raises:
        ModelError: it isn't in reach.
    """
    return _from_network(hub_id, ALL_FILES)


def download_small_files(hub_id: str) -> Path:
    """Return a folder with a checkpoint's files other than weights.

    Raises:
        ModelError: they are neither in the cache nor in reach.
    """
    folder = _cached(hub_id, SMALL_FILES)
    if folder and (folder / CONFIG).is_file():
        return folder
    return _from_network(hub_id, SMALL_FILES)


def _cached(hub_id: str, patterns: tuple[str, ...]) -> Path | None:
    try:
        folder = snapshot_download(hub_id, local_files_only=True, allow_patterns=list(patterns))
    except (OSError, ValueError):  # not there, not complete, or no valid id
        return None
    return Path(folder)


def _from_network(hub_id: str, patterns: tuple[str, ...]) -> Path:
    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(patterns)))
    except Exception as error:  # what a server, a proxy or a disk can do is without end
        raise ModelError(
            f"can't read a model at {hub_id}: the local cache doesn't have all of it, and it can't "
            f"be downloaded: {reason(error)}. Download it where there is a network "
            f"(`hf download {hub_id}`), or give a checkpoint's folder"
        ) from error
