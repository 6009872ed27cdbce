"""A training run from its recipe to a checkpoint that the engine streams."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from torch.utils.data import BatchSampler
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerFast,
    TrainerState,
    TrainingArguments,
)

from streamingvlm_ros.config import Settings, settings_for
from streamingvlm_ros.demo.world import FIRST_UNSEEN_SEED, World
from streamingvlm_ros.engine.chat_format import ChatFormat
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.errors import ConfigError, ModelError
from streamingvlm_ros.types import NS_PER_S, Chunk, Frame
from streamingvlm_training import sft, sharding, world_draws
from streamingvlm_training.attention import EQUAL_CHUNKS, register
from streamingvlm_training.checkpoints import writing
from streamingvlm_training.data import training_clips
from streamingvlm_training.progress import Progress
from streamingvlm_training.recipe import Recipe, TrainConfig, read_recipe
from streamingvlm_training.sft import main, train
from streamingvlm_training.tiny_model import new_model
from streamingvlm_training.trainer import ClipTrainer, collator_for
from streamingvlm_training.weights import note_start
from streamingvlm_training.world_clips import WorldClips

from .conftest import ROOT, losses, resumed_after_a_crash


def test_a_run_makes_a_checkpoint_that_streams(recipe_path: Path, tmp_path: Path) -> None:
    folder = train(recipe_path, tmp_path / "run")
    settings = settings_for(folder)
    assert settings.window.vision_rounds == 4
    stream = StreamingEngine.from_pretrained(folder, settings).open_stream()
    image = World(0).frame(0.5, 56, 56)
    narration = stream.step(Chunk((Frame(image, 0), Frame(image, NS_PER_S // 2)), 0, NS_PER_S))
    assert narration.tokens > 0
    log = [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [1, 2]
    assert (folder / "recipe.yaml").read_text() == recipe_path.read_text()


def test_a_run_is_resumed_from_its_last_step(
    recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the log says of steps that are done again goes, and a line without its end."""
    recipe_path.write_text(recipe_path.read_text().replace("steps: 2", "steps: 4"))
    log = tmp_path / "run" / "training.jsonl"

    def leave_more_lines() -> None:
        log.open("a").write('{"step": 3, "loss": 1.0}\n[]\n{"step": 1, "lo')

    resumed_after_a_crash(recipe_path, tmp_path / "run", monkeypatch, leave_more_lines)
    lines = (tmp_path / "run" / "model" / "training.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]


def test_a_signal_leaves_a_state_to_go_on_from(
    recipe_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = recipe_path.read_text().replace("save_every: 1", "save_every: 100")
    recipe_path.write_text(content.replace("steps: 2", "steps: 3"))
    run = tmp_path / "run"
    command = [str(recipe_path), "--output", str(run)]

    def signalled(self: Progress, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 1:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "on_step_begin", signalled)
        assert main(command) == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert capsys.readouterr().out.endswith("stopped at step 2: --resume goes on\n")
    assert not (run / "model").exists()
    assert main([*command, "--resume"]) == 0
    assert losses(run / "model") == losses(train(recipe_path, tmp_path / "straight"))


@pytest.mark.slow
def test_a_process_that_was_stopped_twice_learns_what_an_undisturbed_one_does(
    recipe_path: Path, tmp_path: Path
) -> None:
    content = recipe_path.read_text().replace("save_every: 1", "save_every: 1000")
    recipe_path.write_text(content.replace("steps: 2", "steps: 60"))
    run = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "streamingvlm_training.sft",
        str(recipe_path),
        "--output",
        str(run),
    ]
    stopped = []
    for number, resumed in ((signal.SIGINT, []), (signal.SIGTERM, ["--resume"])):
        with subprocess.Popen(
            [*command, *resumed],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout
            while not process.stdout.readline().startswith("step "):
                pass
            process.send_signal(number)
            told = process.stdout.read()
        assert process.returncode == 128 + number, told
        assert "Traceback" not in told
        step = re.search(r"^stopped at step (\d+): --resume goes on$", told, re.MULTILINE)
        assert step, told
        stopped.append(int(step[1]))
    assert stopped[0] < stopped[1] < 60
    assert not (run / "model").exists()
    folder = train(recipe_path, run, resume=True)
    assert losses(folder) == losses(train(recipe_path, tmp_path / "straight"))


@pytest.mark.slow
def test_a_second_signal_ends_at_once_and_so_does_one_while_nothing_is_learnt() -> None:
    program = """
import signal, sys
from streamingvlm_training.graceful_stop import Stopping
stop = Stopping()
with stop.heeding():
    if "learning" in sys.argv:
        stop.on_train_begin(None, None, None)
        signal.raise_signal(signal.SIGTERM)
        print("goes on", flush=True)
    signal.raise_signal(signal.SIGINT)
    print("still there", flush=True)
"""
    for words, out in ((["learning"], "goes on\n"), ([], "")):
        ended = subprocess.run(
            [sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True, text=True
        )
        assert ended.returncode == -signal.SIGINT
        assert ended.stdout == out


def test_a_run_is_not_gone_on_with_by_another_recipe(
    recipe_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(recipe_path), "--output", str(tmp_path / "run")]
    begun = recipe_path.read_text()
    assert main(command) == 0
    kept = tmp_path / "run" / "steps" / "begun" / "recipe.yaml"
    assert kept.read_text() == begun
    changed = begun.replace("steps: 2", "steps: 4\n  learning_rate: 0.5")
    recipe_path.write_text(changed.replace("vision_rounds: 4", "vision_rounds: 3"))
    assert main([*command, "--resume"]) == 1
    assert capsys.readouterr().err.endswith(
        "error: this run was begun with another recipe: streaming.vision_rounds 4, now 3; "
        "training.learning_rate 0.001, now 0.5; training.steps 2, now 4; --output begins another "
        "one\n"
    )
    assert main([*command, "--resume", "--start", "demo"]) == 1
    assert "start '', now 'demo'" in capsys.readouterr().err
    recipe_path.write_text(begun.replace("log_every: 1", "log_every: 2"))
    assert main([*command, "--resume"]) == 0
    assert (tmp_path / "run" / "model" / "recipe.yaml").read_text() == begun


def test_a_run_is_gone_on_with_in_new_intervals(
    recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe_path.write_text(recipe_path.read_text().replace("steps: 2", "steps: 6"))
    run = tmp_path / "run"

    def change() -> None:
        content = recipe_path.read_text().replace("save_every: 1", "save_every: 3")
        recipe_path.write_text(content.replace("log_every: 1", "log_every: 2"))

    resumed_after_a_crash(recipe_path, run, monkeypatch, change)
    log = (run / "training.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == [1, 2, 4, 6]
    assert {its.name for its in (run / "steps").glob("checkpoint-*")} == {
        "checkpoint-3",
        "checkpoint-6",
    }


def test_a_run_goes_on_from_the_start_that_it_was_begun_with(
    recipe_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given on the command line then, it needs no word now; the recipe's must not have changed."""
    one, other = (train(recipe_path, tmp_path / name) for name in ("one", "other"))
    scratch = recipe_path.read_text()
    run, own = tmp_path / "run", tmp_path / "own"
    given = ["--output", str(run)]
    recipe_path.write_text(f"{scratch}\nstart: {tmp_path / 'gone'}\n")
    assert main([str(recipe_path), *given, "--start", str(one)]) == 0
    shutil.rmtree(run / "model")
    assert main([str(recipe_path), *given, "--resume"]) == 0
    assert json.loads((run / "model" / "start.json").read_text())["start"] == str(one)
    assert main([str(recipe_path), *given, "--resume", "--start", str(other)]) == 1
    assert f"start '{one}', now '{other}'" in capsys.readouterr().err
    recipe_path.write_text(f"{scratch}\nstart: {one}\n")
    train(recipe_path, own)
    recipe_path.write_text(f"{scratch}\nstart: {other}\n")
    with pytest.raises(ConfigError, match=f"start '{one}', now '{other}'"):
        train(recipe_path, own, resume=True)


def test_how_a_run_began_is_kept_before_it_learns(
    recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own finished model may be what it begins with, and a recipe is edited meanwhile."""
    run = tmp_path / "run"
    first = recipe_path.read_text()
    digest = hashlib.sha256((train(recipe_path, run) / "model.safetensors").read_bytes())
    shutil.rmtree(run / "steps")
    second = f"{first}\nname: second\n"
    recipe_path.write_text(second)

    def edit(self: Progress, args: Any, state: Any, control: Any, **_: Any) -> None:
        recipe_path.write_text("name: edited")

    monkeypatch.setattr(Progress, "on_step_begin", edit)
    folder = train(recipe_path, run, start=str(run / "model"))
    noted = json.loads((folder / "start.json").read_text())
    assert noted == {"start": str(run / "model"), "sha256": digest.hexdigest()}
    assert (folder / "recipe.yaml").read_text() == second
    assert (folder / "start" / "recipe.yaml").read_text() == first


def test_nothing_is_made_for_a_recipe_that_cannot_be_run(recipe_path: Path, tmp_path: Path) -> None:
    content = recipe_path.read_text()
    for more in ("start: ./nowhere", "data: {train: [gone.jsonl]}", "after: first\nstart: demo"):
        recipe_path.write_text(f"{content}\n{more}\n")
        assert main([str(recipe_path), "--output", str(tmp_path / "run")]) == 1
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("state", [False, True])
def test_a_full_disk_is_one_clear_line(
    recipe_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    state: bool,
) -> None:
    """A file mustn't grow beyond a few kB here: what is written fails as on a full disk."""
    run = tmp_path / "run"
    command = [str(recipe_path), "--output", str(run)]

    def full(*given: Any, **named: Any) -> Any:
        with small_files():
            return write(*given, **named)

    with monkeypatch.context() as patch:
        if state:
            write = ClipTrainer._save_optimizer_and_scheduler
            patch.setattr(ClipTrainer, "_save_optimizer_and_scheduler", full)
        else:
            write = sft.save
            patch.setattr(sft, "save", full)
        assert main(command) == 1
    told = capsys.readouterr().err
    where = run / "steps" / "checkpoint-1" if state else run / "model"
    assert f"error: can't write {where}: " in told
    assert told.endswith("; with more room, --resume goes on from the last whole state\n")
    assert "Traceback" not in told
    if not state:
        assert main([*command, "--resume"]) == 0
        load_file(run / "model" / "model.safetensors")


@pytest.mark.parametrize("name", ["on_train_begin", "on_log"])
def test_a_log_that_finds_no_room_is_one_clear_line_and_loses_none(
    tmp_path: Path, name: str
) -> None:
    log = tmp_path / "training.jsonl"
    log.write_text('{"step": 1}\n')
    progress, state = Progress(log, lambda: 0), TrainerState(global_step=1, max_steps=2)
    tell, args = getattr(progress, name), TrainingArguments(tmp_path, use_cpu=True)
    with pytest.raises(ModelError, match=f"can't write {log}: "), small_files(0):
        tell(args, state, None, logs={"eval_loss": 1.0})
    assert log.read_text() == '{"step": 1}\n'


def test_a_folder_that_cannot_be_written_is_one_clear_line(
    recipe_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk names no file."""
    file = tmp_path / "file"
    file.write_text("")
    assert main([str(recipe_path), "--output", str(file)]) == 1
    assert capsys.readouterr().err == f"error: {file / 'steps'}: Not a directory\n"
    with small_files(0):
        assert main([str(recipe_path), "--output", str(tmp_path / "run")]) == 1
    told = capsys.readouterr().err
    assert re.fullmatch(rf"error: {tmp_path}/\S+: File too large\n", told), told


def test_what_goes_wrong_while_weights_are_made_is_not_said_to_be_a_full_disk(
    tmp_path: Path,
) -> None:
    with pytest.raises(RuntimeError, match="can't allocate memory"), writing(tmp_path):
        torch.empty(1 << 50)


@pytest.mark.parametrize("write", [save_file, torch.save])
def test_what_each_library_says_of_a_full_disk_is_known(
    tmp_path: Path, write: Callable[[Any, Path], None]
) -> None:
    weights = {"weight": torch.zeros(100_000)}
    with pytest.raises(ModelError, match="with more room"), small_files(), writing(tmp_path):
        write(weights, tmp_path / "weights")


@contextmanager
def small_files(size: int = 20_000) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_two_steps_and_two_more_after_a_crash_equal_four(
    recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    content = recipe_path.read_text().replace("steps: 2", "steps: 4")
    recipe_path.write_text(content.replace("optimizer: muon", f"optimizer: {optimizer}"))
    straight = train(recipe_path, tmp_path / "straight")
    resumed = resumed_after_a_crash(recipe_path, tmp_path / "crashed", monkeypatch)
    expected, weights = (load_file(its / "model.safetensors") for its in (straight, resumed))
    assert expected.keys() == weights.keys()
    assert all(torch.equal(its, weights[name]) for name, its in expected.items())
    assert losses(straight) == losses(resumed)


def test_every_token_of_a_step_weighs_alike_in_whichever_batch_it_is(
    recipe_path: Path, tmp_path: Path
) -> None:
    """Clips of unlike lengths, side by side or one after the other."""
    content = recipe_path.read_text().replace("optimizer: muon", "optimizer: adamw")
    recipe_path.write_text(content)
    beside = train(recipe_path, tmp_path / "beside")
    recipe_path.write_text(content.replace("batch_clips: 2", "batch_clips: 1\n  accumulate: 2"))
    after = train(recipe_path, tmp_path / "after")
    assert losses(beside) == pytest.approx(losses(after), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["trainer_state.json", "model.safetensors", "optimizer.pt", "rng_state.pth"]
)
def test_a_state_that_was_not_written_to_its_end_is_not_gone_on_from(
    recipe_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    run = tmp_path / "run"
    expected = load_file(train(recipe_path, run) / "model.safetensors")
    file = run / "steps" / "checkpoint-2" / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    weights = load_file(train(recipe_path, run, resume=True) / "model.safetensors")
    assert all(torch.equal(its, weights[name]) for name, its in expected.items())
    told = "checkpoint-2 wasn't written to its end: going on from checkpoint-1\n"
    assert told in capsys.readouterr().out


def test_a_process_that_is_alone_has_nothing_to_spread(recipe_path: Path, tmp_path: Path) -> None:
    """Nor does it need DeepSpeed, or mind what the `deepspeed` launcher adds."""
    recipe_path.write_text(recipe_path.read_text().replace("muon", "adamw\n  sharding: zero3"))
    output = str(tmp_path / "run")
    assert main([str(recipe_path), "--output", output, "--local_rank=0"]) == 0


def test_deepspeed_is_asked_for_where_it_is_needed(
    recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe_path.write_text(recipe_path.read_text().replace("muon", "adamw\n  sharding: zero2"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(sharding, "is_deepspeed_available", lambda: False)
    with pytest.raises(ConfigError, match=r"pip install 'streamingvlm_ros\[deepspeed\]'"):
        train(recipe_path, tmp_path / "run")


def test_fsdp_that_accelerate_would_drop_is_refused() -> None:
    dropped = SimpleNamespace(args=SimpleNamespace(fsdp=True), is_fsdp_enabled=False)
    with pytest.raises(ConfigError, match="fsdp needs GPUs"):
        sharding.check_sharded(dropped, TrainConfig(sharding="fsdp"))


def test_processes_share_the_clips_of_the_world(tiny: Recipe, tmp_path: Path) -> None:
    """Each sees as many as one that is alone, and none is seen twice."""
    alone, together = (training_clips(tiny, tmp_path, n) for n in (1, 8))
    count = len(together)  # type: ignore[arg-type]
    batches = BatchSampler(range(count), tiny.training.batch_clips, drop_last=False)
    shares = [[n for batch in BatchSamplerShard(batches, 8, i) for n in batch] for i in range(8)]
    assert {len(share) for share in shares} == {len(alone)}  # type: ignore[arg-type]
    seen = [together[n] for share in shares for n in share]
    assert len({pickle.dumps(its) for its in seen}) == count


def test_a_later_stage_goes_on_from_the_one_before_and_notes_how_all_were_made(
    recipe_path: Path, tmp_path: Path
) -> None:
    first = train(recipe_path, tmp_path / "first")
    second_path = tmp_path / "second.yaml"
    no_step = recipe_path.read_text() + f"\nstart: {first}\n"
    second_path.write_text(no_step.replace("training:", "training:\n  learning_rate: 0.0"))
    second = train(second_path, tmp_path / "second")
    before, after = (load_file(folder / "model.safetensors") for folder in (first, second))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    digest = hashlib.sha256((first / "model.safetensors").read_bytes()).hexdigest()
    assert json.loads((second / "start.json").read_text()) == {
        "start": str(first),
        "sha256": digest,
    }
    assert (second / "start" / "recipe.yaml").read_text() == recipe_path.read_text()
    third_path = tmp_path / "third.yaml"
    third_path.write_text(second_path.read_text().replace(str(first), str(second)))
    third = train(third_path, tmp_path / "third")
    earlier = third / "start"
    assert (earlier / "recipe.yaml").read_text() == second_path.read_text()
    assert (earlier / "start.json").read_text() == (second / "start.json").read_text()
    assert (earlier / "start" / "recipe.yaml").read_text() == recipe_path.read_text()


def test_the_hash_of_a_start_covers_every_one_of_its_files(tmp_path: Path) -> None:
    start, note = tmp_path / "start", tmp_path / "note"
    for folder in (start, note):
        folder.mkdir()
    parts = {"model-00002-of-00002": b"second", "model-00001-of-00002": b"first "}
    for name, content in parts.items():
        (start / f"{name}.safetensors").write_bytes(content)
    note_start(str(start), note, ())
    noted = json.loads((note / "start.json").read_text())
    assert noted["sha256"] == hashlib.sha256(b"first second").hexdigest()
    note_start("some/model", note, ())
    assert json.loads((note / "start.json").read_text()) == {"start": "some/model"}


def test_a_second_stage_without_a_first_says_so(
    recipe_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe_path.write_text(recipe_path.read_text() + "\nstart: ./nowhere\n")
    assert main([str(recipe_path), "--output", str(tmp_path / "run")]) == 1
    assert "no model at ./nowhere" in capsys.readouterr().err


def test_a_start_that_nobody_has_published_is_one_clear_line(
    recipe_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    recipe_path.write_text(recipe_path.read_text() + "\nstart: nobody/nothing\n")
    assert main([str(recipe_path), "--output", str(tmp_path / "run")]) == 1
    assert "error: can't read a model at nobody/nothing" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_learning_a_clip_by_heart_lowers_its_loss(
    tiny: Recipe, tokenizer: PreTrainedTokenizerFast
) -> None:
    torch.manual_seed(0)
    model = new_model(tiny.model, tokenizer)
    clips = WorldClips(2, 0, tiny.clips, tiny.settings)
    batch = collator_for(model, tokenizer, tiny.settings)([clips[0], clips[1]])
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss = model(**batch).loss
        loss.backward()
        losses.append(loss.item())
        optimiser.step()
        optimiser.zero_grad()
    assert losses[2] < losses[0]
    assert losses[-1] < 0.6 * losses[0]


def test_all_chunks_at_once_attend_as_one_by_one(
    tiny: Recipe, tokenizer: PreTrainedTokenizerFast
) -> None:
    register()
    model = new_model(tiny.model, tokenizer)
    clips = WorldClips(2, 0, tiny.clips, tiny.settings)
    batch = collator_for(model, tokenizer, tiny.settings)([clips[0], clips[1]])
    tower = model.model.visual
    seen = []
    for attention in ("sdpa", EQUAL_CHUNKS):
        model.set_attn_implementation({"vision_config": attention, "text_config": "sdpa"})
        assert tower.config._attn_implementation == attention
        with torch.inference_mode():
            out = tower(batch["pixel_values_videos"], grid_thw=batch["video_grid_thw"])
        seen.append(out.pooler_output)
    assert (seen[0] - seen[1]).abs().max() < 1e-4


def test_a_saved_tokenizer_reads_as_the_one_that_was_trained(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    tokenizer.save_pretrained(tmp_path)
    again = ChatFormat(AutoTokenizer.from_pretrained(tmp_path))
    text = "Time=4321.0-4322.0s red circle hits blue star ... Wie geht's? \n\n 你好"
    assert again.encode(text) == ChatFormat(tokenizer).encode(text)
    assert again.decode(again.encode(text)) == text


@pytest.mark.parametrize("text", [" ...", " circle", " leaves", "Time", "assistant", " table"])
def test_words_of_the_world_are_one_token(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert len(ChatFormat(tokenizer).encode(text)) == 1


def test_every_caption_fits_into_a_round(
    tokenizer: PreTrainedTokenizerFast, settings: Settings
) -> None:
    captions = {World(seed).caption(n) for seed in range(30) for n in range(60)}
    longest = max(len(ChatFormat(tokenizer).encode(f" {caption} ...")) for caption in captions)
    assert longest < settings.sampling.max_new_tokens


def test_unseen_worlds_are_never_trained_on(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    class Noting(World):
        def __init__(self, seed: int) -> None:
            seeds.append(seed)
            super().__init__(seed)

    monkeypatch.setattr(world_draws, "World", Noting)
    clips = WorldClips(200, 1, tiny.clips, tiny.settings)
    for index in range(200):
        clips[index]
    assert len(set(seeds)) > 200
    assert max(seeds) < FIRST_UNSEEN_SEED


def test_a_new_run_doesnt_mix_with_an_earlier_one(
    recipe_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(recipe_path), "--output", str(tmp_path / "run")]
    assert main(command) == 0
    assert main(command) == 1
    assert "holds an earlier run" in capsys.readouterr().err


def test_resuming_nothing_says_so(
    recipe_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(recipe_path), "--output", str(tmp_path / "new"), "--resume"]) == 1
    assert "nothing to resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a list", "holds no recipe"),
        ("a: [", "is not YAML"),
        ("speed: 3", "unknown setting 'speed'"),
        ("training: {step: 3}", "training: unknown setting 'step'; did you mean steps\\?"),
        ("training: {steps: many}", "steps must be a whole number"),
        ("training: {steps: 1.5}", "steps must be a whole number"),
        ("training: {steps: 0}", "steps must be a whole number between"),
        ("training: {sharding: zero1}", "sharding must be one of"),
        ("training: {optimizer: muon, sharding: zero2}", "zero2 needs optimizer: adamw"),
        ("start: demo\nlora: {}\ntraining: {sharding: zero3}", "use zero2, or no sharding"),
        ("start: demo\nlora: {}\ntraining: {sharding: fsdp}", "use zero2, or no sharding"),
        ("model: {hidden: 100}", "hidden must be a multiple of 32"),
        ("model: {key_heads: 3}", "key_heads must divide"),
        ("clips: {montage: 2}", "montage must be a number between"),
        ("training: fast", "training must hold names and values"),
        ("streaming: {window: 3}", "unknown setting 'window'"),
        ("streaming: {vision_rounds: 0}", "vision_rounds must be a whole number between"),
        ("streaming: {vision_rounds: many}", "vision_rounds must be a whole number"),
        ("streaming: {vision_rounds: 5.5}", "vision_rounds must be a whole number"),
        ("streaming: {instruction: 3}", "instruction must be text"),
    ],
)
def test_a_recipe_that_cant_be_run_says_why(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_recipe(path)


def test_a_missing_recipe_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "none.yaml")]) == 1
    assert "can't read the recipe" in capsys.readouterr().err


def test_numbers_may_be_written_with_an_exponent(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("training: {learning_rate: 1e-3}\nclips: {montage: 1}")
    recipe = read_recipe(path)
    assert recipe.training.learning_rate == 0.001
    assert recipe.clips.montage == 1.0
