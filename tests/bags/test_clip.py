"""Saved clips: the messages in their bags, and the narration beside them."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from streamingvlm_ros.bags.cdr import encode, known_types, topic_of
from streamingvlm_ros.bags.reader import BagReader
from streamingvlm_ros.bags.recorder import MAX_CLIPS, Recorder, RecorderConfig
from streamingvlm_ros.bags.types import BagMessage, ClipRequest, Topic
from streamingvlm_ros.bags.writer import BagConfig, BagWriter
from streamingvlm_ros.errors import BagError, ConfigError
from streamingvlm_ros.types import NS_PER_S as S

from .sample_bags import STRING, TIMEOUT_S, string

NARRATION = topic_of("/narrator/narration", "streamingvlm_ros/msg/Narration")
REAR = topic_of("/rear/narration", NARRATION.type)
TRUTH = topic_of("/a_camera/truth", NARRATION.type)
IMAGE = topic_of("/image", STRING)
TF_STATIC = Topic("/tf_static", STRING, qos="- {durability: transient_local}")


def narration(second: int, text: str, *, topic: Topic = NARRATION) -> BagMessage:
    """A narration of one second, recorded half a second after it."""
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


def record(recorder: Recorder, seconds: range) -> None:
    """Record an image at each full second, and a narration half a second later."""
    for second in seconds:
        recorder.record(BagMessage(IMAGE, second * S, string(f"image {second}")))
        recorder.record(narration(second - 1, f"I see {second - 1}"))


def save_clip(recorder: Recorder, request: ClipRequest, *, seconds: range) -> Path:
    """Save a clip, and record until its end."""
    clip = recorder.save_clip(request)
    record(recorder, seconds)
    assert clip.close()
    assert clip.problem == ""
    return clip.folder


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "clip.jsonl").read_text().splitlines()]


def test_a_clip_holds_the_seconds_before_and_after(recorder: Recorder) -> None:
    record(recorder, range(100, 120))
    request = ClipRequest("The red ball!", 119 * S + S // 2, 117 * S, 122 * S)
    folder = save_clip(recorder, request, seconds=range(120, 130))
    assert folder.parent == recorder.folder / "clips"
    assert folder.name.endswith("-the-red-ball")
    with BagReader(folder) as reader:
        images = [r.data for r in reader.messages(["/image"])]
        assert images == [string(f"image {n}") for n in range(117, 123)]
        assert len(list(reader.messages(["/narrator/narration"]))) == 5
        assert reader.losses == {}


def test_the_narration_is_in_the_sidecar_with_the_clips_own_seconds(recorder: Recorder) -> None:
    record(recorder, range(100, 120))
    request = ClipRequest("ball", 119 * S + S // 2, 117 * S, 121 * S, "A green ball.")
    clip_lines = lines(save_clip(recorder, request, seconds=range(120, 130)))
    assert [line["text"] for line in clip_lines] == [f"I see {n}" for n in range(116, 120)]
    # The bag begins at 117; each narration is of the second before its recording.
    assert [(line["start_s"], line["end_s"]) for line in clip_lines] == [
        (n, n + 1) for n in range(-1, 3)
    ]
    assert [line["start_ns"] for line in clip_lines] == [n * S for n in range(116, 120)]
    assert {line["label"] for line in clip_lines} == {"ball"}
    # The last narration before the request is the wrong one.
    assert [line["corrected"] for line in clip_lines] == ["", "", "A green ball.", ""]


def test_ground_truth_is_not_mixed_with_the_narration(recorder: Recorder) -> None:
    for second in range(100, 110):
        recorder.record(narration(second, f"I see {second}"))
        # Recorded after the narrator's, of the same second.
        recorder.record(narration(second, f"There is {second}", topic=TRUTH))
    request = ClipRequest("", 111 * S, 107 * S, 111 * S, "A green ball.")
    clip = recorder.save_clip(request)
    assert clip.close()
    clip_lines = lines(clip.folder)
    assert {line["topic"] for line in clip_lines} == {"/narrator/narration"}
    assert [line["start_ns"] for line in clip_lines] == [n * S for n in range(106, 110)]
    assert [line["corrected"] for line in clip_lines] == ["", "", "", "A green ball."]
    with BagReader(clip.folder) as reader:
        assert len(list(reader.messages([TRUTH.name]))) == len(clip_lines)


@pytest.mark.parametrize(("rear", "chosen"), [("A dog.", REAR), ("", NARRATION)])
def test_the_correction_goes_to_the_narrator_that_spoke_last(
    recorder: Recorder, rear: str, chosen: Topic
) -> None:
    for second in range(100, 110):
        recorder.record(narration(second, "A road."))
        recorder.record(narration(second, rear, topic=REAR))
    clip = recorder.save_clip(ClipRequest("", 111 * S, 107 * S, 113 * S, "A cat."))
    # Later narrations are of something else.
    recorder.record(narration(111, "A bridge."))
    recorder.record(narration(111, "A tree.", topic=REAR))
    assert clip.close()
    clip_lines = lines(clip.folder)
    assert {line["topic"] for line in clip_lines} == {chosen.name}
    assert [line["corrected"] for line in clip_lines] == ["", "", "", "A cat.", ""]


def test_without_a_narrator_the_ground_truth_is_in_the_sidecar(recorder: Recorder) -> None:
    recorder.record(narration(109, "A ball.", topic=TRUTH))
    clip = recorder.save_clip(ClipRequest("", 111 * S, 107 * S, 111 * S))
    assert clip.close()
    assert [line["text"] for line in lines(clip.folder)] == ["A ball."]


def test_label_words_and_correction_are_written_before_the_clip_is_finished(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(recorder, range(100, 110))
    writing, go_on = threading.Event(), threading.Event()
    write = BagWriter.write

    def wait(bag: BagWriter, *message: Any, **data: Any) -> None:
        if bag.folder.parent.name == "clips":
            writing.set()
            assert go_on.wait(TIMEOUT_S)
        write(bag, *message, **data)

    monkeypatch.setattr(BagWriter, "write", wait)
    clip = recorder.save_clip(ClipRequest("ball", 110 * S, 107 * S, 112 * S, "A green ball."))
    assert writing.wait(TIMEOUT_S)
    early = lines(clip.folder)
    go_on.set()
    assert [line["text"] for line in early] == ["I see 106", "I see 107", "I see 108"]
    assert [line["corrected"] for line in early] == ["", "", "A green ball."]
    record(recorder, range(110, 114))
    assert clip.close()
    clip_lines = lines(clip.folder)
    assert clip_lines[: len(early)] == early
    assert len(clip_lines) > len(early)


def test_a_correction_is_written_also_without_a_narration(recorder: Recorder) -> None:
    recorder.record(BagMessage(IMAGE, 100 * S, string("image")))
    request = ClipRequest("", 103 * S, 99 * S, 103 * S, "A door opens.")
    clip = recorder.save_clip(request)
    clip.close()
    (line,) = lines(clip.folder)
    assert (line["text"], line["corrected"]) == ("", "A door opens.")
    assert (line["start_s"], line["end_s"]) == (-1.0, 3.0)


def test_an_empty_clip_counts_seconds_from_its_requested_start(recorder: Recorder) -> None:
    clip = recorder.save_clip(ClipRequest("", 103 * S, 99 * S, 103 * S, "A door opens."))
    assert clip.close()
    (line,) = lines(clip.folder)
    assert (line["start_s"], line["end_s"]) == (0.0, 4.0)


def test_a_lone_surrogate_is_replaced_and_the_rest_is_written(recorder: Recorder) -> None:
    record(recorder, range(100, 110))
    clip = recorder.save_clip(ClipRequest("röd \ud83d", 110 * S, 105 * S, 110 * S, "grön \udcff"))
    assert clip.close()
    assert clip.problem == ""
    clip_lines = lines(clip.folder)
    assert {line["label"] for line in clip_lines} == {"röd ?"}
    assert clip_lines[-1]["corrected"] == "grön ?"


def test_the_sidecar_is_utf_8_in_every_locale(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Python's default encoding in the locale C of older systems.
    monkeypatch.setattr("io.text_encoding", lambda encoding, *_: encoding or "ascii")
    clip = recorder.save_clip(ClipRequest("", 103 * S, 99 * S, 103 * S, "En dörr öppnas."))
    assert clip.close()
    assert clip.problem == ""
    assert "dörr öppnas" in (clip.folder / "clip.jsonl").read_text(encoding="utf-8")


def test_a_jump_back_in_time_ends_a_clip(recorder: Recorder) -> None:
    record(recorder, range(100, 120))
    clips = [recorder.save_clip(ClipRequest("", 119 * S, 117 * S, 130 * S)) for _ in range(2)]
    record(recorder, range(120, 123))
    record(recorder, range(3, 130))
    for clip in clips:
        assert clip.close()
        assert clip.problem == ""
        with BagReader(clip.folder) as reader:
            images = [r.data for r in reader.messages(["/image"])]
        assert images == [string(f"image {n}") for n in range(117, 123)]


def test_a_jump_back_in_time_ends_a_clip_also_without_messages(recorder: Recorder) -> None:
    record(recorder, range(100, 120))
    clip = recorder.save_clip(ClipRequest("", 119 * S, 117 * S, 130 * S))
    assert not clip.is_over(119 * S)
    recorder.finished_clips(3 * S)
    clip._writer._thread.join(TIMEOUT_S)
    assert recorder.finished_clips(3 * S) == [clip]


def test_transient_local_messages_from_before_a_jump_in_time_are_included(
    recorder: Recorder,
) -> None:
    recorder.record(BagMessage(TF_STATIC, 100 * S, string("left of the door")))
    record(recorder, range(100, 120))
    record(recorder, range(3, 10))
    clip = recorder.save_clip(ClipRequest("", 9 * S, 5 * S, 9 * S))
    assert clip.close()
    with BagReader(clip.folder) as reader:
        (message,) = reader.messages(["/tf_static"])
    assert (message.stamp_ns, message.data) == (5 * S, string("left of the door"))


def test_label_and_correction_are_in_the_bag_itself(recorder: Recorder) -> None:
    clip = recorder.save_clip(ClipRequest("Röd boll / ../..", S, 0, S, "Nej, grön."))
    clip.close()
    assert clip.folder.parent == recorder.folder / "clips"
    about = yaml.safe_load((clip.folder / "metadata.yaml").read_text())
    custom = about["rosbag2_bagfile_information"]["custom_data"]
    assert custom == {"label": "Röd boll / ../..", "corrected": "Nej, grön."}


def test_a_clip_begins_with_old_transient_local_messages(recorder: Recorder) -> None:
    recorder.record(BagMessage(TF_STATIC, 0, string("left of the door")))
    record(recorder, range(100, 120))
    clip = recorder.save_clip(ClipRequest("", 119 * S, 118 * S, 119 * S))
    clip.close()
    with BagReader(clip.folder) as reader:
        first = next(iter(reader.messages()))
    assert (first.topic.name, first.stamp_ns) == ("/tf_static", 118 * S)
    assert first.data == string("left of the door")


def test_overlapping_clips_are_saved_side_by_side_up_to_a_limit(
    recorder: Recorder,
) -> None:
    record(recorder, range(100, 110))
    request = ClipRequest("same", 109 * S, 105 * S, 112 * S)
    clips = [recorder.save_clip(request) for _ in range(MAX_CLIPS)]
    with pytest.raises(BagError, match="try again when one is finished"):
        recorder.save_clip(request)
    record(recorder, range(110, 115))
    recorder.finished_clips(113 * S)
    assert all(clip.close() for clip in clips)
    assert set(recorder.finished_clips(113 * S)) == set(clips)
    assert recorder.finished_clips(113 * S) == []
    assert len({clip.folder for clip in clips}) == MAX_CLIPS
    for clip in clips:
        with BagReader(clip.folder) as reader:
            assert len(list(reader.messages(["/image"]))) == 8


def test_closing_the_recorder_finishes_a_growing_clip(tmp_path: Path) -> None:
    recorder = Recorder(RecorderConfig(folder=str(tmp_path), keep_free_mb=0), BagConfig())
    record(recorder, range(100, 110))
    clip = recorder.save_clip(ClipRequest("", 109 * S, 105 * S, 10**6 * S))
    assert recorder.close()
    with BagReader(clip.folder) as reader:
        assert len(list(reader.messages(["/image"]))) == 5
        assert reader.losses == {}
    assert len(lines(clip.folder)) == 5


def test_a_clip_without_disk_space_reports_the_problem(tmp_path: Path) -> None:
    config = RecorderConfig(folder=str(tmp_path), keep_free_mb=10**7)
    recorder = Recorder(config, BagConfig())
    record(recorder, range(100, 110))
    clip = recorder.save_clip(ClipRequest("", 109 * S, 105 * S, 110 * S))
    assert recorder.close()
    assert "lower keep_free_mb" in clip.problem
    assert "lower keep_free_mb" in recorder.recording.problem
    assert recorder.recording.dropped.total() == recorder.received().total() == 20


def test_a_clip_beyond_the_quota_is_refused_and_the_recording_goes_on(tmp_path: Path) -> None:
    film = tmp_path / "clips" / "a film.mp4"
    film.parent.mkdir()
    film.write_bytes(bytes(1_500_000))
    config = RecorderConfig(folder=str(tmp_path), keep_free_mb=0, quota_gb=0.003)
    recorder = Recorder(config, BagConfig(split_mb=1))
    record(recorder, range(100, 110))
    with pytest.raises(BagError, match="clips is full: its clips take 2 MB"):
        recorder.save_clip(ClipRequest("", 109 * S, 105 * S, 110 * S))
    assert recorder.close()
    assert (recorder.recording.problem, recorder.recording.dropped.total()) == ("", 0)
    assert film.exists()


@pytest.mark.parametrize(
    ("config", "bag", "error"),
    [
        ({"folder": ""}, {}, "set the parameter folder"),
        ({"quota_gb": 1.0}, {"split_mb": 0}, "set split_mb"),
        ({"quota_gb": 1.0}, {"split_mb": 600}, "raise quota_gb, or lower split_mb"),
        ({"ring_mb": 10**5}, {}, r"may take 100256 MB, .* lower ring_mb \(now 100000\)"),
        ({"queue_mb": 10**5, "ring_s": 0.0}, {}, r"may take 100000 MB, .* lower queue_mb"),
    ],
)
def test_contradicting_settings_are_an_error(
    config: dict[str, Any],
    bag: dict[str, Any],
    error: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = {"folder": str(tmp_path), **config}
    monkeypatch.setattr("streamingvlm_ros.bags.config.available_bytes", lambda: 4 * 10**9)
    with pytest.raises(ConfigError, match=error):
        Recorder(RecorderConfig(**settings), BagConfig(**bag))


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a letter")
    with pytest.raises(BagError, match="nothing can be recorded in"):
        Recorder(RecorderConfig(folder=str(tmp_path / "file" / "bags")), BagConfig())
