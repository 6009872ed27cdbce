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
from streamingvlm_training.attention import EQUAL_CHUNKS, register_attention
from streamingvlm_training.checkpoints import translate_write_errors
from streamingvlm_training.clip_trainer import ClipTrainer
from streamingvlm_training.data import training_clips
from streamingvlm_training.progress import Progress
from streamingvlm_training.recipe import Recipe, TrainConfig, read_recipe
from streamingvlm_training.sft import main, train
from streamingvlm_training.tiny_model import new_model
from streamingvlm_training.trainer import collator_for
from streamingvlm_training.world_clips import WorldClips

from .runs import ROOT, losses, resumed_after_a_crash


def test_a_run_makes_a_checkpoint_that_streams(trained: Path) -> None:
    folder = trained / "model"
    settings = settings_for(folder)
    assert settings.window.vision_rounds == 4
    stream = StreamingEngine.from_pretrained(folder, settings).open_stream()
    image = World(0).frame(0.5, 56, 56)
    narration = stream.step(Chunk((Frame(image, 0), Frame(image, NS_PER_S // 2)), 0, NS_PER_S))
    assert narration.tokens > 0
    log = [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [1, 2]
    assert (folder / "recipe.yaml").read_text() == (trained / "tiny.yaml").read_text()


def test_a_resumed_run_replaces_log_lines_of_repeated_steps_and_cut_off_lines(
    recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(recipe_path, "steps: 2", new="steps: 4")
    log = tmp_path / "run" / "training.jsonl"

    def add_lines() -> None:
        log.open("a").write('{"step": 3, "loss": 1.0}\n[]\n{"step": 1, "lo')

    resumed_after_a_crash(
        recipe_path, tmp_path / "run", monkeypatch=monkeypatch, before_resuming=add_lines
    )
    lines = (tmp_path / "run" / "model" / "training.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]


def test_a_signal_leaves_a_checkpoint_to_resume_from(
    recipe_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    edit(recipe_path, "save_every: 1", new="save_every: 100")
    edit(recipe_path, "steps: 2", new="steps: 3")
    run = tmp_path / "run"
    command = [str(recipe_path), "--output", str(run)]

    def interrupt(self: Progress, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 1:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "on_step_begin", interrupt)
        assert main(command) == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert capsys.readouterr().out.endswith("stopped at step 2; continue with --resume\n")
    assert not (run / "model").exists()
    assert main([*command, "--resume"]) == 0
    assert losses(run / "model") == losses(train(recipe_path, tmp_path / "straight"))


@pytest.mark.slow
def test_a_process_stopped_twice_and_resumed_has_the_losses_of_an_undisturbed_one(
    recipe_path: Path, tmp_path: Path
) -> None:
    edit(recipe_path, "save_every: 1", new="save_every: 1000")
    edit(recipe_path, "steps: 2", new="steps: 60")
    run = tmp_path / "run"
    program = [sys.executable, "-m", "streamingvlm_training.sft"]
    command = [*program, str(recipe_path), "--output", str(run)]
    stopped_at = []
    for number, resumed in ((signal.SIGINT, []), (signal.SIGTERM, ["--resume"])):
        with subprocess.Popen(
            [*command, *resumed],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout
            output = ""
            while (line := process.stdout.readline()) and not line.startswith("step "):
                output += line
            process.send_signal(number)
            output += process.stdout.read()
        assert process.returncode == 128 + number, output
        assert "Traceback" not in output
        step = re.search(r"^stopped at step (\d+); continue with --resume$", output, re.MULTILINE)
        assert step, output
        stopped_at.append(int(step[1]))
    assert stopped_at[0] < stopped_at[1] < 60
    assert not (run / "model").exists()
    folder = train(recipe_path, run, resume=True)
    assert losses(folder) == losses(train(recipe_path, tmp_path / "straight"))


@pytest.mark.slow
@pytest.mark.parametrize(("phase", "output"), [("training", "goes on\n"), ("loading", "")])
def test_a_second_signal_ends_at_once_and_so_does_one_before_the_first_step(
    phase: str, output: str
) -> None:
    program = """
import signal, sys
from streamingvlm_training.graceful_stop import GracefulStop
stop = GracefulStop()
with stop.handle_signals():
    if "training" in sys.argv:
        stop.on_train_begin(None, None, None)
        signal.raise_signal(signal.SIGTERM)
        print("goes on", flush=True)
    signal.raise_signal(signal.SIGINT)
    print("still running", flush=True)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, phase],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == -signal.SIGINT
    assert ended.stdout == output


def test_a_run_is_not_resumed_with_another_recipe(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied(trained, tmp_path)
    recipe_path = run / "tiny.yaml"
    first = recipe_path.read_text()
    command = [str(recipe_path), "--output", str(run), "--resume"]
    assert (run / "steps" / "begun" / "recipe.yaml").read_text() == first
    edit(recipe_path, "steps: 2", new="steps: 4\n  learning_rate: 0.5")
    edit(recipe_path, "vision_rounds: 4", new="vision_rounds: 3")
    assert main(command) == 1
    assert capsys.readouterr().err.endswith(
        "error: this run started with another recipe: streaming.vision_rounds 4, now 3; "
        "training.learning_rate 0.001, now 0.5; training.steps 2, now 4; undo the change, or "
        "start another run with --output\n"
    )
    assert main([*command, "--start", "demo"]) == 1
    assert "start '', now 'demo'" in capsys.readouterr().err
    recipe_path.write_text(first.replace("log_every: 1", "log_every: 2"))
    assert main(command) == 0
    assert (run / "model" / "recipe.yaml").read_text() == first


def test_a_resumed_run_uses_new_intervals(
    recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(recipe_path, "steps: 2", new="steps: 6")
    run = tmp_path / "run"

    def change() -> None:
        edit(recipe_path, "save_every: 1", new="save_every: 3")
        edit(recipe_path, "log_every: 1", new="log_every: 2")

    resumed_after_a_crash(recipe_path, run, monkeypatch=monkeypatch, before_resuming=change)
    log = (run / "training.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == [1, 2, 4, 6]
    assert {path.name for path in (run / "steps").glob("checkpoint-*")} == {
        "checkpoint-3",
        "checkpoint-6",
    }


def test_a_resumed_run_keeps_its_start(
    trained: Path, recipe_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A start from the command line needn't be repeated; the recipe's must not have changed."""
    one, other = (copied(trained / "model", tmp_path / name) for name in ("one", "other"))
    scratch = recipe_path.read_text()
    run, own = tmp_path / "run", tmp_path / "own"
    command = [str(recipe_path), "--output", str(run)]
    recipe_path.write_text(f"{scratch}\nstart: {tmp_path / 'missing'}\n")
    assert main([*command, "--start", str(one)]) == 0
    shutil.rmtree(run / "model")
    assert main([*command, "--resume"]) == 0
    assert json.loads((run / "model" / "start.json").read_text())["start"] == str(one)
    assert main([*command, "--resume", "--start", str(other)]) == 1
    assert f"start '{one}', now '{other}'" in capsys.readouterr().err
    recipe_path.write_text(f"{scratch}\nstart: {one}\n")
    train(recipe_path, own)
    recipe_path.write_text(f"{scratch}\nstart: {other}\n")
    with pytest.raises(ConfigError, match=f"start '{one}', now '{other}'"):
        train(recipe_path, own, resume=True)


def test_the_manifest_is_written_before_the_first_step(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run may start from its own finished model, and its recipe may be edited meanwhile."""
    run = copied(trained, tmp_path)
    recipe_path = run / "tiny.yaml"
    first = recipe_path.read_text()
    digest = hashlib.sha256((run / "model" / "model.safetensors").read_bytes())
    shutil.rmtree(run / "steps")
    second = f"{first}\nname: second\n"
    recipe_path.write_text(second)

    def edit_recipe(self: Progress, args: Any, state: Any, control: Any, **_: Any) -> None:
        recipe_path.write_text("name: edited")

    monkeypatch.setattr(Progress, "on_step_begin", edit_recipe)
    folder = train(recipe_path, run, start=str(run / "model"))
    start = json.loads((folder / "start.json").read_text())
    assert start == {"start": str(run / "model"), "sha256": digest.hexdigest()}
    assert (folder / "recipe.yaml").read_text() == second
    assert (folder / "provenance" / "1_unnamed" / "recipe.yaml").read_text() == first


def test_a_recipe_that_cannot_run_creates_nothing(recipe_path: Path, tmp_path: Path) -> None:
    content = recipe_path.read_text()
    for more in ("start: ./nowhere", "data: {train: [no.jsonl]}", "after: first\nstart: demo"):
        recipe_path.write_text(f"{content}\n{more}\n")
        assert main([str(recipe_path), "--output", str(tmp_path / "run")]) == 1
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("saves", ["step", "model"])
def test_a_full_disk_is_one_clear_line(
    recipe_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    saves: str,
) -> None:
    """Files are limited to a few kB, so that writing fails as on a full disk."""
    run = tmp_path / "run"
    command = [str(recipe_path), "--output", str(run)]
    owner, name, path = {
        "step": (ClipTrainer, "_save_optimizer_and_scheduler", run / "steps" / "checkpoint-1"),
        "model": (sft, "save_checkpoint", run / "model"),
    }[saves]
    write = getattr(owner, name)

    def write_on_full_disk(*args: Any, **kwargs: Any) -> Any:
        with file_size_limit():
            return write(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, write_on_full_disk)
        assert main(command) == 1
    error = capsys.readouterr().err
    assert f"error: can't write {path}: " in error
    assert error.endswith("then continue from the last complete checkpoint with --resume\n")
    assert "Traceback" not in error
    if saves == "model":
        assert main([*command, "--resume"]) == 0
        load_file(run / "model" / "model.safetensors")


@pytest.mark.parametrize("name", ["on_train_begin", "on_log"])
def test_a_log_on_a_full_disk_is_one_clear_line_and_keeps_its_lines(
    tmp_path: Path, name: str
) -> None:
    log = tmp_path / "training.jsonl"
    log.write_text('{"step": 1}\n')
    progress, state = Progress(log, lambda: 0), TrainerState(global_step=1, max_steps=2)
    callback, args = getattr(progress, name), TrainingArguments(tmp_path, use_cpu=True)
    with pytest.raises(ModelError, match=f"can't write {log}: "), file_size_limit(0):
        callback(args, state, None, logs={"eval_loss": 1.0})
    assert log.read_text() == '{"step": 1}\n'


def test_a_folder_that_cannot_be_written_is_one_clear_line(
    recipe_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error of a full disk has no file name."""
    file = tmp_path / "file"
    file.write_text("")
    assert main([str(recipe_path), "--output", str(file)]) == 1
    assert capsys.readouterr().err == f"error: {file / 'steps'}: Not a directory\n"
    with file_size_limit(0):
        assert main([str(recipe_path), "--output", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert re.fullmatch(rf"error: {tmp_path}/\S+: File too large\n", error), error


def test_a_lack_of_memory_is_not_reported_as_a_full_disk(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="can't allocate memory"),
        translate_write_errors(tmp_path),
    ):
        torch.empty(1 << 50)


@pytest.mark.parametrize("write", [save_file, torch.save])
def test_each_librarys_error_for_a_full_disk_is_translated(
    tmp_path: Path, write: Callable[[Any, Path], None]
) -> None:
    weights = {"weight": torch.zeros(100_000)}
    with (
        pytest.raises(ModelError, match="free some disk space"),
        file_size_limit(),
        translate_write_errors(tmp_path),
    ):
        write(weights, tmp_path / "weights")


@contextmanager
def file_size_limit(size: int = 20_000) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def edit(path: Path, old: str, *, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


def copied(source: Path, parent: Path) -> Path:
    """A copy of a folder that other tests use, too."""
    return Path(shutil.copytree(source, parent / f"copy-of-{source.name}"))


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_two_steps_and_two_more_after_a_crash_equal_four(
    recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    edit(recipe_path, "steps: 2", new="steps: 4")
    edit(recipe_path, "optimizer: muon", new=f"optimizer: {optimizer}")
    straight = train(recipe_path, tmp_path / "straight")
    resumed = resumed_after_a_crash(recipe_path, tmp_path / "crashed", monkeypatch=monkeypatch)
    expected, weights = (load_file(run / "model.safetensors") for run in (straight, resumed))
    assert expected.keys() == weights.keys()
    assert all(torch.equal(weight, weights[name]) for name, weight in expected.items())
    assert losses(straight) == losses(resumed)


def test_every_token_of_a_step_has_equal_weight_in_any_batch(
    recipe_path: Path, tmp_path: Path
) -> None:
    """Clips of different lengths, in one batch or in two that are added up."""
    edit(recipe_path, "optimizer: muon", new="optimizer: adamw")
    one_batch = train(recipe_path, tmp_path / "one")
    edit(recipe_path, "batch_clips: 2", new="batch_clips: 1\n  accumulate: 2")
    two_batches = train(recipe_path, tmp_path / "two")
    assert losses(one_batch) == pytest.approx(losses(two_batches), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["trainer_state.json", "model.safetensors", "optimizer.pt", "rng_state.pth"]
)
def test_an_incomplete_checkpoint_is_not_resumed_from(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    run = copied(trained, tmp_path)
    expected = load_file(run / "model" / "model.safetensors")
    file = run / "steps" / "checkpoint-2" / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    weights = load_file(train(run / "tiny.yaml", run, resume=True) / "model.safetensors")
    assert all(torch.equal(weight, weights[name]) for name, weight in expected.items())
    line = "checkpoint-2 is incomplete: continuing from checkpoint-1\n"
    assert line in capsys.readouterr().out


def test_a_single_process_needs_no_sharding(recipe_path: Path, tmp_path: Path) -> None:
    """It needs no DeepSpeed either, and accepts the `deepspeed` launcher's option."""
    edit(recipe_path, "muon", new="adamw\n  sharding: zero3")
    output = str(tmp_path / "run")
    assert main([str(recipe_path), "--output", output, "--local_rank=0"]) == 0


def test_missing_deepspeed_is_reported_with_the_command_that_installs_it(
    recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(recipe_path, "muon", new="adamw\n  sharding: zero2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(sharding, "is_deepspeed_available", lambda: False)
    with pytest.raises(ConfigError, match=r"pip install 'streamingvlm_ros\[deepspeed\]'"):
        train(recipe_path, tmp_path / "run")


def test_fsdp_that_accelerate_would_drop_is_rejected() -> None:
    dropped = SimpleNamespace(args=SimpleNamespace(fsdp=True), is_fsdp_enabled=False)
    with pytest.raises(ConfigError, match="fsdp needs GPUs"):
        sharding.check_fsdp_enabled(dropped, TrainConfig(sharding="fsdp"))


def test_processes_share_the_clips_of_the_world(tiny: Recipe, tmp_path: Path) -> None:
    """Each trains on as many clips as a single process would, and no two on the same clip."""
    alone, shared = (training_clips(tiny, tmp_path, processes=n) for n in (1, 8))
    count = len(shared)  # type: ignore[arg-type]
    batches = BatchSampler(range(count), tiny.training.batch_clips, drop_last=False)
    shares = [[n for batch in BatchSamplerShard(batches, 8, i) for n in batch] for i in range(8)]
    assert {len(share) for share in shares} == {len(alone)}  # type: ignore[arg-type]
    clips = [shared[n] for share in shares for n in share]
    assert len({pickle.dumps(clip) for clip in clips}) == count


def test_a_stage_starts_from_the_weights_of_the_one_before(
    first: Path, recipe_path: Path, tmp_path: Path
) -> None:
    edit(recipe_path, "training:", new="training:\n  learning_rate: 0.0")
    second = train(recipe_path, tmp_path / "second", start=str(first))
    before, after = (load_file(folder / "model.safetensors") for folder in (first, second))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_missing_start_is_one_clear_line(
    recipe_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe_path.write_text(recipe_path.read_text() + "\nstart: ./nowhere\n")
    assert main([str(recipe_path), "--output", str(tmp_path / "run")]) == 1
    assert "no model at ./nowhere" in capsys.readouterr().err


def test_an_unpublished_start_is_one_clear_line(
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


def test_training_on_the_same_clips_lowers_their_loss(
    tiny: Recipe, tokenizer: PreTrainedTokenizerFast
) -> None:
    torch.manual_seed(0)
    model = new_model(tiny.model, tokenizer)
    clips = WorldClips(2, 0, clips=tiny.clips, settings=tiny.settings)
    batch = collator_for(model, tokenizer, settings=tiny.settings)([clips[0], clips[1]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss = model(**batch).loss
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
        optimizer.zero_grad()
    assert losses[2] < losses[0]
    assert losses[-1] < 0.6 * losses[0]


def test_attending_to_all_chunks_in_one_call_equals_transformers_loop(
    tiny: Recipe, tokenizer: PreTrainedTokenizerFast
) -> None:
    register_attention()
    model = new_model(tiny.model, tokenizer)
    clips = WorldClips(2, 0, clips=tiny.clips, settings=tiny.settings)
    batch = collator_for(model, tokenizer, settings=tiny.settings)([clips[0], clips[1]])
    tower = model.model.visual
    outputs = []
    for attention in ("sdpa", EQUAL_CHUNKS):
        model.set_attn_implementation({"vision_config": attention, "text_config": "sdpa"})
        assert tower.config._attn_implementation == attention
        with torch.inference_mode():
            output = tower(batch["pixel_values_videos"], grid_thw=batch["video_grid_thw"])
        outputs.append(output.pooler_output)
    assert (outputs[0] - outputs[1]).abs().max() < 1e-4


def test_a_saved_tokenizer_encodes_like_the_trained_one(
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
    chat_format = ChatFormat(tokenizer)
    longest = max(len(chat_format.encode(f" {caption} ...")) for caption in captions)
    assert longest < settings.sampling.max_new_tokens


def test_evaluation_worlds_are_never_trained_on(
    tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []

    class RecordingWorld(World):
        def __init__(self, seed: int) -> None:
            seeds.append(seed)
            super().__init__(seed)

    monkeypatch.setattr(world_draws, "World", RecordingWorld)
    clips = WorldClips(200, 1, clips=tiny.clips, settings=tiny.settings)
    for index in range(200):
        clips[index]
    assert len(set(seeds)) > 200
    assert max(seeds) < FIRST_UNSEEN_SEED


def test_a_new_run_does_not_mix_with_an_earlier_one(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(trained / "tiny.yaml"), "--output", str(trained)]) == 1
    assert "holds an earlier run" in capsys.readouterr().err


def test_resuming_nothing_is_one_clear_line(
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
def test_a_wrong_recipe_is_rejected_with_the_reason(
    tmp_path: Path, content: str, message: str
) -> None:
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
