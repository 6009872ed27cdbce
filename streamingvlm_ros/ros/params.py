"""Settings as ROS parameters, with description, range and read-only flag."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    ParameterType,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from ..config import ModelConfig, SamplingConfig, Settings
from ..errors import ConfigError
from ..setting import Setting, settings_of

G = TypeVar("G", bound=Any)

_TYPES = {
    bool: ParameterType.PARAMETER_BOOL,
    int: ParameterType.PARAMETER_INTEGER,
    float: ParameterType.PARAMETER_DOUBLE,
    str: ParameterType.PARAMETER_STRING,
}


def declare(node: Node, settings: Iterable[Setting]) -> dict[str, Any]:
    """Declare a parameter for each setting and return the values by name.

    A parameter that is already declared keeps its value.

    Raises:
        ConfigError: The user's values have a wrong type or are out of range. All are listed.
    """
    values, problems = {}, []
    for setting in settings:
        try:
            values[setting.name] = _declare_one(node, setting)
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("; ".join(problems))
    return values


def _declare_one(node: Node, setting: Setting) -> Any:
    name = setting.name
    if node.has_parameter(name):
        return setting.check(node.get_parameter(name).value)
    # rclpy's errors name neither the range nor the setting's type: without a descriptor it lets
    # every value pass until it is checked here.
    anything = ParameterDescriptor(dynamic_typing=True)
    value = node.declare_parameter(name, setting.default, anything).value
    try:
        value = setting.check(value)
        node.set_descriptor(name, _descriptor(setting))
    except ConfigError:
        node.undeclare_parameter(name)
        raise
    return value


def declare_model(node: Node) -> str:
    """Declare and return `model`: all other defaults depend on it."""
    return str(declare(node, [settings_of(ModelConfig)["model"]])["model"])


def declare_settings(node: Node, defaults: Settings) -> Settings:
    """Declare all settings with `defaults`, and return them updated with the user's values."""
    values = defaults.flat()
    settings = settings_of(Settings).values()
    return defaults.updated(declare(node, (replace(s, default=values[s.name]) for s in settings)))


def declare_all(node: Node, group: type[G]) -> G:
    """Declare the parameters of a settings group and return it with their values."""
    return group(**declare(node, settings_of(group).values()))


def on_sampling_change(
    node: Node, sampling: SamplingConfig, *, change: Callable[[SamplingConfig], None]
) -> Callable[[list[Parameter[Any]]], SetParametersResult]:
    """Call `change` with the new settings when sampling parameters change while the node runs.

    Wrong values are refused with the reason. Returns the callback, for its removal.
    """

    def on_set(parameters: list[Parameter[Any]]) -> SetParametersResult:
        nonlocal sampling
        names = settings_of(SamplingConfig)
        changes = {p.name: p.value for p in parameters if p.name in names}
        try:
            sampling = replace(sampling, **changes)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if changes:
            change(sampling)
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(on_set)
    return on_set


def _descriptor(setting: Setting) -> ParameterDescriptor:
    # `fps:=2` is an integer to ROS, which would refuse it for a floating-point parameter.
    dynamic = setting.kind is float
    descriptor = ParameterDescriptor(
        name=setting.name,
        type=_TYPES[setting.kind],
        description=setting.description,
        additional_constraints=f"One of: {setting.range}." if setting.choices else "",
        read_only=setting.read_only,
        dynamic_typing=dynamic,
    )
    bounds = {"from_value": setting.low, "to_value": setting.high}
    if setting.low is not None and setting.kind is float:
        descriptor.floating_point_range = [FloatingPointRange(**bounds)]
    elif setting.low is not None:
        descriptor.integer_range = [IntegerRange(**bounds, step=1)]
    return descriptor
