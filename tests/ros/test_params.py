"""Settings as ROS parameters."""

from __future__ import annotations

from typing import Any

import pytest
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


def test_the_users_values_take_precedence_over_the_checkpoints() -> None:
    with local_node(fps=4.0) as n:
        checkpoint = Settings().updated({"fps": 8.0, "text_rounds": 3})
        settings = params.declare_settings(n, checkpoint)
        assert settings.frames.fps == 4.0
        assert settings.window.text_rounds == 3


def test_a_whole_number_is_accepted_for_a_fraction() -> None:
    with local_node(fps=4, temperature=0) as n:
        settings = params.declare_settings(n, Settings())
        assert settings.frames.fps == 4.0
        assert type(settings.sampling.temperature) is float


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fps", "fast"),
        ("fps", 99),
        ("fps", 99.0),
        ("vision_rounds", 0),
        ("vision_rounds", 2.0),
        ("vision_rounds", "true"),
        ("dtype", "int4"),
        ("dtype", 4),
    ],
)
def test_a_wrong_value_is_refused_and_not_declared(name: str, value: Any) -> None:
    with local_node(**{name: value}) as n:
        with pytest.raises(ConfigError, match=f"^{name} must be [^;]*, not [^;]*$"):
            params.declare_settings(n, Settings())
        assert not n.has_parameter(name)


def test_all_wrong_values_are_listed_in_one_line() -> None:
    with local_node(fps=99, vision_rounds=0, instruction=7) as n:
        with pytest.raises(ConfigError) as refused:
            params.declare_settings(n, Settings())
        assert str(refused.value).split("; ") == [
            "fps must be a number between 1.0 and 30.0, not 99",
            "vision_rounds must be a whole number between 1 and 512, not 0",
            "instruction must be text, in quotes if need be, not 7",
        ]


def test_a_declared_parameter_keeps_type_range_and_read_only_flag() -> None:
    with local_node(seed=3) as n:
        params.declare_settings(n, Settings())
        for name, value in (("top_k", 0.5), ("top_k", -2), ("top_k", "all"), ("seed", 4)):
            assert not n.set_parameters([Parameter(name, value=value)])[0].successful
        assert n.get_parameter("seed").value == 3


def test_live_changes_are_passed_on_and_wrong_ones_are_refused() -> None:
    with local_node() as n:
        changes: list[SamplingConfig] = []
        settings = params.declare_settings(n, Settings())
        callback = params.on_sampling_change(n, settings.sampling, change=changes.append)

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


def test_declaring_again_keeps_changed_values() -> None:
    with local_node() as n:
        params.declare_settings(n, Settings())
        n.set_parameters([Parameter("temperature", value=0.25)])
        assert params.declare_settings(n, Settings()).sampling.temperature == 0.25
