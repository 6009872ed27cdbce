"""Every setting as a ROS parameter, with its description, range and read-only flag."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import Field, dataclass, fields, replace
from typing import Any, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from ..config import ModelConfig, SamplingConfig, Settings, check_ranges, setting
from ..errors import ConfigError

C = TypeVar("C", bound=Any)


@dataclass(frozen=True)
class NodeConfig:
    """What only the node needs to know."""

    autostart: bool = setting(
        True, "Configure and activate at start; otherwise wait for lifecycle transitions."
    )
    image_transport: str = setting(
        "raw",
        "'raw' subscribes to image (sensor_msgs/Image), 'compressed' to image/compressed.",
        choices=("raw", "compressed"),
    )
    max_questions: int = setting(
        32, "Questions that may be under way or wait; the next one is refused.", low=1, high=1000
    )
    introspection: str = setting(
        "disabled",
        "What is published of requests and responses (`~/ask/_service_event` and others), for a "
        "bag to hold them: nothing, when they were, or what was in them, too.",
        choices=("disabled", "metadata", "contents"),
    )
    history_folder: str = setting(
        "",
        "Folder in which what was said and seen is kept, for `~/history` and questions in mode "
        "'history'; '~' is your home folder. Empty: no history.",
    )

    def __post_init__(self) -> None:
        check_ranges(self)


def declare(node: Node, items: Iterable[tuple[Field[Any], Any]]) -> dict[str, Any]:
    """Declare a parameter for each (field, default); their values, given ones before defaults.

    A field that is declared already keeps its value. ConfigError for a value of a wrong type;
    ranges are for the dataclasses to check.
    """
    values = {}
    for item, default in items:
        if not node.has_parameter(item.name):
            node.declare_parameter(item.name, default, _descriptor(item, type(default)))
        values[item.name] = _typed(item.name, node.get_parameter(item.name).value, type(default))
    return values


def declare_model(node: Node) -> str:
    """Declare and return `model`: all other defaults depend on it."""
    return str(
        declare(node, ((f, f.default) for f in fields(ModelConfig) if f.name == "model"))["model"]
    )


def declare_settings(node: Node, defaults: Settings) -> Settings:
    """Declare all of `defaults`, and return them with what the user gave laid over."""
    flat = defaults.flat()
    return defaults.updated(declare(node, ((item, flat[item.name]) for item in _all(Settings))))


def declare_all(node: Node, config: type[C]) -> C:
    """Declare a settings dataclass's parameters and return their values."""
    return config(**declare(node, ((item, item.default) for item in fields(config))))


def on_sampling_change(
    node: Node, sampling: SamplingConfig, change: Callable[[SamplingConfig], None]
) -> Callable[[list[Parameter[Any]]], SetParametersResult]:
    """Let sampling be changed while the node runs: `change` is given what holds from then on.

    A value out of range is refused, with the reason. Returns the callback, to be removed again.
    """

    def on_set(parameters: list[Parameter[Any]]) -> SetParametersResult:
        nonlocal sampling
        now = vars(sampling)
        given = {p.name: p.value for p in parameters if p.name in now}
        try:
            values = {name: _typed(name, value, type(now[name])) for name, value in given.items()}
            sampling = replace(sampling, **values)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if given:
            change(sampling)
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(on_set)
    return on_set


def _all(settings: type[Settings]) -> Iterator[Field[Any]]:
    for group in fields(settings):
        assert callable(group.default_factory)
        yield from fields(group.default_factory())


def _descriptor(item: Field[Any], kind: type) -> ParameterDescriptor:
    low, high, choices = (item.metadata[key] for key in ("low", "high", "choices"))
    descriptor = ParameterDescriptor(
        name=item.name,
        description=item.metadata["description"],
        additional_constraints=f"One of: {', '.join(choices)}." if choices else "",
        read_only=item.metadata["read_only"],
        # `fps:=2` is an integer to ROS, which would refuse it for a floating-point parameter.
        dynamic_typing=kind is float,
    )
    if low is not None and kind is float:
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    elif low is not None:
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    return descriptor


def _typed(name: str, value: Any, kind: type) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ConfigError(f"{name} must be a {kind.__name__}, not {value!r}")
    return value
