"""Reference table of all settings, in Markdown: `python -m streamingvlm_ros.cli.settings_table`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from ..bags.config import BagConfig, RecorderConfig
from ..config import Settings
from ..history.config import HistoryConfig
from ..ros.config import CameraConfig, NodeConfig, PlayerConfig
from ..setting import Setting, settings_of


def settings_table() -> str:
    """Return a Markdown section with a table for each group of settings."""
    return "\n\n".join(_section(title, group) for title, group in setting_groups().items()) + "\n"


def setting_groups() -> dict[str, type]:
    """Return all groups of settings by their titles."""
    # torch takes seconds to import, and the trainer needs it.
    from streamingvlm_training.datasets.cutting import CutConfig
    from streamingvlm_training.recipe import DataConfig, LoraConfig, Recipe, TrainConfig
    from streamingvlm_training.tiny_model import ScratchConfig
    from streamingvlm_training.world_clips import ClipConfig

    return {
        "Model and stream": Settings,
        "Node `narrator`": NodeConfig,
        "History": HistoryConfig,
        "Node `recorder`": RecorderConfig,
        "Bags": BagConfig,
        "Node `player`": PlayerConfig,
        "Node `synthetic_camera`": CameraConfig,
        "Export of training clips": CutConfig,
        "Recipe": Recipe,
        "Recipe, section `model`": ScratchConfig,
        "Recipe, section `clips`": ClipConfig,
        "Recipe, section `data`": DataConfig,
        "Recipe, section `lora`": LoraConfig,
        "Recipe, section `training`": TrainConfig,
    }


def _section(title: str, group: type) -> str:
    rows = _rows(settings_of(group).values())
    head = "| Name | Default | Allowed | Meaning |\n| --- | --- | --- | --- |"
    return "\n".join([f"### {title}", "", head, *rows])


def _rows(settings: Iterable[Setting]) -> Iterator[str]:
    for setting in settings:
        default = list(setting.default) if setting.kind is tuple else setting.default
        live = "" if setting.read_only else " Can be changed while the node runs."
        cells = (f"`{setting.name}`", f"`{json.dumps(default)}`", _allowed(setting))
        yield f"| {' | '.join(cells)} | {setting.description}{live} |"


def _allowed(setting: Setting) -> str:
    if setting.choices:
        return ", ".join(f"`{json.dumps(choice)}`" for choice in setting.choices)
    return setting.range or _KINDS[setting.kind]


_KINDS = {bool: "true or false", str: "text", tuple: "list of texts"}


if __name__ == "__main__":
    print(settings_table(), end="")
