"""MCAP files: every combination of optional parts, any order of stamps, foreign topics."""

from __future__ import annotations

import struct
from dataclasses import replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcap.writer import CompressionType, IndexType, Writer

from streamingvlm_ros.bags import mcap_layout, mcap_reader
from streamingvlm_ros.bags.cdr import topic_of
from streamingvlm_ros.bags.mcap_chunks import MAGIC
from streamingvlm_ros.bags.reader import BagReader
from streamingvlm_ros.bags.types import IMAGE_TYPES
from streamingvlm_ros.bags.writer import BagConfig, BagWriter
from streamingvlm_ros.errors import BagError
from streamingvlm_ros.types import NS_PER_S as S

from .mcap_files import Fill, foreign, stamps_and_losses, texts_at, write_mcap
from .sample_bags import string

SWITCHES = ("use_chunking", "repeat_schemas", "repeat_channels", "use_statistics")
INDEXES = (IndexType.ALL, IndexType.NONE, IndexType.CHUNK, IndexType.MESSAGE)
STAMPS_NS = [n * S for n in range(1, 25)]

options = st.fixed_dictionaries(
    {
        **{name: st.booleans() for name in (*SWITCHES, "use_summary_offsets")},
        "enable_crcs": st.booleans(),
        "enable_data_crcs": st.booleans(),
        "index_types": st.sampled_from(INDEXES),
        "compression": st.sampled_from(list(CompressionType)),
        "chunk_size": st.sampled_from([1, 500, 2**20]),
    }
)
stamps = st.lists(st.integers(0, 2**63), min_size=1, max_size=30)


@pytest.mark.parametrize("switches", list(product([True, False], repeat=len(SWITCHES))))
def test_no_optional_part_is_needed(tmp_path: Path, switches: tuple[bool, ...]) -> None:
    given_options: dict[str, Any] = dict(zip(SWITCHES, switches, strict=True))
    for index in INDEXES:
        file = write_mcap(
            tmp_path / "a.mcap",
            texts_at(STAMPS_NS),
            index_types=index,
            chunk_size=500,
            **given_options,
        )
        assert stamps_and_losses(file) == (STAMPS_NS, {})
        assert stamps_and_losses(file, since_ns=20 * S) == (STAMPS_NS[19:], {})


@given(options, stamps, st.integers(0, 2**63))
def test_all_messages_are_read_in_the_order_of_stamps(
    options: dict[str, Any], stamps_ns: list[int], since_ns: int
) -> None:
    with TemporaryDirectory() as folder:
        file = write_mcap(Path(folder) / "a.mcap", texts_at(stamps_ns), **options)
        assert stamps_and_losses(file) == (sorted(stamps_ns), {})
        since = [stamp_ns for stamp_ns in sorted(stamps_ns) if stamp_ns >= since_ns]
        assert stamps_and_losses(file, since_ns) == (since, {})


@given(options, st.floats(0, 1))
def test_a_file_that_is_cut_off_anywhere_is_read_up_to_there(
    options: dict[str, Any], part: float
) -> None:
    with TemporaryDirectory() as folder:
        file = write_mcap(Path(folder) / "a.mcap", texts_at(STAMPS_NS), **options)
        data = file.read_bytes()
        cut = round(part * (len(data) - 1))
        file.write_bytes(data[:cut])
        if cut < len(MAGIC):
            with pytest.raises(BagError, match="no MCAP file"):
                BagReader(file)
            return
        stamps_ns, losses = stamps_and_losses(file)
        assert stamps_ns == STAMPS_NS[: len(stamps_ns)]
        if not options["use_chunking"]:
            whole = sum(data.find(string(f"{n}")) + len(string(f"{n}")) <= cut for n in range(24))
            assert len(stamps_ns) == whole
        # Only the footer and the final magic may be missing without a loss.
        footer = 9 + 20
        assert losses or cut >= len(data) - len(MAGIC) - footer


def test_an_index_of_only_some_chunks_hides_no_messages(tmp_path: Path) -> None:
    def fill(writer: Writer) -> None:
        channel = None
        for number, stamp_ns in enumerate(STAMPS_NS):
            # The library has no public switch for a part of a file.
            index = IndexType.ALL if number % 3 else IndexType.NONE
            writer._Writer__index_types = index  # type: ignore[attr-defined]
            if channel is None:
                texts_at([])(writer)
                channel = 1
            writer.add_message(channel, stamp_ns, string(f"{number}"), stamp_ns)

    file = write_mcap(tmp_path / "a.mcap", fill, chunk_size=1)
    assert stamps_and_losses(file) == (STAMPS_NS, {})


def test_late_messages_outside_chunks_are_sorted_across_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcap_layout, "_MAX_RUN_BYTES", 200)
    late = [stamp_ns - (S + 1000 if n % 3 == 2 else 0) for n, stamp_ns in enumerate(STAMPS_NS)]
    file = write_mcap(tmp_path / "a.mcap", texts_at(late), use_chunking=False)
    assert stamps_and_losses(file) == (sorted(late), {})


@pytest.mark.parametrize("use_chunking", [True, False])
def test_sorting_needs_bounded_memory_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use_chunking: bool
) -> None:
    monkeypatch.setattr(mcap_reader, "_MAX_SORTED_BYTES", 100)
    monkeypatch.setattr(mcap_layout, "_MAX_RUN_BYTES", 200)
    stamps_ns = STAMPS_NS[::-1]
    file = write_mcap(
        tmp_path / "a.mcap", texts_at(stamps_ns), use_chunking=use_chunking, chunk_size=200
    )
    read, losses = stamps_and_losses(file)
    assert (sorted(read), losses) == (STAMPS_NS, {})


PROTOBUF = foreign("protobuf", "protobuf", definition=bytes(range(128, 256)) * 3)
FOREIGN = {
    "protobuf": PROTOBUF,
    "json": foreign("jsonschema", "json", definition=b'{"type": "object"}'),
    "flatbuffer": foreign("flatbuffer", "flatbuffer", definition=b"\xff\xfe\x00"),
    "ros1": foreign("ros1msg", "ros1", definition=b"uint32 height"),
    "cbor": foreign("", "cbor"),
    "none": foreign("", ""),
    "cdr without a schema": foreign("", "cdr"),
}


@pytest.mark.parametrize("profile", ["ros2", "", "ros1"])
@pytest.mark.parametrize("other", FOREIGN.values(), ids=list(FOREIGN))
def test_foreign_topics_beside_a_ros_2_topic_are_no_damage(
    tmp_path: Path, other: Fill, profile: str
) -> None:
    topic = texts_at(STAMPS_NS)
    for fills in ([other, topic], [topic, other]):
        for chunked in (True, False):
            file = write_mcap(
                tmp_path / "a.mcap", *fills, profile=profile, use_chunking=chunked, chunk_size=300
            )
            assert stamps_and_losses(file) == (STAMPS_NS, {})


@pytest.mark.parametrize("encoding", ["", "unknown", "ros2idl", "omgidl"])
def test_a_topic_whose_definition_is_unknown_or_no_text_is_read(
    tmp_path: Path, encoding: str
) -> None:
    def fill(writer: Writer) -> None:
        schema = writer.register_schema("std_msgs/msg/String", encoding, b"\xff")
        channel = writer.register_channel("/speech", "cdr", schema)
        writer.add_message(channel, S, string("hello"), S)

    assert stamps_and_losses(write_mcap(tmp_path / "a.mcap", fill)) == ([S], {})


def test_a_short_type_name_as_the_mcap_library_writes_it_is_understood(tmp_path: Path) -> None:
    def fill(writer: Writer) -> None:
        definition = topic_of("/image", IMAGE_TYPES[0]).definition
        schema = writer.register_schema("sensor_msgs/Image", "ros2msg", definition.encode())
        channel = writer.register_channel("/image", "cdr", schema)
        writer.add_message(channel, S, b"", S)

    with BagReader(write_mcap(tmp_path / "a.mcap", fill)) as reader:
        assert [topic.type for topic in reader.topics] == [IMAGE_TYPES[0]]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ("ros1", ["ROS 1 messages", "rosbags-convert"]),
        ("protobuf", ["no ROS 2 messages", "protobuf", "sensor_msgs/msg/Image"]),
        ("json", ["no ROS 2 messages", "jsonschema"]),
    ],
)
def test_a_file_without_a_ros_2_topic_is_an_error_that_says_what_it_is(
    tmp_path: Path, other: str, words: list[str]
) -> None:
    file = write_mcap(tmp_path / "a.mcap", FOREIGN[other], profile="ros1")
    with pytest.raises(BagError) as error:
        BagReader(file)
    assert all(word in str(error.value) for word in words)
    assert "damaged" not in str(error.value)


def test_zeros_at_the_end_after_a_power_cut_are_reported(tmp_path: Path) -> None:
    file = write_mcap(tmp_path / "a.mcap", texts_at(STAMPS_NS), use_chunking=False)
    data = file.read_bytes()
    end = data.find(string("11")) + len(string("11"))
    file.write_bytes(data[:end] + bytes(5000))
    stamps_ns, losses = stamps_and_losses(file)
    assert stamps_ns == STAMPS_NS[:12]
    assert f"broken at byte {end:,}" in losses["a.mcap"]


def test_a_broken_record_between_indexed_chunks_costs_only_itself(tmp_path: Path) -> None:
    file = write_mcap(
        tmp_path / "a.mcap",
        texts_at(STAMPS_NS),
        chunk_size=200,
        compression=CompressionType.NONE,
        enable_crcs=False,
    )
    data = bytearray(file.read_bytes())
    # The first message index is not read where the index of chunks is whole: break the header.
    struct.pack_into("<Q", data, 9, 2**40)
    file.write_bytes(data)
    stamps_ns, losses = stamps_and_losses(file)
    assert stamps_ns == STAMPS_NS
    assert "broken at byte 8" in losses["a.mcap"]


@pytest.mark.parametrize(
    ("qos", "is_kept"),
    [
        ("- {durability: transient_local}", True),
        ("- {durability: volatile}", False),
        ("", False),
    ],
)
def test_incomplete_qualities_of_service_still_say_what_is_transient_local(
    tmp_path: Path, qos: str, is_kept: bool
) -> None:
    topic = replace(topic_of("/where", "std_msgs/msg/String"), qos=qos)
    with BagWriter(tmp_path / "bag", BagConfig()) as writer:
        writer.write(topic, S, data=b"\0\1\0\0")
    with BagReader(tmp_path / "bag") as reader:
        assert [topic.transient_local for topic in reader.topics] == [is_kept]
