"""The 7B shapes with random weights, streamed far past full windows, and asked.

Needs only torch and transformers, so it can be copied to any GPU box with this checkout:

    python benchmarks/true_size.py                  # bfloat16 on CUDA, 300 rounds past the windows
    python benchmarks/true_size.py --shape tiny     # the same on a CPU, to try the script itself

Prints one JSON line: time of a round and of a token, memory at the moment that the windows are
full and at the end, and time to the first token of an answer, when nothing else is done (idle) and
for questions that arrive at random moments of rounds that follow each other without a rest
(narrating: harder than with a camera, which leaves rests). Exits with 1 if a logit is not finite
or memory grew.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from transformers import AutoTokenizer, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration  # noqa: E402

from streamingvlm_ros.config import SamplingConfig, Settings  # noqa: E402
from streamingvlm_ros.engine.engine import StreamingEngine  # noqa: E402
from streamingvlm_ros.engine.qwen2_5.checkpoint import LoadedModel, attention_backend  # noqa: E402
from streamingvlm_ros.engine.sampler import RowSampler as Sampler  # noqa: E402
from streamingvlm_ros.engine.stream import Stream  # noqa: E402
from streamingvlm_ros.types import NS_PER_S, Ask, Chunk, Frame, Question  # noqa: E402

TOKENIZER = ROOT / "tests" / "data" / "parity" / "checkpoint"

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


class Watching(Sampler):
    """Never stops before the cap, so that every round has equally many tokens; checks logits."""

    def __init__(self, sampler: Sampler) -> None:
        self.random = sampler.random
        self.finite = torch.ones((), dtype=torch.bool, device=sampler.random.device)
        self.times: list[float] = []

    def begin(self, context: object) -> None:
        """The context does not matter here."""

    def choose(self, logits: torch.Tensor, config: SamplingConfig) -> torch.Tensor:
        """The likeliest id among the plain ones."""
        self.finite &= logits.isfinite().all()
        token = logits[100:300].argmax(keepdim=True) + 100
        token.item()
        self.times.append(time.perf_counter())
        return token


def build(shape: dict[str, Any], device: torch.device, dtype: torch.dtype) -> LoadedModel:
    """Random weights of these shapes, made where they will stay."""
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


def memory_bytes(device: torch.device) -> int:
    """Memory in use: allocated on the GPU, resident on a CPU."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


class Camera:
    """Noise at two frames per second."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._frames = np.random.default_rng(0).integers(0, 256, (8, *size, 3), dtype=np.uint8)
        self._second = 0

    def chunk(self) -> Chunk:
        """The next second."""
        second, self._second = self._second, self._second + 1
        stamps = (second * NS_PER_S, second * NS_PER_S + NS_PER_S // 2)
        frames = tuple(Frame(self._frames[(second + i) % 8], t) for i, t in enumerate(stamps))
        return Chunk(frames, stamps[0], stamps[0] + NS_PER_S)


class Asker:
    """Asks a stream, and notes how long each first token took from the question's arrival."""

    QUESTION = Question("What is on the table, and where is it?", max_tokens=8)

    def __init__(self, live: Stream) -> None:
        self._live = live
        self._random = np.random.default_rng(0)
        self._next_s = 0.0
        self.first_ms: list[float] = []

    def ask(self, arrived_s: float) -> None:
        """Ask what arrived at a time of the clock, and hear the answer to its end."""
        called_s: list[float] = []

        def heard(piece: str) -> bool:
            called_s.append(time.perf_counter())
            return True

        self._live.answer(deque([Ask(self.QUESTION, lambda outcome: None, heard)]))
        # The first call asks whether the question still stands; then one comes with every token.
        self.first_ms.append((called_s[1] - arrived_s) * 1e3)

    def pause(self) -> None:
        """Ask, if a question arrived meanwhile; the next one comes within a second from now."""
        if self._next_s <= time.perf_counter():
            self.ask(self._next_s)
            self._next_s = time.perf_counter() + self._random.random()


def asked(engine: StreamingEngine, live: Stream, camera: Camera, count: int) -> dict[str, Any]:
    """Time to the first token of `count` questions each, idle and while it narrates.

    The first question of each only warms up: when it arrived means nothing.
    """
    idle, narrating = Asker(live), Asker(live)
    for _ in range(count + 1):
        idle.ask(time.perf_counter())
    while len(narrating.first_ms) <= count:
        live.step(camera.chunk(), narrating.pause)
    return {
        f"first_token_{name}_p{part}_ms": round(float(np.percentile(asker.first_ms[1:], part)), 2)
        for name, asker in (("idle", idle), ("narrating", narrating))
        for part in (50, 95)
    }


def stream(engine: StreamingEngine, rounds: int, camera: Camera, live: Stream) -> dict[str, Any]:
    """Step through `rounds` rounds past full windows and measure."""
    device = engine.decoder.device
    live.sampler = watching = Watching(live.sampler)
    window = engine.settings.window
    full = max(window.vision_rounds, window.text_rounds)
    full += -(-(window.text_sink + window.text_window) // engine.settings.sampling.max_new_tokens)
    round_s: list[float] = []
    token_s: list[float] = []
    for index in range(full + rounds):
        chunk = camera.chunk()
        watching.times.clear()
        begin = time.perf_counter()
        live.step(chunk)
        if device.type == "cuda":
            torch.cuda.synchronize()
        if index == full:
            at_full = memory_bytes(device)
        if index > full:
            round_s.append(time.perf_counter() - begin)
            token_s += np.diff(watching.times).tolist()
        if index % 50 == 0:
            print(f"round {index} of {full + rounds}", file=sys.stderr)
    return {
        "rounds_past_full_windows": rounds,
        "cached_tokens": live.cached_tokens,
        "cache_gb": round(live.cache_bytes / 1e9, 3),
        "finite": bool(watching.finite),
        "round_p50_ms": round(statistics.median(round_s) * 1e3, 2),
        "round_p95_ms": round(float(np.percentile(round_s, 95)) * 1e3, 2),
        "token_p50_ms": round(statistics.median(token_s) * 1e3, 2),
        "memory_at_full_gb": round(at_full / 1e9, 3),
        "memory_at_end_gb": round(memory_bytes(device) / 1e9, 3),
    }


def main() -> int:
    """Run and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="7b")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=640)
    arguments = parser.parse_args()
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    dtype = torch.bfloat16 if cuda else torch.float32
    changes = {} if arguments.shape == "7b" else {"max_frame_tokens": 100, "text_window": 64}
    engine = StreamingEngine(
        build(SHAPES[arguments.shape], device, dtype), Settings().updated(changes)
    )
    camera, live = Camera((arguments.height, arguments.width)), engine.open_stream()
    result = {
        "shape": arguments.shape,
        "device": torch.cuda.get_device_name() if cuda else platform.processor() or "cpu",
        "dtype": str(dtype),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "frame": [arguments.height, arguments.width],
        **stream(engine, arguments.rounds, camera, live),
        **asked(engine, live, camera, arguments.questions),
    }
    print(json.dumps(result))
    grew = result["memory_at_end_gb"] > result["memory_at_full_gb"] * 1.01 + 0.005
    return 1 if grew or not result["finite"] else 0


if __name__ == "__main__":
    sys.exit(main())
