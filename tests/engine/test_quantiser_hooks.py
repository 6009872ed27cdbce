"""What a quantiser puts around a model's modules runs here as in transformers' own forward."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from streamingvlm_ros.config import ModelConfig
from streamingvlm_ros.engine.model import LoadedModel, load
from streamingvlm_ros.engine.qwen2_5 import checkpoint as family
from streamingvlm_ros.engine.qwen2_5.decoder import Decoder
from streamingvlm_ros.errors import ModelError

from .conftest import CHECKPOINT

HIDDEN = torch.randn(5, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model(loaded: LoadedModel) -> Any:
    """Return a model whose modules may be changed."""
    return deepcopy(loaded.model)


def projections(model: Any) -> list[nn.Linear]:
    attention = model.model.language_model.layers[0].self_attn
    return [attention.q_proj, attention.k_proj, attention.v_proj]


def decoded(model: Any) -> Tensor:
    return Decoder(model)._layers[0].queries_keys_values(HIDDEN)


def test_a_hook_before_the_first_forward_runs_once_while_loading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """compressed-tensors unpacks the weights there, and removes the hook."""
    read = family.load_weights

    def packed(*arguments: Any, **options: Any) -> Any:
        model, report = read(*arguments, **options)
        weight = projections(model)[0].weight.data
        plain = weight.clone()
        weight.zero_()

        def unpack(module: nn.Module, _: Any) -> None:
            weight.copy_(plain)
            handle.remove()

        handle = model.register_forward_pre_hook(unpack)
        return model, report

    expected = load(CHECKPOINT, ModelConfig()).model
    monkeypatch.setattr(family, "load_weights", packed)
    unpacked = load(CHECKPOINT, ModelConfig()).model
    assert torch.equal(decoded(unpacked), decoded(expected))


@pytest.mark.parametrize("place", ["layer", "self_attn", "mlp", "language_model"])
@pytest.mark.parametrize("kind", ["before", "after", "around"])
def test_a_hook_that_would_be_passed_over_is_refused(model: Any, place: str, kind: str) -> None:
    text = model.model.language_model
    layer = text.layers[1]
    modules = {"layer": layer, "self_attn": layer.self_attn, "mlp": layer.mlp}
    module = modules.get(place, text)
    if kind == "before":
        module.register_forward_pre_hook(lambda *_: None)
    elif kind == "after":
        module.register_forward_hook(lambda *_: None)
    else:
        module.forward = lambda *_: None
    with pytest.raises(ModelError, match=r"runs code of its quantiser.*unquantised checkpoint"):
        family.run_first_forward_hooks(model)


@pytest.mark.parametrize("kind", ["before", "after", "around", "subclass"])
def test_what_a_quantiser_puts_around_a_linear_layer_runs(model: Any, kind: str) -> None:
    expected = torch.cat([linear(HIDDEN.round()) for linear in projections(model)], dim=-1)
    for linear in projections(model):
        plain = linear.forward
        if kind == "before":
            linear.register_forward_pre_hook(lambda _, inputs: (inputs[0].round(),))
        elif kind == "after":
            linear.register_forward_hook(
                lambda _, inputs, __, plain=plain: plain(inputs[0].round())
            )
        elif kind == "around":
            linear.forward = lambda x, plain=plain: plain(x.round())  # type: ignore[method-assign]
        else:
            linear.__class__ = _Rounding
    family.run_first_forward_hooks(model)
    torch.testing.assert_close(decoded(model), expected)


def test_a_quantised_linear_layer_gets_a_batch_of_tokens(model: Any) -> None:
    """As in transformers' own forward: compressed-tensors finds a token's scale by its axis."""
    shapes: list[torch.Size] = []
    layer = model.model.language_model.layers[0]
    modules = [*projections(model), layer.self_attn.o_proj, layer.mlp.down_proj, model.lm_head]
    for module in modules:
        module.register_forward_pre_hook(lambda _, inputs: shapes.append(inputs[0].shape))
    decoder = Decoder(model)
    decoded(model)
    decoder._layers[0].attention_out(torch.zeros(5, 64))
    decoder._layers[0].mlp_out(torch.zeros(5, 128))
    assert decoder.logits(HIDDEN).shape == (5, decoder.vocabulary)
    assert [tuple(shape[:2]) for shape in shapes] == [(1, 5)] * len(modules)


class _Rounding(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.round())
