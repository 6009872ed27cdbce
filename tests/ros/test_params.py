"""Settings as ROS parameters."""

from __future__ import annotations

from typing import Any

import pytest
from rclpy.exceptions import InvalidParameterValueException
from rclpy.parameter import Parameter

from streamingvlm_ros.config import ConfigError, SamplingConfig, Settings
from streamingvlm_ros.ros import params

from .ros_peer import local_node


def test_every_setting_is_a_parameter_with_its_default_and_meaning() -> None:
    with local_node() as n:
        params.declare_model(n)
        assert params.declare_settings(n, Settings()) == Settings()
        for name, default in Settings().flat().items():
            assert n.get_parameter(name).value == default
            descriptor = n.describe_parameter(name)
            assert descriptor.description
            numeric = isinstance(default, int | float)
            assert bool(descriptor.integer_range or descriptor.floating_point_range) == numeric
            assert descriptor.read_only == (name not in LIVE)


LIVE = {"temperature", "top_k", "top_p", "repetition_penalty"}


def test_what_the_user_gives_wins_over_what_the_checkpoint_says() -> None:
    with local_node(fps=4.0) as n:
        own = Settings().updated({"fps": 8.0, "text_rounds": 3})
        settings = params.declare_settings(n, own)
        assert settings.frames.fps == 4.0
        assert settings.window.text_rounds == 3


def test_a_whole_number_will_do_for_a_fraction() -> None:
    with local_node(fps=4, temperature=0) as n:
        settings = params.declare_settings(n, Settings())
        assert settings.frames.fps == 4.0
        assert type(settings.sampling.temperature) is float


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("fps", "fast", ConfigError),
        ("fps", 99, ConfigError),
        ("fps", 99.0, InvalidParameterValueException),
        ("vision_rounds", 0, InvalidParameterValueException),
        ("dtype", "int4", ConfigError),
    ],
)
def test_a_value_that_cannot_be_is_refused(name: str, value: Any, error: type[Exception]) -> None:
    with local_node(**{name: value}) as n, pytest.raises(error, match=name):
        params.declare_settings(n, Settings())


def test_live_changes_are_handed_on_and_wrong_ones_refused() -> None:
    with local_node() as n:
        changes: list[SamplingConfig] = []
        settings = params.declare_settings(n, Settings())
        callback = params.on_sampling_change(n, settings.sampling, changes.append)

        def set_parameter(name: str, value: Any) -> bool:
            return bool(n.set_parameters([Parameter(name, value=value)])[0].successful)

        assert set_parameter("temperature", 0)
        assert set_parameter("top_k", 5)
        assert changes == [
            SamplingConfig(temperature=0.0),
            SamplingConfig(temperature=0.0, top_k=5),
        ]
        assert not set_parameter("temperature", 99)
        assert not set_parameter("temperature", "hot")
        assert not set_parameter("seed", 7)
        assert len(changes) == 2
        n.remove_on_set_parameters_callback(callback)
        assert set_parameter("temperature", 1.0)
        assert len(changes) == 2


def test_declaring_again_keeps_what_was_set() -> None:
    with local_node() as n:
        params.declare_settings(n, Settings())
        n.set_parameters([Parameter("temperature", value=0.25)])
        assert params.declare_settings(n, Settings()).sampling.temperature == 0.25
