"""The 7B shapes with random weights on a GPU: kernels, the decode step, vision, long streams.

Needs only torch and transformers, so it can be copied to any GPU box with this checkout:

    python perf/true_size.py                  # everything, bfloat16 on CUDA
    python perf/true_size.py --shape tiny     # the same on a CPU, to try the script itself
    python perf/true_size.py --streams 1 --no-eager --only streams

Prints a JSON line for each part, with the card's name. A part that fails is reported with its
error, and the others go on: each is a process of its own.

- versions: torch, CUDA and everything else that decides which kernels run;
- attention: each backend against masked attention in float32, and its time; what the first call at
  a new length costs, with cuDNN and without;
- graph: the captured and replayed decode step gives the same tokens as the eager one;
- vision: transformers' loop over windows against one attention call per layer;
- streams: 1, 4 and 8 streams, with the CUDA graph and without, far past full windows; rounds have 1
  to 20 tokens each (seeded). Time of a round and of a token, memory when the windows are full and
  at the end, and time to the first token of an answer, when nothing else runs (idle) and for
  questions that arrive at random moments of back-to-back rounds (narrating: harder than with a
  camera, which leaves pauses).

Exits with 1 if a part failed, tokens differ, a logit is not finite or memory grew.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from torch import Tensor  # noqa: E402
from transformers import AutoTokenizer, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration  # noqa: E402

from streamingvlm_ros.config import SamplingConfig, Settings  # noqa: E402
from streamingvlm_ros.engine import attention  # noqa: E402
from streamingvlm_ros.engine.cuda_graph import CudaGraph  # noqa: E402
from streamingvlm_ros.engine.engine import StreamingEngine  # noqa: E402
from streamingvlm_ros.engine.memory import release_memory  # noqa: E402
from streamingvlm_ros.engine.model import LoadedModel, attention_backend  # noqa: E402
from streamingvlm_ros.engine.qwen2_5.model import Model  # noqa: E402
from streamingvlm_ros.engine.qwen2_5.vision import patch_grid, to_patches  # noqa: E402
from streamingvlm_ros.engine.sampler import RowSampler  # noqa: E402
from streamingvlm_ros.errors import ConfigError, StreamingVLMError  # noqa: E402
from streamingvlm_ros.types import (  # noqa: E402
    NS_PER_S,
    Answer,
    Ask,
    Chunk,
    ChunkPart,
    Frame,
    Question,
)

TOKENIZER = ROOT / "tests" / "data" / "parity" / "checkpoint"
PREVIOUS_TEXT = "the robot drives past a red door. " * 300
"""Longer than the carried text, so that the text window is full from the first round on."""
PLAIN_IDS = slice(100, 300)
"""Ids of ordinary text."""
MAX_TOKENS = 20
PART_TIMEOUT_S = 1200.0
PARTS = ("versions", "attention", "graph", "vision", "streams")

# Qwen2.5-VL-7B-Instruct's published config.json.
SHAPES: dict[str, dict[str, Any]] = {
    "7b": {
        "text": {
            "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
            "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064,
            "max_position_embeddings": 128000, "rms_norm_eps": 1e-6,
            "rope_parameters": {
                "rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24],
            },
        },
        "vision": {
            "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16,
            "out_hidden_size": 3584, "fullatt_block_indexes": [7, 15, 23, 31],
            "window_size": 112, "tokens_per_second": 2,
        },
    },
    "mid": {
        "text": {
            "hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8,
            "num_attention_heads": 8, "num_key_value_heads": 2, "vocab_size": 1000,
            "rope_parameters": {
                "rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12],
            },
        },
        "vision": {
            "depth": 4, "hidden_size": 256, "intermediate_size": 688, "num_heads": 4,
            "out_hidden_size": 512, "fullatt_block_indexes": [3], "window_size": 112,
            "tokens_per_second": 2,
        },
    },
    "tiny": {
        "text": {
            "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1000,
            "rope_parameters": {
                "rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3],
            },
        },
        "vision": {
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2,
            "out_hidden_size": 64, "fullatt_block_indexes": [1], "window_size": 112,
            "tokens_per_second": 2,
        },
    },
}  # fmt: skip


class Forced(RowSampler):
    """Runs the real sampler for its cost, but emits plain tokens and stops at a given length.

    A row's turns have `lengths` (minimum, maximum) tokens, drawn from the row's own seed. All else
    is on the device, so that a CUDA graph can capture it.
    """

    def __init__(self, engine: StreamingEngine, *, lengths: tuple[int, int]) -> None:
        rows, decoder = engine.runner.rows, engine.model.decoder
        super().__init__(rows, decoder.vocabulary, device=decoder.device)
        self._stop_id = engine.model.chat_format.end_id
        self._lengths = lengths
        self._drawn = [np.random.default_rng(row) for row in range(rows)]
        self._left = torch.zeros(rows, dtype=torch.long, device=decoder.device)
        self.finite = torch.ones((), dtype=torch.bool, device=decoder.device)
        """False once a logit was not finite."""

    def open(self, row: int, config: SamplingConfig, *, context: Iterable[int], seed: int) -> None:
        """Start a turn in a row."""
        super().open(row, config, context=context, seed=seed)
        self._left[row] = int(self._drawn[row].integers(*self._lengths, endpoint=True))

    def choose(self, logits: Tensor, rows: slice) -> Tensor:
        """Return the likeliest plain ids, or the end token's."""
        super().choose(logits, rows)
        self.finite.logical_and_(logits.isfinite().all())
        token = logits[:, PLAIN_IDS].argmax(-1) + PLAIN_IDS.start
        token = token.masked_fill(self._left[rows] <= 0, self._stop_id)
        self._left[rows] -= 1
        return token


class NoGraph(CudaGraph):
    """Runs a step eagerly."""

    def run(self, key: Hashable, step: Callable[[], None]) -> None:
        """Run `step`."""
        step()


def build(shape: dict[str, Any], device: torch.device, *, dtype: torch.dtype) -> LoadedModel:
    """Make random weights of these shapes directly on the device."""
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    pad = tokenizer.convert_tokens_to_ids("<|video_pad|>")
    config = Qwen2_5_VLConfig(
        text_config=shape["text"], vision_config=shape["vision"], video_token_id=pad
    )
    config._attn_implementation = attention_backend(device, dtype)
    torch.set_default_dtype(dtype)
    with torch.device(device):
        model = Qwen2_5_VLForConditionalGeneration(config)
    torch.set_default_dtype(torch.float32)
    return LoadedModel(model.to(device).eval(), tokenizer)


class Machine:
    """The device that everything runs on."""

    def __init__(self) -> None:
        self.cuda = torch.cuda.is_available()
        self.device = torch.device("cuda" if self.cuda else "cpu")
        self.dtype = torch.bfloat16 if self.cuda else torch.float32

    @property
    def card(self) -> str:
        """Its name."""
        return torch.cuda.get_device_name() if self.cuda else platform.processor() or "cpu"

    def now_s(self) -> float:
        """Return the clock's time after all launched work is done."""
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    def time_s(self, call: Callable[[], object], repeats: int) -> float:
        """Return the mean seconds of repeated calls, after a warm-up."""
        for _ in range(min(repeats, 5)):
            call()
        begin_s = self.now_s()
        for _ in range(repeats):
            call()
        return (self.now_s() - begin_s) / repeats

    def memory_bytes(self) -> int:
        """Return the memory in use: allocated on the GPU, resident on a CPU."""
        if self.cuda:
            return torch.cuda.memory_allocated()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * 4096


class Camera:
    """Noise at two frames per second."""

    def __init__(self, size: tuple[int, int], seed: int = 0) -> None:
        self._frames = np.random.default_rng(seed).integers(0, 256, (8, *size, 3), dtype=np.uint8)
        self._second = 0

    def chunk(self) -> Chunk:
        """Return the next second."""
        second, self._second = self._second, self._second + 1
        stamps = (second * NS_PER_S, second * NS_PER_S + NS_PER_S // 2)
        frames = tuple(Frame(self._frames[(second + i) % 8], t) for i, t in enumerate(stamps))
        return Chunk(frames, stamps[0], stamps[0] + NS_PER_S)


class Narrator:
    """Streams of one engine that are narrated together, with cameras of one size."""

    def __init__(
        self, loaded: LoadedModel, arguments: argparse.Namespace, *, streams: int, eager: bool
    ) -> None:
        tiny = {"max_frame_tokens": 100, "text_window": 64} if arguments.shape == "tiny" else {}
        settings = Settings().updated({"previous_text": PREVIOUS_TEXT, **tiny})
        self.engine = StreamingEngine(loaded, settings, max_streams=streams, on_device=True)
        self.engine.runner.sampler = self.sampler = Forced(self.engine, lengths=(1, MAX_TOKENS))
        if eager:
            self.engine.runner._graph = NoGraph(self.engine.device)
        self.streams = [self.engine.open_stream() for _ in range(streams)]
        size = arguments.height, arguments.width
        self._cameras = [Camera(size, seed) for seed in range(streams)]

    @property
    def full_after(self) -> int:
        """Return the number of rounds until the windows are full."""
        window = self.engine.settings.window
        return max(window.vision_rounds, window.text_rounds) + 1

    def see(self) -> None:
        """Begin a round of all streams."""
        pairs = zip(self.streams, self._cameras, strict=True)
        self.engine.see([(stream, ChunkPart.whole(camera.chunk())) for stream, camera in pairs])

    def narrate(self, before: Callable[[], None] = lambda: None) -> list[float]:
        """Complete the round; return seconds per pass. `before` is called before each pass."""
        seconds: list[float] = []
        while not all(stream.ready for stream in self.streams):
            before()
            begin_s = time.perf_counter()
            self.engine.advance()
            seconds.append(time.perf_counter() - begin_s)
        self.engine.take_rounds()
        return seconds


class Asker:
    """Asks streams in turn, and measures the time from a question's arrival to its first token."""

    QUESTION = Question("What is on the table, and where is it?", max_tokens=8)

    def __init__(self, narrator: Narrator) -> None:
        self._narrator = narrator
        self._random = np.random.default_rng(0)
        self._next_s = 0.0
        self._asked = 0
        self.first_ms: list[float] = []
        self.answers: list[str] = []

    def ask(self, arrived_s: float) -> None:
        """Ask a question that arrived at that time."""
        streams = self._narrator.streams
        first: list[float] = []

        def on_token(piece: str) -> bool:
            if not first:
                first.append(time.perf_counter())
                self.first_ms.append((first[0] - arrived_s) * 1e3)
            return True

        stream = streams[self._asked % len(streams)]
        self._asked += 1
        self._narrator.engine.ask(stream, Ask(self.QUESTION, self._on_done, on_token))

    def _on_done(self, outcome: Answer | StreamingVLMError) -> None:
        if isinstance(outcome, StreamingVLMError):
            raise outcome
        self.answers.append(outcome.text)

    def ask_if_due(self) -> None:
        """Ask if a question has arrived by now; the next one arrives within a second."""
        if self._next_s <= time.perf_counter():
            self.ask(self._next_s)
            self._next_s = time.perf_counter() + self._random.random()

    def percentiles(self, name: str) -> dict[str, float]:
        """Return percentiles without the first question, which only warms up."""
        return {
            f"first_token_{name}_p{part}_ms": round(
                float(np.percentile(self.first_ms[1:], part)), 2
            )
            for part in (50, 95)
        }


def ask(narrator: Narrator, count: int) -> dict[str, float]:
    """Measure the time to the first token of `count` questions each, idle and narrating."""
    idle, narrating = Asker(narrator), Asker(narrator)
    for _ in range(count + 1):
        idle.ask(time.perf_counter())
        while narrator.engine.busy:
            narrator.engine.advance()
    while len(narrating.first_ms) <= count:
        narrator.see()
        narrator.narrate(narrating.ask_if_due)
    while narrator.engine.busy:
        narrator.engine.advance()
    return idle.percentiles("idle") | narrating.percentiles("narrating")


# --- the parts ---


def versions(machine: Machine, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the properties that decide which kernels run."""
    chosen = attention.choose_backend("auto", machine.device, dtype=machine.dtype)
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "capability": torch.cuda.get_device_capability() if machine.cuda else None,
        "flash_attn": importlib.util.find_spec("flash_attn") is not None,
        "flash_attn_3": importlib.util.find_spec(attention.FLASH_3) is not None,
        "attention": chosen,
    }


def attention_backends(machine: Machine, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure a decode row over 8 k keys, and a round's prefill onto 27 k."""
    text = SHAPES[arguments.shape]["text"]
    heads, key_heads = text["num_attention_heads"], text["num_key_value_heads"]
    head_dim = text["hidden_size"] // heads
    tiny = arguments.shape == "tiny"
    result: dict[str, Any] = {}
    for tokens, keys in ((1, 512), (64, 1024)) if tiny else ((1, 8192), (1590, 27000)):
        random = torch.Generator(machine.device).manual_seed(0)

        def noise(*size: int, generator: torch.Generator = random) -> Tensor:
            drawn = torch.randn(*size, generator=generator, device=machine.device)
            return drawn.to(machine.dtype)

        inputs = (
            noise(tokens, heads, head_dim),
            noise(key_heads, keys, head_dim),
            noise(key_heads, keys, head_dim),
        )
        result[f"{tokens} x {keys}"] = over_backends(machine, inputs)
    result["first_call_at_a_new_length"] = first_calls(machine, inputs)
    return result


def over_backends(machine: Machine, inputs: tuple[Tensor, Tensor, Tensor]) -> dict[str, Any]:
    """Return each backend's time, and its largest difference from masked attention in float32."""
    truth = _attend("masked", inputs)(*(part.float() for part in inputs))
    result: dict[str, Any] = {}
    for name in ("masked", "varlen", "flash"):
        try:
            attention.activate(attention.choose_backend(name, machine.device, dtype=machine.dtype))
        except ConfigError as error:
            result[name] = {"missing": str(error)}
            continue
        attend = _attend(name, inputs)
        result[name] = {
            "us": round(machine.time_s(partial(attend, *inputs), 50) * 1e6, 1),
            "difference": float((attend(*inputs).float() - truth).abs().max()),
        }
    return result


def _attend(
    backend: str, inputs: tuple[Tensor, Tensor, Tensor], *, fewer: int = 0
) -> attention.Attend:
    """Return attention of the queries as the last tokens of the keys, as the runner calls it."""
    tokens, slots, device = len(inputs[0]), inputs[1].shape[1], inputs[0].device
    if tokens > 1:
        return attention.over_spans(
            backend, [attention.Span(tokens, (0, slots - fewer))], device=device
        )
    zero = torch.zeros(1, dtype=torch.long, device=device)
    rows = attention.RowSpans(zero, zero + slots - fewer, zero, zero)
    return attention.over_rows(backend, rows, longest=slots)


def first_calls(machine: Machine, inputs: tuple[Tensor, Tensor, Tensor]) -> dict[str, float]:
    """Return median milliseconds of masked attention at lengths that are new to it.

    On some cards, cuDNN builds a new plan for each.
    """
    result = {}
    for name, cudnn in (("with_cudnn_ms", True), ("without_cudnn_ms", False)):
        torch.backends.cuda.enable_cudnn_sdp(cudnn)
        seconds = []
        for fewer in range(1, 11):
            begin_s = machine.now_s()
            _attend("masked", inputs, fewer=fewer)(*inputs)
            seconds.append(machine.now_s() - begin_s)
        result[name] = round(float(np.median(seconds)) * 1e3, 3)
    return result


def graph(machine: Machine, arguments: argparse.Namespace) -> dict[str, Any]:
    """Compare all text of two streams, one of which is asked, with the graph and without."""
    loaded = build(SHAPES[arguments.shape], machine.device, dtype=machine.dtype)
    outputs: dict[bool, list[Any]] = {}
    captured = 0
    for eager in (False, True):
        narrator = Narrator(loaded, arguments, streams=2, eager=eager)
        asker = Asker(narrator)
        outputs[eager] = [asker.answers]
        for number in range(24):
            narrator.see()
            if number % 4 == 1:
                asker.ask(time.perf_counter())
            narrator.narrate()
            outputs[eager].append([stream.context_ids for stream in narrator.streams])
        captured = max(captured, len(narrator.engine.runner._graph._graphs))
        del narrator, asker
        release_memory()
    equal = outputs[True] == outputs[False]
    return {"captured": captured, "equal": equal, "failed": not equal}


def vision(machine: Machine, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure a second at 2 and at 8 frames per second."""
    loaded = build(SHAPES[arguments.shape], machine.device, dtype=machine.dtype)
    settings = Settings()
    model, tower = Model(loaded, settings.model), loaded.model.model.visual
    tower.config._attn_implementation = "sdpa"
    spec, random = model.frame_spec(settings.model), np.random.default_rng(0)
    result: dict[str, Any] = {}
    for count in (2, 8):
        size = (arguments.height, arguments.width, 3)
        images = [random.integers(0, 256, size, np.uint8) for _ in range(count)]

        def looped(images: Sequence[Any] = images) -> Tensor:
            patches, grid = to_patches(images, spec, device=machine.device)
            shape = torch.tensor([patch_grid(grid, spec)], device=machine.device)
            tokens: Tensor = tower(patches.to(machine.dtype), grid_thw=shape).pooler_output
            return tokens

        def ours(images: Sequence[Any] = images) -> Tensor:
            return model.vision_encoder.encode([images], spec)[0][0]

        with torch.inference_mode():
            result[f"{count} frames"] = {
                "loop_ms": round(machine.time_s(looped, 10) * 1e3, 2),
                "one_call_ms": round(machine.time_s(ours, 10) * 1e3, 2),
                "difference": float((ours().float() - looped().float()).abs().max()),
                "largest": float(looped().float().abs().max()),
            }
    return result


def streams(machine: Machine, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure rounds past full windows, and questions."""
    loaded = build(SHAPES[arguments.shape], machine.device, dtype=machine.dtype)
    narrator = Narrator(
        loaded, arguments, streams=arguments.streams[0], eager=bool(arguments.eager)
    )
    full = narrator.full_after
    see_s: list[float] = []
    round_s: list[float] = []
    token_s: list[float] = []
    for index in range(full + arguments.rounds):
        begin_s = machine.now_s()
        narrator.see()
        seen_s = machine.now_s()
        pass_s = narrator.narrate()
        end_s = machine.now_s()
        if index == full:
            at_full = machine.memory_bytes()
        if index >= full:
            see_s.append(seen_s - begin_s)
            round_s.append(end_s - begin_s)
            token_s += pass_s
        if index % 50 == 0:
            print(f"round {index} of {full + arguments.rounds}", file=sys.stderr)
    at_end, finite = machine.memory_bytes(), bool(narrator.sampler.finite)
    grew = at_end > at_full * 1.01 + 5e6
    return {
        "streams": arguments.streams[0],
        "graph": not arguments.eager,
        "frame": [arguments.height, arguments.width],
        "attention": narrator.engine.model.attention,
        "rounds_past_full_windows": arguments.rounds,
        "cached_tokens": narrator.streams[0].cached_tokens,
        "cache_gb": round(narrator.engine.cache_bytes / 1e9, 3),
        "finite": finite,
        **percentiles_ms("round", round_s),
        **percentiles_ms("frames", see_s),
        **percentiles_ms("token", token_s),
        "memory_at_full_gb": round(at_full / 1e9, 3),
        "memory_at_end_gb": round(at_end / 1e9, 3),
        **ask(narrator, arguments.questions),
        "failed": grew or not finite,
    }


def percentiles_ms(name: str, seconds: list[float]) -> dict[str, float]:
    """Return median and 95th percentile."""
    return {
        f"{name}_p{part}_ms": round(float(np.percentile(seconds, part)) * 1e3, 2)
        for part in (50, 95)
    }


MEASURES: dict[str, Callable[[Machine, argparse.Namespace], dict[str, Any]]] = {
    "versions": versions,
    "attention": attention_backends,
    "graph": graph,
    "vision": vision,
    "streams": streams,
}


# --- one process per part ---


def measure(part: str, arguments: argparse.Namespace) -> int:
    """Run a part in this process and print its line; return 1 if it failed."""
    machine = Machine()
    line = {"part": part, "card": machine.card, "shape": arguments.shape}
    line["dtype"] = str(machine.dtype)
    try:
        line |= MEASURES[part](machine, arguments)
    except Exception as error:
        traceback.print_exc()
        line |= {"error": f"{type(error).__name__}: {error}", "failed": True}
    failed = bool(line.pop("failed", False))
    print(json.dumps(line), flush=True)
    return int(failed)


def run_part(*words: str) -> int:
    """Run a part in a process of its own. If that is killed, its line is printed here."""
    command = [sys.executable, __file__, *sys.argv[1:], *words]
    try:
        code = subprocess.run(command, check=False, timeout=PART_TIMEOUT_S).returncode
    except subprocess.TimeoutExpired:
        code, error = -1, f"it took more than {PART_TIMEOUT_S:.0f} s"
    else:
        error = f"the process ended with {code}"
    if code not in (0, 1):
        print(json.dumps({"part": " ".join(words), "error": error}), flush=True)
    return code


def main() -> int:
    """Run all parts, each in a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=("7b", "tiny"), default="7b")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument(
        "--eager",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also without the graph",
    )
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        return measure(arguments.part, arguments)
    codes = []
    for part in arguments.only:
        if part != "streams":
            codes.append(run_part("--part", part))
            continue
        for count in arguments.streams:
            for mode in ["--no-eager", "--eager"][: 1 + arguments.eager]:
                codes.append(run_part("--part", part, "--streams", str(count), mode))
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
