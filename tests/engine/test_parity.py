"""Parity with the published inference code: recorded logits and cache layout of 40 rounds."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.sampler import RowSampler
from streamingvlm_ros.types import NS_PER_S, Chunk, Frame

from .conftest import CHECKPOINT


class Forced(RowSampler):
    """Chooses given tokens and records the logits."""

    answer: Sequence[int]
    logits: list[Tensor]

    def choose(self, logits: Tensor, rows: slice) -> Tensor:
        self.logits.append(logits[0].clone())
        return torch.tensor([self.answer[len(self.logits) - 1]])


def test_forty_rounds_give_the_recorded_logits_and_context(
    make_engine: Callable[..., StreamingEngine],
) -> None:
    case = json.loads((CHECKPOINT.parent / "case.json").read_text())
    truth = np.load(CHECKPOINT.parent / "case.npz")
    expected = iter(np.split(truth["logits"], np.cumsum(truth["logits_len"])[:-1]))
    engine = make_engine(
        vision_rounds=case["window"],
        text_rounds=case["text_round"],
        text_sink=case["sink"],
        text_window=case["slide"],
        instruction=case["query"],
        max_new_tokens=20,
    )
    stream = engine.open_stream()
    forced = Forced(engine.runner.rows, engine.model.decoder.vocabulary, device=engine.device)
    engine.runner.sampler = forced

    for round, (frames, answer) in enumerate(zip(truth["frames"], case["forced"], strict=True)):
        forced.answer, forced.logits = answer, []
        start = round * NS_PER_S
        pictures = tuple(Frame(f, start + i * NS_PER_S // 2) for i, f in enumerate(frames))
        narration = stream.step(Chunk(pictures, start, start + NS_PER_S))

        got = torch.stack(forced.logits).numpy()
        assert np.abs(got - next(expected)).max() < 1e-3, f"logits of round {round}"
        assert stream.context_ids == case["context_ids"][round], f"context of round {round}"
        assert narration.text == case["texts"][round]
    assert round == 39
