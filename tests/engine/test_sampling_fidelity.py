"""Settings that checkpoint and user leave open get the defaults of transformers' generate."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from streamingvlm_ros.config import ModelConfig, SamplingConfig
from streamingvlm_ros.engine.model import LoadedModel, load
from streamingvlm_ros.engine.sampler import RowSampler
from streamingvlm_ros.errors import ModelError

from .conftest import CHECKPOINT, support

PROMPT = [1, 100, 101, 100, 2]
STEPS = 20

CHECKPOINTS: dict[str, dict[str, Any]] = {
    "neither": {},
    "greedy": {"do_sample": False, "temperature": 1e-6, "repetition_penalty": 1.05},
    "top_k": {"top_k": 7},
    "no_top_k": {"top_k": 0},
    "null": {"top_k": None, "top_p": None},
    "more_than_all": {"top_k": 1_000_000, "top_p": 1.5},
    "top_p": {"top_p": 0.6},
    "top_p_of_0": {"top_p": 0.0},
    "both": {"top_k": 12, "top_p": 0.8},
}
USERS: dict[str, dict[str, Any]] = {
    "checkpoint's": {},
    "all": {"top_k": 0, "top_p": 1.0},
    "all_within_top_p": {"top_k": 0},
    "top_k": {"top_k": 5},
    "top_p": {"top_p": 0.4},
    "both": {"top_k": 9, "top_p": 0.7},
}


@pytest.fixture(scope="module")
def load_with(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], LoadedModel]:
    """Return a loader of the small checkpoint with another generation_config.json; cached."""
    models: dict[str, LoadedModel] = {}

    def load_once(name: str) -> LoadedModel:
        if name not in models:
            folder = write(tmp_path_factory.mktemp(name) / "model", CHECKPOINTS[name])
            models[name] = load(folder, ModelConfig())
        return models[name]

    return load_once


def write(folder: Path, generation: dict[str, Any]) -> Path:
    shutil.copytree(CHECKPOINT, folder)
    (folder / "generation_config.json").write_text(json.dumps({"pad_token_id": 0, **generation}))
    return folder


@contextmanager
def logits_of(model: Any, steps: Tensor) -> Iterator[None]:
    """Make the model's head return these logits, (steps, vocabulary), one after the other."""
    left = iter(steps)
    handle = model.lm_head.register_forward_hook(lambda *_: next(left)[None, None].clone())
    try:
        yield
    finally:
        handle.remove()


def generated(model: Any, **settings: Any) -> Any:
    torch.manual_seed(3)
    return model.generate(
        torch.tensor([PROMPT]),
        max_new_tokens=STEPS,
        return_dict_in_generate=True,
        output_scores=True,
        **settings,
    )


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_samples_the_tokens_that_generate_samples(
    load_with: Callable[[str], LoadedModel], checkpoint: str, user: str
) -> None:
    loaded = load_with(checkpoint)
    vocabulary = loaded.model.lm_head.out_features
    steps = torch.randn(STEPS, vocabulary, generator=torch.Generator().manual_seed(1)) * 2
    always = {"temperature": 0.9, "repetition_penalty": 1.3}
    with logits_of(loaded.model, steps):
        expected = generated(loaded.model, do_sample=True, **always, **USERS[user])

    config = loaded.complete(SamplingConfig(**always, **USERS[user]))
    sampler = RowSampler(1, vocabulary, device=torch.device("cpu"))
    sampler.open(0, config, context=PROMPT, seed=3)
    ids = list(PROMPT)
    for n, logits in enumerate(steps):
        if n in (0, STEPS - 1):
            assert support(config, logits, context=ids).equal(expected.scores[n][0].isfinite())
        sampler.draw([0])
        ids += sampler.choose(logits[None], slice(0, 1)).tolist()
    assert ids == expected.sequences[0].tolist()


@pytest.mark.parametrize("penalty", [1.0, 1.05, 1.5])
@pytest.mark.parametrize("checkpoint", ["neither", "both"])
def test_takes_the_tokens_that_greedy_generate_takes(
    load_with: Callable[[str], LoadedModel], checkpoint: str, penalty: float
) -> None:
    loaded = load_with(checkpoint)
    expected = generated(loaded.model, do_sample=False, repetition_penalty=penalty)
    sampler = RowSampler(1, loaded.model.lm_head.out_features, device=torch.device("cpu"))
    greedy = SamplingConfig(temperature=0.0, repetition_penalty=penalty)
    sampler.open(0, loaded.complete(greedy), context=PROMPT, seed=0)
    ids = list(PROMPT)
    with torch.inference_mode():
        for _ in range(STEPS):
            logits = loaded.model(input_ids=torch.tensor([ids])).logits[:, -1]
            ids += sampler.choose(logits, slice(0, 1)).tolist()
    assert ids == expected.sequences[0].tolist()


@pytest.mark.parametrize("limit", [{"top_k": -1}, {"top_p": -0.5}])
def test_a_checkpoint_with_a_negative_limit_is_refused_as_generate_refuses_it(
    tmp_path: Path, loaded: LoadedModel, limit: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=next(iter(limit))):
        generated(loaded.model, do_sample=True, **limit)
    with pytest.raises(ModelError, match=r"top_k .* top_p .* negative"):
        load(write(tmp_path / "model", limit), ModelConfig())
