"""The narrator's lifecycle transitions, and failures to load or to subscribe."""

from __future__ import annotations

import json
import shutil
import signal
import socket
from pathlib import Path

import pytest
from lifecycle_msgs.msg import State, Transition
from rcl_interfaces.srv import ListParameters
from safetensors.torch import load_file, save_file
from std_srvs.srv import Trigger
from streamingvlm_ros.msg import Narration
from streamingvlm_ros.srv import Ask

from ...support.camera import publish_seconds
from ..narrator_client import change_state, lifecycle_state
from ..node_process import PATIENCE_S, Process
from ..ros_peer import CHECKPOINT, TINY, Peer, reliable


def test_every_transition_can_be_repeated() -> None:
    parameters = {**TINY, **reliable("/image"), "autostart": "false", "max_new_tokens": 4}
    with Peer() as peer, peer.process("narrator", **parameters):
        narrations = peer.subscribe(Narration, "/narrator/narration")
        assert lifecycle_state(peer) == State.PRIMARY_STATE_UNCONFIGURED
        for life in range(2):
            assert change_state(peer, Transition.TRANSITION_CONFIGURE)
            assert lifecycle_state(peer) == State.PRIMARY_STATE_INACTIVE
            assert peer.node.count_subscribers("/image") == 0
            assert (
                "not active" in peer.call(Ask, "/narrator/ask", Ask.Request(question="?")).message
            )
            for watch in range(2):
                assert change_state(peer, Transition.TRANSITION_ACTIVATE)
                count = len(narrations)
                publish_seconds(peer, 100 + 10 * life + watch)
                assert narrations.wait(after=count).sequence == 0
                assert change_state(peer, Transition.TRANSITION_DEACTIVATE)
                peer.until(lambda: peer.node.count_subscribers("/image") == 0)
            assert change_state(peer, Transition.TRANSITION_CLEANUP)
            assert lifecycle_state(peer) == State.PRIMARY_STATE_UNCONFIGURED


def not_a_qwen(folder: Path) -> Path:
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    return folder


@pytest.mark.parametrize(
    ("model", "reason"),
    [("nowhere/at/all", "no model at"), ("another", "not a qwen2_5_vl")],
)
def test_a_model_that_cannot_be_loaded_is_reported_and_the_node_lives_on(
    tmp_path: Path, model: str, reason: str
) -> None:
    if model == "another":
        model = str(not_a_qwen(tmp_path))
    with Peer() as peer, peer.process("narrator", model=model) as process:
        status = peer.wait_for_status(lambda v: reason in v["message"])
        assert status["state"] == "unconfigured"
        assert reason in process.log()
        assert not change_state(peer, Transition.TRANSITION_CONFIGURE)
        assert lifecycle_state(peer) == State.PRIMARY_STATE_UNCONFIGURED


def is_broken(values: dict[str, str]) -> bool:
    return "no numbers" in values["message"]


def test_a_model_that_computes_no_numbers_ends_the_narration_until_the_next_activation(
    tmp_path: Path,
) -> None:
    shutil.copytree(CHECKPOINT, tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    weights["model.norm.weight"].fill_(float("nan"))
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    parameters = {**TINY, **reliable("/image"), "model": str(tmp_path)}
    with Peer() as peer, peer.process("narrator", **parameters) as process:
        for activation in (1, 2):
            before = len(peer.diagnostics)
            peer.wait_for_status(lambda v: "topic" in v and not is_broken(v), before)
            publish_seconds(peer, 100 * activation)
            status = peer.wait_for_status(is_broken, before)
            assert status["state"] == "active"
            assert status["failures"] == str(activation)
            answer = peer.call(Ask, "/narrator/ask", Ask.Request(question="?"))
            assert not answer.success
            assert "narration has stopped" in answer.message
            reset = peer.call(Trigger, "/narrator/reset", Trigger.Request())
            assert not reset.success
            assert process.log().count("narration has stopped") == activation
            assert "Traceback" not in process.log()
            assert change_state(peer, Transition.TRANSITION_DEACTIVATE)
            assert change_state(peer, Transition.TRANSITION_ACTIVATE)


def test_parameters_override_the_checkpoints_own_settings(tmp_path: Path) -> None:
    for file in CHECKPOINT.iterdir():
        (tmp_path / file.name).symlink_to(file)
    own = {"chunk_seconds": 2.0, "fps": 1.0, "max_new_tokens": 4, "min_frame_tokens": 1}
    (tmp_path / "streaming.json").write_text(json.dumps(own | {"max_frame_tokens": 4}))
    parameters = {"model": str(tmp_path), "fps": 2, **reliable("/image")}
    with Peer() as peer, peer.process("narrator", **parameters):
        narrations = peer.subscribe(Narration, "/narrator/narration")
        peer.wait_for_status(lambda v: v["state"] == "active")
        publish_seconds(peer, 100, 101)
        narration = narrations.wait()
        assert narration.end.sec - narration.start.sec == 2
        assert narration.frames == 4
        request = ListParameters.Request()
        names = peer.call(ListParameters, "/narrator/list_parameters", request).result.names
        assert {"model", "fps", "temperature", "previous_text", "image_transport"} <= set(names)


def test_an_invalid_qos_override_is_reported_and_the_node_still_ends() -> None:
    parameters = {**TINY, "qos_overrides./image.subscription.reliability": "sometimes"}
    with Peer() as peer, peer.process("narrator", **parameters) as process:
        peer.wait_for_status(lambda v: "can't subscribe to images" in v["message"])
        assert lifecycle_state(peer) == State.PRIMARY_STATE_INACTIVE
        process.child.send_signal(signal.SIGINT)
        assert process.child.wait(PATIENCE_S) == 0


def test_a_node_after_a_shutdown_transition_ends_cleanly() -> None:
    with Peer() as peer, peer.process("narrator", autostart="false"):
        assert change_state(peer, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)


def test_a_loading_node_replies_and_two_signals_end_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Peer() as peer, socket.create_server(("127.0.0.1", 0)) as hub:
        # A hub that accepts the connection and never replies.
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{hub.getsockname()[1]}")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        process = Process(
            "narrator", {"model": "somebody/some-model"}, domain=peer.domain, preloaded=False
        )
        connection, _ = hub.accept()
        try:
            assert lifecycle_state(peer) == State.TRANSITION_STATE_CONFIGURING
            process.child.send_signal(signal.SIGINT)
            process.child.send_signal(signal.SIGTERM)
            assert process.child.wait(PATIENCE_S) == 130
        finally:
            connection.close()
            process.child.kill()


def test_a_parameter_out_of_range_is_reported_and_nothing_is_loaded() -> None:
    with Peer() as peer, peer.process("narrator", **TINY, fps=99.0) as process:
        peer.wait_for_status(lambda v: "fps" in v["message"])
        assert "Parameter fps" in process.log() or "fps must be" in process.log()
        assert lifecycle_state(peer) == State.PRIMARY_STATE_UNCONFIGURED
