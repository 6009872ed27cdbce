"""Service introspection: requests and responses as messages, for a bag to hold them."""

from __future__ import annotations

from typing import Any

from rclpy.clock import Clock
from rclpy.service_introspection import ServiceIntrospectionState

from .. import qos

_STATES = {
    "disabled": ServiceIntrospectionState.OFF,
    "metadata": ServiceIntrospectionState.METADATA,
    "contents": ServiceIntrospectionState.CONTENTS,
}


def introspect(entity: Any, clock: Clock, state: str) -> None:
    """Let a service, or an action where rclpy can, publish what NodeConfig.introspection says."""
    if hasattr(entity, "configure_introspection"):  # an action only since Kilted
        entity.configure_introspection(clock, qos.PUBLISHED, _STATES[state])
