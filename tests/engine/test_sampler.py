"""Choosing a token: as transformers' own processors would."""

from __future__ import annotations

import pytest
import torch
from transformers.generation.logits_process import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from streamingvlm_ros.config import SamplingConfig
from streamingvlm_ros.engine.sampler import Sampler

VOCABULARY = 50
CPU = torch.device("cpu")


def logits(seed: int) -> torch.Tensor:
    """Of both signs, since a penalty treats them differently."""
    return torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(seed)) * 3 - 2


@pytest.mark.parametrize("top_k", [0, 1, 7])
@pytest.mark.parametrize("top_p", [1.0, 0.5, 0.05])
def test_chooses_as_transformers_processors_do(top_k: int, top_p: float) -> None:
    config = SamplingConfig(temperature=0.7, top_k=top_k, top_p=top_p, repetition_penalty=1.6)
    reference = LogitsProcessorList(
        [
            RepetitionPenaltyLogitsProcessor(1.6),
            TemperatureLogitsWarper(0.7),
            *([TopKLogitsWarper(top_k)] if top_k else []),
            TopPLogitsWarper(top_p),
        ]
    )
    context = list(range(0, VOCABULARY, 2))
    sampler = Sampler(VOCABULARY, 11, CPU)
    sampler.begin(context)
    random = torch.Generator().manual_seed(11)
    for seed in range(40):
        scores = reference(torch.tensor([context]), logits(seed)[None])
        expected = torch.multinomial(scores.softmax(-1)[0], 1, generator=random)
        assert sampler.choose(logits(seed), config).equal(expected)
        context.append(int(expected))


def test_greedy_takes_the_likeliest_and_a_penalty_moves_it_off_what_was_said() -> None:
    sampler = Sampler(4, 0, CPU)
    sampler.begin([0])
    scores = torch.tensor([2.0, 1.9, 0.1, -1.0])
    greedy = SamplingConfig(temperature=0.0, repetition_penalty=1.0)
    assert sampler.choose(scores, greedy).tolist() == [0]
    sampler.begin([0])
    assert sampler.choose(scores, SamplingConfig(temperature=1e-39)).tolist() in ([0], [1])
    sampler.begin([0])
    penalised = SamplingConfig(temperature=0.0, repetition_penalty=1.1)
    assert sampler.choose(scores, penalised).tolist() == [1]
    assert sampler.choose(scores, penalised).tolist() == [0]


def test_the_same_seed_says_the_same() -> None:
    config = SamplingConfig(temperature=1.0)
    runs = []
    for seed in (5, 5, 6):
        sampler = Sampler(VOCABULARY, seed, CPU)
        sampler.begin([0])
        runs.append([int(sampler.choose(logits(i), config)) for i in range(20)])
    assert runs[0] == runs[1] != runs[2]
