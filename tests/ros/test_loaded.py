"""What a narrator has while it is configured, and gives back."""

from __future__ import annotations

import weakref

from streamingvlm_ros.ros import params
from streamingvlm_ros.ros.narrator.model import NarratorModel

from .peer import TINY
from .test_params import node


def test_unloading_leaves_nobody_who_holds_the_weights_or_the_cache() -> None:
    with node(**TINY) as n:
        loaded = NarratorModel(n, params.declare_model(n))
        engine = loaded.engine
        held = [weakref.ref(thing) for thing in (engine.runner.cache, engine.model.decoder)]
        del engine
        assert all(ref() for ref in held)
        loaded.unload()
        assert not any(ref() for ref in held)
