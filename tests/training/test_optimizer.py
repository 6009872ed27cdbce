"""Two optimizers under one schedule and in one saved state."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon

from streamingvlm_training.optimizer import MuonAndAdamW


class TinyModel(nn.Module):
    """An embedding, a layer and a head with the real model's names."""

    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(5, 4)
        self.layer = nn.Linear(4, 4)
        self.lm_head = nn.Linear(4, 5, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.lm_head(self.layer(self.embed_tokens(ids)))
        return logits


def train(model: TinyModel, optimizer: MuonAndAdamW, *, steps: int) -> None:
    ids = torch.tensor([0, 1, 2, 3])
    for _ in range(steps):
        nn.functional.cross_entropy(model(ids), ids + 1).backward()
        optimizer.step()
        optimizer.zero_grad()


def new_optimizer(model: TinyModel) -> MuonAndAdamW:
    return MuonAndAdamW(model.named_parameters(), lr=0.01, weight_decay=0.01)


def test_muon_updates_the_layers_matrices_and_adamw_everything_else() -> None:
    torch.manual_seed(0)
    model = TinyModel()
    alone = copy.deepcopy(model)
    train(model, new_optimizer(model), steps=1)
    ids = torch.tensor([0, 1, 2, 3])
    nn.functional.cross_entropy(alone(ids), ids + 1).backward()
    others = [alone.embed_tokens.weight, alone.layer.bias, alone.lm_head.weight]
    AdamW(others, lr=0.01, betas=(0.9, 0.98), weight_decay=0.01).step()
    Muon([alone.layer.weight], lr=0.02, weight_decay=0.01, adjust_lr_fn="match_rms_adamw").step()
    for name, parameter in alone.named_parameters():
        assert torch.equal(model.get_parameter(name), parameter), name


def test_a_schedule_drives_both() -> None:
    model = TinyModel()
    optimizer = new_optimizer(model)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = copy.deepcopy(model.state_dict())
    train(model, optimizer, steps=1)
    assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())


def test_a_saved_optimizer_resumes_as_if_never_stopped() -> None:
    torch.manual_seed(0)
    model = TinyModel()
    optimizer = new_optimizer(model)
    train(model, optimizer, steps=3)
    again = copy.deepcopy(model)
    resumed = new_optimizer(again)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(model, optimizer, steps=3)
    train(again, resumed, steps=3)
    assert all(torch.equal(again.get_parameter(n), p) for n, p in model.named_parameters())
