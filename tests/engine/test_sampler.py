"""Choosing a token as transformers' own processors do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers.generation.logits_process import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from streamingvlm_ros.config import SamplingConfig
from streamingvlm_ros.engine.sampler import GREEDY_BELOW, ChoiceKey, RowSampler

from .conftest import support

VOCABULARY = 50
CPU = torch.device("cpu")


def logits(seed: int) -> torch.Tensor:
    """Return logits of both signs, since a penalty treats them differently."""
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
    sampler = RowSampler(1, VOCABULARY, device=CPU)
    sampler.open(0, config, context=context, seed=11)
    random = torch.Generator().manual_seed(11)
    for seed in range(40):
        scores = reference(torch.tensor([context]), logits(seed)[None])
        expected = torch.multinomial(scores.softmax(-1)[0], 1, generator=random)
        assert step(sampler, logits(seed)[None]) == expected.tolist()
        context.append(int(expected))


def test_greedy_takes_the_likeliest_and_a_penalty_avoids_repetition() -> None:
    scores = torch.tensor([2.0, 1.9, 0.1, -1.0])
    plain = complete(temperature=0.0, repetition_penalty=1.0)
    assert choices(plain, [scores], seed=0, context=[0]) == [0]
    steep = complete(temperature=1e-39)
    assert choices(steep, [scores], seed=0, context=[0])[0] in (0, 1)
    penalised = complete(temperature=0.0, repetition_penalty=1.1)
    assert choices(penalised, [scores, scores], seed=0, context=[0]) == [1, 0]


def test_the_same_seed_gives_the_same_tokens() -> None:
    steps = [logits(i) for i in range(20)]
    runs = [choices(complete(), steps, seed=seed, context=[0]) for seed in (5, 5, 6)]
    assert runs[0] == runs[1] != runs[2]


def complete(**changes: Any) -> SamplingConfig:
    """Return complete settings, without limits except those in `changes`."""
    unlimited: dict[str, Any] = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
    return SamplingConfig(**(unlimited | changes))


def tied(scores: torch.Tensor) -> torch.Tensor:
    """Return coarse scores, like those of a model in half precision: many are equal."""
    return scores.mul(2).round().div(2)


def choices(
    config: SamplingConfig, steps: Sequence[torch.Tensor], *, seed: int, context: Iterable[int] = ()
) -> list[int]:
    """Return the choices of a single row, step by step."""
    sampler = RowSampler(1, len(steps[0]), device=CPU)
    sampler.open(0, config, context=context, seed=seed)
    return [step(sampler, scores[None])[0] for scores in steps]


def step(sampler: RowSampler, scores: torch.Tensor) -> list[int]:
    rows = slice(0, len(scores))
    sampler.draw(rows)
    return sampler.choose(scores, rows).tolist()


LIMITS = [
    (top_k, top_p)
    for top_k in (0, 1, 7, VOCABULARY - 1, VOCABULARY, 200_000)
    for top_p in (1.0, 0.95, 0.5, 0.05, 0.0)
]


def processors(config: SamplingConfig) -> LogitsProcessorList:
    return LogitsProcessorList(
        [
            RepetitionPenaltyLogitsProcessor(config.repetition_penalty),
            TemperatureLogitsWarper(config.temperature),
            *([TopKLogitsWarper(config.top_k)] if config.top_k else []),
            *([TopPLogitsWarper(config.top_p)] if config.top_p < 1.0 else []),
        ]
    )


@pytest.mark.parametrize(("top_k", "top_p"), LIMITS)
def test_a_row_chooses_as_transformers_processors_and_multinomial_do(
    top_k: int, top_p: float
) -> None:
    config = complete(temperature=0.7, top_k=top_k, top_p=top_p, repetition_penalty=1.6)
    context = list(range(0, VOCABULARY, 2))
    steps = [logits(seed) for seed in range(40)]
    chosen = choices(config, steps, seed=11, context=context)
    random = torch.Generator().manual_seed(11)
    for scores, id in zip(steps, chosen, strict=True):
        scores = processors(config)(torch.tensor([context]), scores[None])
        assert id == int(torch.multinomial(scores.softmax(-1)[0], 1, generator=random))
        context.append(id)


@pytest.mark.parametrize("top_k", [0, 1, 7, 20, VOCABULARY])
@pytest.mark.parametrize("top_p", [1.0, 0.95, 0.5, 0.05, 0.0])
def test_ids_that_tie_at_a_limit_stay_as_with_transformers_processors(
    top_k: int, top_p: float
) -> None:
    """Transformers' sort leaves open which ids stay of those that tie at the limit of top_p."""
    config = complete(top_k=top_k, top_p=top_p, repetition_penalty=1.0)
    for seed in range(40):
        scores = tied(logits(seed))
        expected = processors(config)(torch.tensor([[0]]), scores[None])[0]
        allowed = scores[support(config, scores)]
        assert allowed.sort().values.equal(expected[expected.isfinite()].sort().values)


def test_of_ids_that_tie_at_the_limit_of_top_p_the_lowest_stay() -> None:
    scores = torch.tensor([1.0, 5.0, 1.0, 5.0, 5.0, 5.0])
    config = complete(top_k=3, top_p=0.3, repetition_penalty=1.0)
    assert support(config, scores).tolist() == [False, True, False, True, False, False]


def test_noise_draws_what_multinomial_draws() -> None:
    for seed in range(300):
        config = complete(temperature=0.8, repetition_penalty=1.0)
        probabilities = (logits(seed) / 0.8).softmax(-1)
        random = torch.Generator().manual_seed(seed)
        expected = int(torch.multinomial(probabilities, 1, generator=random))
        assert choices(config, [logits(seed)], seed=seed) == [expected]


MANY = [
    complete(temperature=0.7, top_k=7, top_p=0.9),
    complete(temperature=0.0, repetition_penalty=1.3),
    complete(temperature=1.5),
    complete(top_k=1),
    complete(top_k=40, repetition_penalty=0.7),
    complete(top_p=0.6, temperature=0.4),
    complete(temperature=1e-5, top_k=3, top_p=0.5),
    complete(top_k=7, top_p=0.0),
    complete(top_k=12, top_p=0.99, repetition_penalty=2.0),
]


@pytest.mark.parametrize("slices", [[slice(0, 9)], [slice(4, 9), slice(0, 1), slice(1, 4)]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_chooses_the_same_whatever_the_other_rows_hold(
    slices: list[slice], dtype: torch.dtype
) -> None:
    together = RowSampler(len(MANY), VOCABULARY, device=CPU)
    for row, config in enumerate(MANY):
        together.open(row, config, context=range(row, VOCABULARY, 3), seed=row)
    steps = [[logits(100 * row + n).to(dtype) for row in range(len(MANY))] for n in range(60)]
    chosen: list[list[int]] = [[] for _ in MANY]
    for scores in steps:
        for rows in slices:
            together.draw(rows)
            ids = together.choose(torch.stack(scores[rows]), rows).tolist()
            for row, id in zip(range(len(MANY))[rows], ids, strict=True):
                chosen[row].append(id)
    for row, config in enumerate(MANY):
        alone = choices(
            config, [rows[row] for rows in steps], seed=row, context=range(row, VOCABULARY, 3)
        )
        assert chosen[row] == alone


def steep(scores: torch.Tensor) -> torch.Tensor:
    """Return scores of which some are too unlikely to change a sum of probabilities."""
    return scores * 8


@pytest.mark.parametrize("shape", [torch.clone, tied, steep])
def test_probabilities_of_a_row_are_the_same_to_the_bit_whatever_the_other_rows_hold(
    monkeypatch: pytest.MonkeyPatch, shape: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    seen: list[torch.Tensor] = []
    softmax = torch.Tensor.softmax

    def listening(scores: torch.Tensor, dim: int) -> torch.Tensor:
        seen.append(softmax(scores, dim))
        return seen[-1]

    monkeypatch.setattr(torch.Tensor, "softmax", listening)
    vocabulary = 1003
    random = torch.Generator().manual_seed(0)
    scores = shape(torch.randn(len(MANY), vocabulary, generator=random) * 3)
    together = RowSampler(len(MANY), vocabulary, device=CPU)
    for row, config in enumerate(MANY):
        together.open(row, config, context=range(9), seed=row)
    step(together, scores)
    (all_rows,) = seen
    for row, config in enumerate(MANY):
        if config.temperature >= GREEDY_BELOW:
            seen.clear()
            choices(config, [scores[row]], seed=row, context=range(9))
            assert seen[0].equal(all_rows[row : row + 1])


def test_a_turn_in_another_row_changes_neither_noise_nor_context() -> None:
    config = complete(temperature=1.0, top_k=20)
    steps = [logits(seed) for seed in range(20)]
    sampler = RowSampler(3, VOCABULARY, device=CPU)
    sampler.open(1, config, context=[3], seed=4)
    chosen = []
    for n, scores in enumerate(steps):
        if n % 3 == 0:
            sampler.open(2, MANY[n % len(MANY)], context=range(n), seed=n)
        if n % 3 == 2:
            sampler.close(2)
        sampler.draw([2, 1])
        chosen.append(sampler.choose(scores.expand(3, -1), slice(0, 3)).tolist()[1])
    assert chosen == choices(config, steps, seed=4, context=[3])


def test_a_slice_of_the_rows_does_not_change_the_others() -> None:
    sampler = RowSampler(3, 4, device=CPU)
    for row in range(3):
        sampler.open(row, complete(temperature=0.0, repetition_penalty=1.2), context=[], seed=0)
    scores = torch.tensor([[2.0, 1.9, 0.1, -1.0]] * 3)
    assert sampler.choose(scores[1:2], slice(1, 2)).tolist() == [0]
    assert sampler.choose(scores, slice(0, 3)).tolist() == [0, 1, 0]


def test_a_greedy_row_takes_the_likeliest_and_of_equals_the_lowest() -> None:
    scores = torch.tensor([1.0, 3.0, 3.0, -2.0])
    greedy = complete(temperature=0.0, repetition_penalty=1.0)
    assert choices(greedy, [scores, scores], seed=0) == [1, 1]
    assert choices(replace(greedy, repetition_penalty=1.1), [scores] * 3, seed=0) == [1, 2, 1]
    assert choices(replace(greedy, temperature=1e-39), [scores], seed=0) == [1]


def test_a_penalty_lowers_ids_of_the_context_whatever_their_sign() -> None:
    greedy = complete(temperature=0.0, repetition_penalty=1.5)
    assert choices(greedy, [torch.tensor([-1.0, -1.2])], seed=0, context=[0]) == [1]
    assert choices(greedy, [torch.tensor([1.2, 1.0])], seed=0, context=[0, 0]) == [1]


def test_a_new_turn_in_a_row_begins_with_its_own_context() -> None:
    sampler = RowSampler(1, 2, device=CPU)
    greedy = complete(temperature=0.0, repetition_penalty=1.5)
    scores = torch.tensor([[1.2, 1.0]])
    for _ in range(2):
        sampler.open(0, greedy, context=[], seed=0)
        assert [step(sampler, scores) for _ in range(2)] == [[0], [1]]
        sampler.close(0)


def test_the_same_seed_chooses_the_same_in_any_row() -> None:
    sampler = RowSampler(3, VOCABULARY, device=CPU)
    for row, seed in enumerate((5, 5, 6)):
        sampler.open(row, complete(), context=[0], seed=seed)
    runs = list(zip(*(step(sampler, logits(i).expand(3, -1)) for i in range(20)), strict=True))
    assert runs[0] == runs[1] != runs[2]


def test_the_key_describes_the_needs_of_the_open_rows() -> None:
    sampler = RowSampler(4, VOCABULARY, device=CPU)
    assert sampler.key == ChoiceKey()
    sampler.open(0, complete(temperature=0.0, top_k=9, top_p=0.5), context=[], seed=0)
    assert sampler.key == ChoiceKey()
    sampler.open(1, complete(top_k=200_000), context=[], seed=0)
    assert sampler.key == ChoiceKey(sampled=True)
    sampler.open(2, complete(top_k=7), context=[], seed=0)
    assert sampler.key == ChoiceKey(sampled=True, max_k=7)
    sampler.open(3, complete(top_k=5, top_p=0.5), context=[], seed=0)
    assert sampler.key == ChoiceKey(sampled=True, max_k=7, top_p=True)
    sampler.open(3, complete(top_p=0.5), context=[], seed=0)
    assert sampler.key == ChoiceKey(sampled=True, max_k=VOCABULARY, top_p=True)
    for row in (1, 2, 3):
        sampler.close(row)
    assert sampler.key == ChoiceKey()


def storages(*values: Any) -> set[int]:
    """Return the storages of the tensors among these nested values."""
    tensors = [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]
    return {tensor.untyped_storage().data_ptr() for tensor in tensors}


class Operations(TorchDispatchMode):
    """Operations of a call, and those of their tensors that the call didn't make."""

    def __init__(self, own: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self._known = storages(*own)
        self.names: list[str] = []
        self.foreign: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        self.names.append(name)
        if not storages(args, kwargs) <= self._known:
            self.foreign.append(name)
        result = func(*args, **(kwargs or {}))
        self._known |= storages(result)
        return result


@pytest.mark.parametrize(
    "configs",
    [MANY[1:2], MANY[2:3], MANY[3:5], MANY, [*MANY[:5], *MANY[6:]]],
    ids=["greedy", "unlimited", "top_k", "all", "top_p_within_top_k"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_choosing_exchanges_no_value_with_the_host(
    configs: list[SamplingConfig], dtype: torch.dtype
) -> None:
    rows = slice(0, len(configs))
    sampler = RowSampler(len(configs), VOCABULARY, device=CPU)
    for row, config in enumerate(configs):
        sampler.open(row, config, context=[row], seed=row)
    sampler.draw(rows)
    scores = torch.stack([logits(row) for row in range(len(configs))]).to(dtype)
    state = [value for value in vars(sampler).values() if isinstance(value, torch.Tensor)]
    with Operations([scores, *state]) as operations:
        sampler.choose(scores, rows)
    values = {"_local_scalar_dense", "is_nonzero", "equal"}
    uploads = {"lift", "lift_fresh", "scalar_tensor"}
    by_value = {"nonzero", "index", "index_put_", "masked_select", "_unique2", "repeat_interleave"}
    assert not (values | uploads | by_value) & set(operations.names)
    assert not operations.foreign


def test_choosing_greedily_needs_no_sorting_and_no_probabilities() -> None:
    sampler = RowSampler(1, VOCABULARY, device=CPU)
    sampler.open(0, complete(temperature=0.0, top_k=5, top_p=0.5), context=[0], seed=0)
    with Operations([]) as operations:
        sampler.choose(logits(0)[None], slice(0, 1))
    assert not {"topk", "sort", "_softmax", "div_", "exponential_"} & set(operations.names)
    assert operations.names.count("argmax") == 1
