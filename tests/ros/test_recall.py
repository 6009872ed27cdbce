"""A narrator that keeps a history: what was said is found, and questions are answered from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.msg import Transition
from streamingvlm_ros.msg import HistoryEntry
from streamingvlm_ros.srv import Ask, History

from streamingvlm_ros.ros.conversions import to_ns, to_time

from .peer import PATIENCE_S, TINY, Peer, Process, reliable
from .test_lifecycle import change
from .test_narrator import Camera, S


class Keeper(Camera):
    """A narrator with a history, and what it keeps."""

    def history(self, **request: Any) -> History.Response:
        return self.peer.call(History, "/narrator/history", History.Request(**request))

    def wait_for_entry(self, text: str, **request: Any) -> list[HistoryEntry]:
        """All entries as soon as that text is among them: it is written by and by."""
        for _ in range(round(PATIENCE_S)):
            response = self.history(**request)
            assert response.success, response.message
            if text in [entry.text for entry in response.entries]:
                return response.entries
            # Diagnostics come every second.
            self.peer.wait_for_status(bool, after=len(self.peer.diagnostics))
        raise AssertionError(f"{text!r} was not kept")

    def ask_history(self, question: str, **request: Any) -> Ask.Response:
        asked = Ask.Request(question=question, mode="history", max_tokens=8, **request)
        return self.peer.call(Ask, "/narrator/ask", asked)


def parameters(folder: Path) -> dict[str, Any]:
    kept = {"history_folder": folder, "history_picture_seconds": 1.0, "history_moments": 3}
    return {**TINY, **reliable("/image"), **kept, "temperature": 0.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("history") / "of a robot"


@pytest.fixture(scope="module")
def keeper(peer: Peer, folder: Path) -> Iterator[Keeper]:
    with peer.process("narrator", **parameters(folder)) as process:
        yield Keeper(peer, process)


def test_before_anything_was_seen_the_history_is_empty(keeper: Keeper) -> None:
    response = keeper.history()
    assert response.success
    assert len(response.entries) == 0
    asked = keeper.ask_history("What was there?")
    assert not asked.success
    assert "nothing is in the history" in asked.message


def test_what_is_said_is_kept_with_its_times(keeper: Keeper) -> None:
    said = [keeper.second() for _ in range(4)]
    assert all(not narration.silent for narration in said)
    answer = keeper.ask("What is there?", max_tokens=5)
    entries = keeper.wait_for_entry(answer.answer)
    assert [(e.start, e.end, e.text) for e in entries[:-1]] == [
        (narration.start, narration.end, narration.text) for narration in said
    ]
    assert entries[-1].question == "What is there?"
    assert entries[-1].start == answer.seen_from
    assert entries[-1].end == answer.seen_until
    # Between two times, the newest, and by words.
    middle = keeper.history(since=said[1].start, until=said[2].end)
    assert {said[1].text, said[2].text} <= {e.text for e in middle.entries}
    assert said[3].text not in {e.text for e in middle.entries}
    newest = keeper.history(limit=1)
    assert [e.text for e in newest.entries] == [answer.answer]
    assert newest.more
    found = keeper.history(words="there")
    assert [e.question for e in found.entries] == ["What is there?"]


def test_a_question_is_answered_from_moments_and_names_their_times(keeper: Keeper) -> None:
    answers = keeper.answers()
    response = keeper.ask_history("What was there?")
    assert response.success, response.message
    moments = [to_ns(stamp) for stamp in response.moments]
    assert len(moments) == 3
    assert moments == sorted(moments)
    assert (to_ns(response.seen_from), to_ns(response.seen_until)) == (moments[0], moments[-1])
    named = ", ".join(f"{ns / S:.1f} s" for ns in moments)
    assert response.answer.endswith(f" (seen at {named})")
    published = answers.wait(lambda a: a.mode == "history")
    assert published.answer == response.answer
    assert list(published.moments) == list(response.moments)
    assert published.header.frame_id == "camera_optical"


def test_the_history_is_there_while_the_node_is_inactive_and_after_it_was_cleaned_up(
    keeper: Keeper,
) -> None:
    text = keeper.second().text
    keeper.wait_for_entry(text)
    assert change(keeper.peer, Transition.TRANSITION_DEACTIVATE)
    assert text in [entry.text for entry in keeper.history().entries]
    assert change(keeper.peer, Transition.TRANSITION_CLEANUP)
    assert change(keeper.peer, Transition.TRANSITION_CONFIGURE)
    assert text in [entry.text for entry in keeper.history().entries]
    assert change(keeper.peer, Transition.TRANSITION_ACTIVATE)
    keeper.wait_until_watched()
    assert keeper.second().sequence == 0


def test_the_history_outlives_the_node(folder: Path, tmp_path: Path) -> None:
    with Peer() as peer, peer.process("narrator", **parameters(tmp_path)) as process:
        text = Keeper(peer, process).second().text
        # A second narrator can't mix in.
        other = Process("narrator", parameters(tmp_path), peer.domain)
        try:
            peer.until(lambda: "history" in other.log() and "[ERROR]" in other.log())
        finally:
            other.end()
    with Peer() as peer, peer.process("narrator", **parameters(tmp_path)) as process:
        keeper = Keeper(peer, process)
        assert [entry.text for entry in keeper.history().entries] == [text]
        response = keeper.ask_history("What was there?")
        assert "(seen at" in response.answer


def test_a_folder_that_cannot_be_is_named_and_the_node_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with Peer() as peer:
        bad = parameters(tmp_path / "file" / "below")
        with peer.process("narrator", **bad) as process:
            status = peer.wait_for_status(lambda v: "history" in v["message"])
            assert status["state"] == "unconfigured"
            assert "file" in process.log()


def test_without_a_history_it_says_how_to_have_one() -> None:
    with Peer() as peer, peer.process("narrator", **TINY) as process:
        response = Keeper(peer, process).history(since=to_time(S))
        assert not response.success
        assert "history_folder" in response.message
