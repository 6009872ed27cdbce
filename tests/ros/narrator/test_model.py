"""The narrator's model is freed when it is unloaded."""

from __future__ import annotations

import weakref

from streamingvlm_ros.ros import params
from streamingvlm_ros.ros.narrator.model import NarratorModel

from ..ros_peer import TINY, local_node


def test_unloading_frees_the_weights_and_the_cache() -> None:
    with local_node(**TINY) as node:
        model = NarratorModel(node, params.declare_model(node))
        engine = model.engine
        references = [weakref.ref(thing) for thing in (engine.runner.cache, engine.model.decoder)]
        del engine
        assert all(ref() for ref in references)
        model.unload()
        assert not any(ref() for ref in references)
