"""Round of a mid-sized random model on a CPU: this engine compared with re-sending the window.

    OMP_NUM_THREADS=1 python perf/engine.py            # rounds 30 to 60: about five minutes
    OMP_NUM_THREADS=1 python perf/engine.py --json

Frames of 224x224 px at 2 per second, 20 generated tokens in every round, full windows of 16 rounds
and 512 + 512 tokens of carried text. Measured in one run, round by round, in CPU time of one
thread:

- one stream;
- re-sending: transformers' own `generate` over the same tokens and frames, encoded again in every
  round, with its KV cache within the round;
- four streams on one engine, narrated together, and four engines with a stream each.

Prints a table in Markdown: median milliseconds of a round, by stage. A stage within another
(patches within vision) counts once.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from true_size import MAX_TOKENS, PREVIOUS_TEXT, SHAPES, Camera, Forced, build

from streamingvlm_ros.config import Settings
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.model import LoadedModel
from streamingvlm_ros.engine.qwen2_5 import vision_encoder
from streamingvlm_ros.engine.qwen2_5.vision import patch_grid
from streamingvlm_ros.engine.stream import Stream
from streamingvlm_ros.types import Chunk

SIDE_PX = 224
STREAMS = 4
SETTINGS = {
    "min_frame_tokens": 1,
    "previous_text": PREVIOUS_TEXT,
    "max_new_tokens": MAX_TOKENS,
    "temperature": 0.0,
    "repetition_penalty": 1.0,
}
RESENDING_TARGET, TOGETHER_TARGET = 1 / 6, 0.9

PATCHES, VISION, EVICTION = "images to patches", "vision tower", "eviction"
PREFILL, DECODE, REST = "prefill", "decode", "rest"
STAGES = (PATCHES, VISION, EVICTION, PREFILL, DECODE, REST)
Milliseconds = Mapping[str, float]
"""Milliseconds of a round, by stage."""


class StageClock:
    """CPU time of a round by stage: time in a wrapped function belongs to its stage."""

    def __init__(self) -> None:
        self._ms: dict[str, float] = defaultdict(float)
        self._open = [REST]
        self._since_s = 0.0

    def wrap(self, owner: Any, name: str, *, stage: str | Callable[..., str]) -> None:
        """Replace a function by a timed one. `stage` may depend on the arguments."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            self._charge()
            self._open.append(stage if isinstance(stage, str) else stage(*arguments, **options))
            try:
                return function(*arguments, **options)
            finally:
                self._charge()
                self._open.pop()

        setattr(owner, name, timed)

    def time(self, call: Callable[[], object]) -> Milliseconds:
        """Call, and return the time of each stage."""
        self._ms.clear()
        self._since_s = time.process_time()
        call()
        self._charge()
        return dict(self._ms)

    def _charge(self) -> None:
        now_s = time.process_time()
        self._ms[self._open[-1]] += (now_s - self._since_s) * 1e3
        self._since_s = now_s


class Narrators:
    """An engine, its streams, and the newest chunks of the first stream."""

    def __init__(self, loaded: LoadedModel, clock: StageClock, *, seeds: Sequence[int]) -> None:
        settings = Settings().updated(SETTINGS)
        self.engine = StreamingEngine(loaded, settings, max_streams=len(seeds))
        self.engine.runner.sampler = Forced(self.engine, lengths=(MAX_TOKENS, MAX_TOKENS))
        self.streams = [self.engine.open_stream() for _ in seeds]
        self._cameras = [Camera((SIDE_PX, SIDE_PX), seed) for seed in seeds]
        self._clock = clock
        self.visible: list[Chunk] = []
        """The chunks that are still in the first stream's context."""
        clock.wrap(self.engine.model, "encode", stage=VISION)
        clock.wrap(self.engine.runner, "prefill", stage=PREFILL)
        clock.wrap(self.engine.runner, "decode", stage=DECODE)
        for stream in self.streams:
            clock.wrap(stream, "_evict", stage=EVICTION)

    def round(self) -> Milliseconds:
        """Narrate the next chunk of every stream."""
        chunks = [camera.chunk() for camera in self._cameras]
        rounds = self.engine.settings.window.vision_rounds
        self.visible = [*self.visible, chunks[0]][-rounds:]
        pairs = list(zip(self.streams, chunks, strict=True))
        return self._clock.time(lambda: self.engine.step(pairs))


class Resending:
    """Sends a stream's whole context to transformers' `generate` in every round."""

    def __init__(self, model: Any, clock: StageClock) -> None:
        self._model, self._clock = model, clock
        clock.wrap(model.model.visual, "forward", stage=VISION)
        clock.wrap(model, "forward", stage=_stage_of_forward)

    def round(self, narrators: Narrators) -> Milliseconds:
        """Generate the first stream's last round again, only from its tokens and frames."""
        stream, pad_id = narrators.streams[0], narrators.engine.model.chat_format.pad_id
        input_ids = torch.tensor([stream.ledger.ids[:-MAX_TOKENS]])
        return self._clock.time(
            lambda: self._generate(stream, narrators.visible, input_ids=input_ids, pad_id=pad_id)
        )

    @torch.inference_mode()
    def _generate(
        self, stream: Stream, visible: Sequence[Chunk], *, input_ids: torch.Tensor, pad_id: int
    ) -> None:
        patches, grids = zip(
            *(
                vision_encoder.to_patches([frame.image for frame in chunk.frames], stream.spec)
                for chunk in visible
            ),
            strict=True,
        )
        grid_seconds = stream.spec.grid_seconds(stream.settings.frames.fps)
        generated = self._model.generate(
            input_ids=input_ids,
            attention_mask=torch.ones_like(input_ids),
            mm_token_type_ids=(input_ids == pad_id) * 2,
            pixel_values_videos=torch.cat(patches),
            video_grid_thw=torch.tensor([patch_grid(grid, stream.spec) for grid in grids]),
            second_per_grid_ts=[grid_seconds] * len(visible),
            do_sample=False,
            min_new_tokens=MAX_TOKENS,
            max_new_tokens=MAX_TOKENS,
        )
        assert generated.shape[1] == input_ids.shape[1] + MAX_TOKENS


def _stage_of_forward(*_: object, input_ids: torch.Tensor, **__: object) -> str:
    return DECODE if input_ids.shape[1] == 1 else PREFILL


def measure(first: int, last: int) -> dict[str, Any]:
    """Measure all variants in turn; figures are of rounds `first` to `last`."""
    clock = StageClock()
    clock.wrap(vision_encoder, "to_patches", stage=PATCHES)
    torch.manual_seed(0)
    loaded = build(SHAPES["mid"], torch.device("cpu"), dtype=torch.float32)
    together = Narrators(loaded, clock, seeds=range(STREAMS))
    alone = [Narrators(loaded, clock, seeds=[seed]) for seed in range(STREAMS)]
    resending, one = Resending(loaded.model, clock), alone[0]
    rounds: dict[str, list[Milliseconds]] = defaultdict(list)
    for number in range(last + 1):
        apart = [narrators.round() for narrators in alone]
        joint = together.round()
        if number >= first:
            rounds["one stream"].append(apart[0])
            rounds["four alone"].append({s: sum(ms.get(s, 0.0) for ms in apart) for s in STAGES})
            rounds["four together"].append(joint)
            rounds["re-sending"].append(resending.round(one))
    medians = {way: _medians(times) for way, times in rounds.items()}
    return {
        "rounds": [first, last],
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "context_tokens": one.streams[0].cached_tokens,
        "tokens_per_round": MAX_TOKENS,
        "cpu_ms": medians,
        "round_over_resending": medians["one stream"]["round"] / medians["re-sending"]["round"],
        "together_over_alone": medians["four together"]["round"] / medians["four alone"]["round"],
    }


def _medians(rounds: Sequence[Milliseconds]) -> dict[str, float]:
    medians = {s: statistics.median(ms.get(s, 0.0) for ms in rounds) for s in STAGES}
    return {**medians, "round": statistics.median(sum(ms.values()) for ms in rounds)}


def table(result: Mapping[str, Any]) -> str:
    """Markdown."""
    ways = result["cpu_ms"]
    lines = [
        f"| CPU ms a round, context {result['context_tokens']} tokens | {' | '.join(ways)} |",
        "| --- " * (1 + len(ways)) + "|",
    ]
    for stage in (*STAGES, "round"):
        cells = [f"{ways[way][stage]:.1f}" if ways[way][stage] else "" for way in ways]
        lines.append(f"| {stage} | {' | '.join(cells)} |")
    tokens = result["tokens_per_round"]
    per_token = [f"{ways[way][DECODE] / tokens:.2f}" for way in ways]
    lines.append(f"| decode, of each of {tokens} tokens | {' | '.join(per_token)} |")
    resending, together = result["round_over_resending"], result["together_over_alone"]
    return "\n".join(
        [
            *lines,
            "",
            f"A round takes 1/{1 / resending:.2f} of re-sending (target: at most 1/"
            f"{1 / RESENDING_TARGET:.0f}).",
            f"Four together take {together:.2f} of four alone (at most {TOGETHER_TARGET} is "
            "wanted).",
        ]
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--first", type=int, default=30)
    parser.add_argument("--last", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not 0 <= arguments.first <= arguments.last:
        parser.error("--first must not be negative, nor above --last")
    torch.set_num_threads(1)
    result = measure(arguments.first, arguments.last)
    print(json.dumps(result) if arguments.json else table(result))


if __name__ == "__main__":
    main()
