from __future__ import annotations

import pytest

from streamingvlm_ros.errors import ConfigError
from streamingvlm_ros.history.config import HistoryConfig


@pytest.mark.parametrize(
    "setting",
    [
        {"history_megabytes": 0},
        {"history_hours": 0.0},
        {"history_picture_seconds": 0.0},
        {"history_picture_px": 8},
    ],
)
def test_a_setting_out_of_range_is_refused(setting: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        HistoryConfig(**setting)
