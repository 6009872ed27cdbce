"""Moments that are kept: what is in their bags, and what is told beside them."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from streamingvlm_ros.bags.cdr import encode, known_types, topic_of
from streamingvlm_ros.bags.clip_lines import ClipRequest
from streamingvlm_ros.bags.reader import BagReader
from streamingvlm_ros.bags.recorder import MAX_CLIPS, Recorder, RecorderConfig
from streamingvlm_ros.bags.types import BagMessage, Topic
from streamingvlm_ros.bags.writer import BagConfig, BagWriter
from streamingvlm_ros.errors import BagError, ConfigError
from streamingvlm_ros.types import NS_PER_S as S

from .sample_bags import STRING, string

NARRATION = topic_of("/narrator/narration", "streamingvlm_ros/msg/Narration")
REAR = topic_of("/rear/narration", NARRATION.type)
TRUTH = topic_of("/a_camera/truth", NARRATION.type)
IMAGE = topic_of("/image", STRING)
LATCHED = Topic("/tf_static", STRING, qos="- {durability: transient_local}")


def narration(second: int, text: str, topic: Topic = NARRATION) -> BagMessage:
    """Said half a second after the second that it is about."""
    types: Any = known_types().types
    time = types["builtin_interfaces/msg/Time"]
    message = types["streamingvlm_ros/msg/Narration"](
        header=types["std_msgs/msg/Header"](time(second, 0), ""),
        start=time(second, 0),
        end=time(second + 1, 0),
        text=text,
        silent=not text,
        camera="",
        sequence=second,
        frames=2,
        dropped=0,
        latency=0.5,
    )
    return BagMessage(topic, (second + 1) * S + S // 2, encode(message))


@pytest.fixture
def recorder(tmp_path: Path) -> Any:
    recorder = Recorder(RecorderConfig(folder=str(tmp_path), keep_free_mb=0), BagConfig())
    yield recorder
    recorder.close()


def hear(recorder: Recorder, seconds: range) -> None:
    """An image at each full second, a narration half a second after."""
    for second in seconds:
        recorder.record(BagMessage(IMAGE, second * S, string(f"image {second}")))
        recorder.record(narration(second - 1, f"I see {second - 1}"))


def saved(recorder: Recorder, moment: ClipRequest, until: range) -> Path:
    """A clip that was recorded to its end."""
    clip = recorder.save_clip(moment)
    hear(recorder, until)
    assert clip.close()
    assert clip.problem == ""
    return clip.folder


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "clip.jsonl").read_text().splitlines()]


def test_a_clip_holds_the_seconds_before_and_after(recorder: Recorder) -> None:
    hear(recorder, range(100, 120))
    moment = ClipRequest("The red ball!", 119 * S + S // 2, 117 * S, 122 * S)
    folder = saved(recorder, moment, range(120, 130))
    assert folder.parent == recorder.folder / "clips"
    assert folder.name.endswith("-the-red-ball")
    with BagReader(folder) as reader:
        images = [r.data for r in reader.messages(["/image"])]
        assert images == [string(f"image {n}") for n in range(117, 123)]
        assert len(list(reader.messages(["/narrator/narration"]))) == 5
        assert reader.losses == {}


def test_what_was_said_stands_beside_it_in_the_clips_own_seconds(recorder: Recorder) -> None:
    hear(recorder, range(100, 120))
    moment = ClipRequest("ball", 119 * S + S // 2, 117 * S, 121 * S, "A green ball.")
    told = lines(saved(recorder, moment, range(120, 130)))
    assert [line["text"] for line in told] == [f"I see {n}" for n in range(116, 120)]
    # The bag begins at 117, and each is about the second before it was said.
    assert [(line["start_s"], line["end_s"]) for line in told] == [(n, n + 1) for n in range(-1, 3)]
    assert [line["start_ns"] for line in told] == [n * S for n in range(116, 120)]
    assert {line["label"] for line in told} == {"ball"}
    # What the person heard last is what is wrong.
    assert [line["corrected"] for line in told] == ["", "", "A green ball.", ""]


def test_what_others_know_better_is_not_among_what_the_narrator_said(recorder: Recorder) -> None:
    for second in range(100, 110):
        recorder.record(narration(second, f"I see {second}"))
        # Heard after the narrator, and of the same second.
        recorder.record(narration(second, f"There is {second}", TRUTH))
    moment = ClipRequest("", 111 * S, 107 * S, 111 * S, "A green ball.")
    clip = recorder.save_clip(moment)
    assert clip.close()
    told = lines(clip.folder)
    assert {line["topic"] for line in told} == {"/narrator/narration"}
    assert [line["start_ns"] for line in told] == [n * S for n in range(106, 110)]
    assert [line["corrected"] for line in told] == ["", "", "", "A green ball."]
    with BagReader(clip.folder) as reader:
        assert len(list(reader.messages([TRUTH.name]))) == len(told)


@pytest.mark.parametrize(("rear", "chosen"), [("A dog.", REAR), ("", NARRATION)])
def test_of_two_narrators_the_one_whose_words_were_heard_last_is_corrected(
    recorder: Recorder, rear: str, chosen: Topic
) -> None:
    for second in range(100, 110):
        recorder.record(narration(second, "A road.", NARRATION))
        recorder.record(narration(second, rear, REAR))
    clip = recorder.save_clip(ClipRequest("", 111 * S, 107 * S, 113 * S, "A cat."))
    # What comes later is about something else.
    recorder.record(narration(111, "A bridge.", NARRATION))
    recorder.record(narration(111, "A tree.", REAR))
    assert clip.close()
    told = lines(clip.folder)
    assert {line["topic"] for line in told} == {chosen.name}
    assert [line["corrected"] for line in told] == ["", "", "", "A cat.", ""]


def test_where_there_is_no_narrator_what_others_said_is_told(recorder: Recorder) -> None:
    recorder.record(narration(109, "A ball.", TRUTH))
    clip = recorder.save_clip(ClipRequest("", 111 * S, 107 * S, 111 * S))
    assert clip.close()
    assert [line["text"] for line in lines(clip.folder)] == ["A ball."]


def test_label_words_and_correction_stand_there_before_the_clip_is_finished(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    hear(recorder, range(100, 110))
    writing, go_on = threading.Event(), threading.Event()
    write = BagWriter.write

    def wait(bag: BagWriter, *message: Any) -> None:
        if bag.folder.parent.name == "clips":
            writing.set()
            assert go_on.wait(20)
        write(bag, *message)

    monkeypatch.setattr(BagWriter, "write", wait)
    clip = recorder.save_clip(ClipRequest("ball", 110 * S, 107 * S, 112 * S, "A green ball."))
    assert writing.wait(20)
    early = lines(clip.folder)
    go_on.set()
    assert [line["text"] for line in early] == ["I see 106", "I see 107", "I see 108"]
    assert [line["corrected"] for line in early] == ["", "", "A green ball."]
    hear(recorder, range(110, 114))
    assert clip.close()
    told = lines(clip.folder)
    assert told[: len(early)] == early
    assert len(told) > len(early)


def test_a_correction_is_kept_also_where_nothing_was_said(recorder: Recorder) -> None:
    recorder.record(BagMessage(IMAGE, 100 * S, string("image")))
    moment = ClipRequest("", 103 * S, 99 * S, 103 * S, "A door opens.")
    clip = recorder.save_clip(moment)
    clip.close()
    (line,) = lines(clip.folder)
    assert (line["text"], line["corrected"]) == ("", "A door opens.")
    assert (line["start_s"], line["end_s"]) == (-1.0, 3.0)


def test_a_clip_of_nothing_counts_its_seconds_from_its_own_beginning(recorder: Recorder) -> None:
    clip = recorder.save_clip(ClipRequest("", 103 * S, 99 * S, 103 * S, "A door opens."))
    assert clip.close()
    (line,) = lines(clip.folder)
    assert (line["start_s"], line["end_s"]) == (0.0, 4.0)


def test_half_a_character_does_not_cost_the_other_words(recorder: Recorder) -> None:
    hear(recorder, range(100, 110))
    clip = recorder.save_clip(ClipRequest("röd \ud83d", 110 * S, 105 * S, 110 * S, "grön \udcff"))
    assert clip.close()
    assert clip.problem == ""
    told = lines(clip.folder)
    assert {line["label"] for line in told} == {"röd ?"}
    assert told[-1]["corrected"] == "grön ?"


def test_it_is_in_utf_8_wherever_it_is_written(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As Python opens files in the locale C of an older system.
    monkeypatch.setattr("io.text_encoding", lambda encoding, *_: encoding or "ascii")
    clip = recorder.save_clip(ClipRequest("", 103 * S, 99 * S, 103 * S, "En dörr öppnas."))
    assert clip.close()
    assert clip.problem == ""
    assert "dörr öppnas" in (clip.folder / "clip.jsonl").read_text(encoding="utf-8")


def test_a_clip_ends_when_time_begins_anew(recorder: Recorder) -> None:
    hear(recorder, range(100, 120))
    clips = [recorder.save_clip(ClipRequest("", 119 * S, 117 * S, 130 * S)) for _ in range(2)]
    hear(recorder, range(120, 123))
    hear(recorder, range(3, 130))
    for clip in clips:
        assert clip.close()
        assert clip.problem == ""
        with BagReader(clip.folder) as reader:
            images = [r.data for r in reader.messages(["/image"])]
        assert images == [string(f"image {n}") for n in range(117, 123)]


def test_a_clip_also_ends_when_time_begins_anew_and_nothing_comes(recorder: Recorder) -> None:
    hear(recorder, range(100, 120))
    clip = recorder.save_clip(ClipRequest("", 119 * S, 117 * S, 130 * S))
    assert not clip.is_over(119 * S)
    recorder.finished_clips(3 * S)
    clip._writer._thread.join(20)
    assert recorder.finished_clips(3 * S) == [clip]


def test_what_was_latched_before_time_began_anew_still_holds(recorder: Recorder) -> None:
    recorder.record(BagMessage(LATCHED, 100 * S, string("left of the door")))
    hear(recorder, range(100, 120))
    hear(recorder, range(3, 10))
    clip = recorder.save_clip(ClipRequest("", 9 * S, 5 * S, 9 * S))
    assert clip.close()
    with BagReader(clip.folder) as reader:
        (held,) = reader.messages(["/tf_static"])
    assert (held.stamp_ns, held.data) == (5 * S, string("left of the door"))


def test_label_and_correction_are_in_the_bag_itself(recorder: Recorder) -> None:
    clip = recorder.save_clip(ClipRequest("Röd boll / ../..", S, 0, S, "Nej, grön."))
    clip.close()
    assert clip.folder.parent == recorder.folder / "clips"
    about = yaml.safe_load((clip.folder / "metadata.yaml").read_text())
    custom = about["rosbag2_bagfile_information"]["custom_data"]
    assert custom == {"label": "Röd boll / ../..", "corrected": "Nej, grön."}


def test_it_begins_with_what_latched_topics_said_long_ago(recorder: Recorder) -> None:
    recorder.record(BagMessage(LATCHED, 0, string("left of the door")))
    hear(recorder, range(100, 120))
    clip = recorder.save_clip(ClipRequest("", 119 * S, 118 * S, 119 * S))
    clip.close()
    with BagReader(clip.folder) as reader:
        first = next(iter(reader.messages()))
    assert (first.topic.name, first.stamp_ns) == ("/tf_static", 118 * S)
    assert first.data == string("left of the door")


def test_clips_that_overlap_are_recorded_side_by_side_but_not_without_end(
    recorder: Recorder,
) -> None:
    hear(recorder, range(100, 110))
    moment = ClipRequest("same", 109 * S, 105 * S, 112 * S)
    clips = [recorder.save_clip(moment) for _ in range(MAX_CLIPS)]
    with pytest.raises(BagError, match="try again when one is finished"):
        recorder.save_clip(moment)
    hear(recorder, range(110, 115))
    recorder.finished_clips(113 * S)
    assert all(clip.close() for clip in clips)
    assert set(recorder.finished_clips(113 * S)) == set(clips)
    assert recorder.finished_clips(113 * S) == []
    assert len({clip.folder for clip in clips}) == MAX_CLIPS
    for clip in clips:
        with BagReader(clip.folder) as reader:
            assert len(list(reader.messages(["/image"]))) == 8


def test_a_clip_that_is_still_growing_is_finished_at_the_end(tmp_path: Path) -> None:
    recorder = Recorder(RecorderConfig(folder=str(tmp_path), keep_free_mb=0), BagConfig())
    hear(recorder, range(100, 110))
    clip = recorder.save_clip(ClipRequest("", 109 * S, 105 * S, 10**6 * S))
    assert recorder.close()
    with BagReader(clip.folder) as reader:
        assert len(list(reader.messages(["/image"]))) == 5
        assert reader.losses == {}
    assert len(lines(clip.folder)) == 5


def test_a_clip_that_has_no_room_says_so(tmp_path: Path) -> None:
    config = RecorderConfig(folder=str(tmp_path), keep_free_mb=10**7)
    recorder = Recorder(config, BagConfig())
    hear(recorder, range(100, 110))
    clip = recorder.save_clip(ClipRequest("", 109 * S, 105 * S, 110 * S))
    assert recorder.close()
    assert "lower keep_free_mb" in clip.problem
    assert "lower keep_free_mb" in recorder.recording.problem
    assert recorder.recording.dropped.total() == recorder.received().total() == 20


@pytest.mark.parametrize(
    ("config", "bag", "why"),
    [
        ({"folder": ""}, {}, "set the parameter folder"),
        ({"quota_gb": 1.0}, {"split_mb": 0}, "set split_mb"),
        ({"quota_gb": 1.0}, {"split_mb": 600}, "raise quota_gb, or lower split_mb"),
    ],
)
def test_settings_that_do_not_go_together(
    tmp_path: Path, config: dict[str, Any], bag: dict[str, Any], why: str
) -> None:
    settings = {"folder": str(tmp_path), **config}
    with pytest.raises(ConfigError, match=why):
        Recorder(RecorderConfig(**settings), BagConfig(**bag))


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a letter")
    with pytest.raises(BagError, match="nothing can be recorded in"):
        Recorder(RecorderConfig(folder=str(tmp_path / "file" / "bags")), BagConfig())
