"""A narrator with a history: entries are listed, and questions are answered from moments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.msg import Transition
from streamingvlm_ros.msg import HistoryEntry
from streamingvlm_ros.srv import Ask, History

from streamingvlm_ros.ros.messages import to_time
from streamingvlm_ros.types import NS_PER_S as S
from streamingvlm_ros.types import to_ns

from ..narrator_client import NarratorClient, change_state
from ..node_process import Process
from ..ros_peer import TINY, Peer, reliable


class HistoryClient(NarratorClient):
    """A client that also requests the history."""

    def history(self, **request: Any) -> History.Response:
        return self.peer.call(History, "/narrator/history", History.Request(**request))

    def wait_for_entry(self, text: str, **request: Any) -> list[HistoryEntry]:
        """Return all entries once one of them has that text: they are written in the background."""

        def entries() -> list[HistoryEntry]:
            response = self.history(**request)
            assert response.success, response.message
            matches = any(entry.text == text for entry in response.entries)
            return list(response.entries) if matches else []

        return self.peer.until(entries)

    def ask_history(self, question: str, **request: Any) -> Ask.Response:
        ask_request = Ask.Request(question=question, mode="history", max_tokens=8, **request)
        return self.peer.call(Ask, "/narrator/ask", ask_request)


def parameters(folder: Path) -> dict[str, Any]:
    history = {"history_folder": folder, "history_picture_seconds": 1.0, "history_moments": 3}
    return {**TINY, **reliable("/image"), **history, "temperature": 0.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("history") / "of a robot"


@pytest.fixture(scope="module")
def client(peer: Peer, folder: Path) -> Iterator[HistoryClient]:
    with peer.process("narrator", **parameters(folder)) as process:
        yield HistoryClient(peer, process)


def test_the_history_is_empty_before_the_first_frame(client: HistoryClient) -> None:
    response = client.history()
    assert response.success
    assert len(response.entries) == 0
    answer = client.ask_history("What was there?")
    assert not answer.success
    assert "nothing is in the history" in answer.message


def test_narrations_and_answers_are_listed_with_their_times(client: HistoryClient) -> None:
    narrations = [client.second() for _ in range(4)]
    assert all(not narration.silent for narration in narrations)
    answer = client.ask("What is there?", max_tokens=5)
    entries = client.wait_for_entry(answer.answer)
    assert [(e.start, e.end, e.text) for e in entries[:-1]] == [
        (narration.start, narration.end, narration.text) for narration in narrations
    ]
    assert entries[-1].question == "What is there?"
    assert entries[-1].start == answer.seen_from
    assert entries[-1].end == answer.seen_until
    # Between two times, the newest, and by words.
    middle = client.history(since=narrations[1].start, until=narrations[2].end)
    assert {narrations[1].text, narrations[2].text} <= {e.text for e in middle.entries}
    assert narrations[3].text not in {e.text for e in middle.entries}
    newest = client.history(limit=1)
    assert [e.text for e in newest.entries] == [answer.answer]
    assert newest.more
    matches = client.history(words="there")
    assert [e.question for e in matches.entries] == ["What is there?"]


def test_an_answer_from_the_history_names_its_moments_times(client: HistoryClient) -> None:
    answers = client.answers()
    response = client.ask_history("What was there?")
    assert response.success, response.message
    moments = [to_ns(stamp) for stamp in response.moments]
    assert len(moments) == 3
    assert moments == sorted(moments)
    assert (to_ns(response.seen_from), to_ns(response.seen_until)) == (moments[0], moments[-1])
    times = ", ".join(f"{ns / S:.1f} s" for ns in moments)
    assert response.answer.endswith(f" (seen at {times})")
    published = answers.wait(lambda a: a.mode == "history")
    assert published.answer == response.answer
    assert list(published.moments) == list(response.moments)
    assert published.header.frame_id == "camera_optical"


def test_the_history_survives_deactivation_and_cleanup(
    client: HistoryClient,
) -> None:
    text = client.second().text
    client.wait_for_entry(text)
    assert change_state(client.peer, Transition.TRANSITION_DEACTIVATE)
    assert text in [entry.text for entry in client.history().entries]
    assert change_state(client.peer, Transition.TRANSITION_CLEANUP)
    assert change_state(client.peer, Transition.TRANSITION_CONFIGURE)
    assert text in [entry.text for entry in client.history().entries]
    assert change_state(client.peer, Transition.TRANSITION_ACTIVATE)
    client.wait_for_subscriber()
    assert client.second().sequence == 0


def test_the_history_survives_the_node(folder: Path, tmp_path: Path) -> None:
    with Peer() as peer, peer.process("narrator", **parameters(tmp_path)) as process:
        text = HistoryClient(peer, process).second().text
        # A second narrator can't use the same folder.
        other = Process("narrator", parameters(tmp_path), domain=peer.domain)
        try:
            peer.until(lambda: "history" in other.log() and "[ERROR]" in other.log())
        finally:
            other.end()
    with Peer() as peer, peer.process("narrator", **parameters(tmp_path)) as process:
        client = HistoryClient(peer, process)
        assert [entry.text for entry in client.history().entries] == [text]
        response = client.ask_history("What was there?")
        assert "(seen at" in response.answer


def test_an_unusable_folder_is_reported_and_the_node_lives_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with Peer() as peer:
        unusable = parameters(tmp_path / "file" / "below")
        with peer.process("narrator", **unusable) as process:
            status = peer.wait_for_status(lambda v: "history" in v["message"])
            assert status["state"] == "unconfigured"
            assert "file" in process.log()


def test_without_a_history_the_reply_names_the_parameter() -> None:
    with Peer() as peer, peer.process("narrator", **TINY) as process:
        response = HistoryClient(peer, process).history(since=to_time(S))
        assert not response.success
        assert "history_folder" in response.message
