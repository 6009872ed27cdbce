"""The notes that a checkpoint keeps of every stage that made it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from streamingvlm_training.provenance import copy_provenance, record_start


def checkpoint(folder: Path, name: str, *, start: str = "") -> Path:
    """A folder with the notes of one stage and small stand-ins for the weights."""
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(name.encode())
    (folder / "recipe.yaml").write_text(f"name: {name}\n")
    (folder / "training.jsonl").write_text(json.dumps({"loss": name}) + "\n")
    if start:
        (folder / "start.json").write_text(json.dumps({"start": start}) + "\n")
    return folder


def run_from(start: Path | str, folder: Path, *, name: str) -> Path:
    """The checkpoint of a run that starts from another one."""
    manifest, model = folder / "manifest", checkpoint(folder / "model", "stale", start="stale")
    manifest.mkdir()
    (manifest / "recipe.yaml").write_text(f"name: {name}\n")
    record_start(str(start), manifest)
    (folder / "training.jsonl").write_text(json.dumps({"loss": name}) + "\n")
    copy_provenance(manifest, folder / "training.jsonl", model=model)
    return model


def stages(model: Path) -> list[str]:
    return sorted(stage.name for stage in (model / "provenance").glob("*"))


def test_every_stage_has_a_folder_in_the_order_of_training(tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "scratch", "demo")
    for name in ("window", "colours", "asking"):
        model = run_from(model, tmp_path / name, name=name)
    assert stages(model) == ["1_demo", "2_window", "3_colours"]
    for stage in (model / "provenance").iterdir():
        name = stage.name.partition("_")[2]
        assert (stage / "recipe.yaml").read_text() == f"name: {name}\n"
        assert json.loads((stage / "training.jsonl").read_text()) == {"loss": name}
        assert (stage / "start.json").exists() == (name != "demo")
    record = json.loads((model / "provenance" / "3_colours" / "start.json").read_text())
    assert record["start"] == str(tmp_path / "window" / "model")
    assert (model / "recipe.yaml").read_text() == "name: asking\n"
    assert json.loads((model / "start.json").read_text())["start"].endswith("colours/model")


def test_nested_notes_of_an_older_checkpoint_are_written_flat(tmp_path: Path) -> None:
    older = checkpoint(tmp_path / "older", "third", start="two")
    checkpoint(older / "start", "second", start="one")
    checkpoint(older / "start" / "start", "first")
    model = run_from(older, tmp_path / "run", name="fourth")
    assert stages(model) == ["1_first", "2_second", "3_third"]
    for stage, start in (("2_second", "one"), ("3_third", "two")):
        assert json.loads((model / "provenance" / stage / "start.json").read_text()) == {
            "start": start
        }
    assert not (model / "start").exists()


def test_a_run_begun_by_an_older_version_ends_with_flat_notes(tmp_path: Path) -> None:
    manifest = checkpoint(tmp_path / "begun", "third", start="two")
    checkpoint(manifest / "start", "second", start="one")
    checkpoint(manifest / "start" / "start", "first")
    model = tmp_path / "model"
    model.mkdir()
    copy_provenance(manifest, manifest / "training.jsonl", model=model)
    assert stages(model) == ["1_first", "2_second"]
    assert json.loads((model / "start.json").read_text()) == {"start": "two"}


def test_stages_of_equal_odd_or_no_names_stay_apart_and_in_order(tmp_path: Path) -> None:
    names = ["same", "same", "a/../b: c", "", *["more"] * 8]
    model = checkpoint(tmp_path / "scratch", names[0])
    for number, name in enumerate([*names[1:], "last"], 1):
        model = run_from(model, tmp_path / str(number), name=f"'{name}'")
    folders = sorted(
        (model / "provenance").iterdir(), key=lambda path: int(path.name.split("_")[0])
    )
    assert [path.name for path in folders] == [
        "1_same", "2_same", "3_a_.._b_c", "4_unnamed", *(f"{n}_more" for n in range(5, 13))
    ]  # fmt: skip
    logs = [json.loads((path / "training.jsonl").read_text())["loss"] for path in folders]
    assert logs == [names[0], *(f"'{name}'" for name in names[1:])]


def test_a_run_keeps_no_notes_of_what_lay_in_its_folder_before(tmp_path: Path) -> None:
    stale = tmp_path / "run" / "model"
    checkpoint(stale / "provenance" / "1_other", "other")
    checkpoint(stale / "start", "other")
    manifest = checkpoint(tmp_path / "manifest", "own")
    copy_provenance(manifest, manifest / "training.jsonl", model=stale)
    assert {path.name for path in stale.iterdir()} == {"recipe.yaml", "training.jsonl"}


@pytest.mark.parametrize("content", ["", "a: [", "- a list", "name: 2026-13-45"])
def test_a_start_with_an_unreadable_recipe_still_leaves_its_notes(
    tmp_path: Path, content: str
) -> None:
    start = checkpoint(tmp_path / "start", "first")
    (start / "recipe.yaml").write_text(content)
    model = run_from(start, tmp_path / "run", name="second")
    assert stages(model) == ["1_unnamed"]
    assert (model / "provenance" / "1_unnamed" / "recipe.yaml").read_text() == content


def test_the_hash_of_a_start_covers_every_file_of_weights(tmp_path: Path) -> None:
    start, note = tmp_path / "start", tmp_path / "note"
    for folder in (start, note):
        folder.mkdir()
    parts = {"model-00002-of-00002": b"second", "model-00001-of-00002": b"first "}
    for name, content in parts.items():
        (start / f"{name}.safetensors").write_bytes(content)
    record_start(str(start), note)
    assert json.loads((note / "start.json").read_text()) == {
        "start": str(start),
        "sha256": hashlib.sha256(b"first second").hexdigest(),
    }
    assert not (note / "provenance").exists()
    record_start("some/model", note)
    assert json.loads((note / "start.json").read_text()) == {"start": "some/model"}
