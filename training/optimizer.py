"""Muon for the matrices of the layers, AdamW for everything else (decision 0024)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer

_NOT_OF_LAYERS = ("embed_tokens", "lm_head")
_MUON_RATE = 2.0
"""Times the learning rate: what learnt fastest beside AdamW's."""


class MuonAndAdamW(Optimizer):
    """Two optimizers as one, so that one schedule drives both and one state is saved.

    Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) is for matrices that map
    activations to activations: not for embeddings, the output head, vectors and convolutions.
    """

    def __init__(
        self, named: Iterable[tuple[str, nn.Parameter]], lr: float, weight_decay: float
    ) -> None:
        matrices: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, parameter in named:
            of_layer = parameter.ndim == 2 and not any(part in name for part in _NOT_OF_LAYERS)
            (matrices if of_layer else others).append(parameter)
        muon = Muon(
            matrices,
            lr=_MUON_RATE * lr,
            weight_decay=weight_decay,
            adjust_lr_fn="match_rms_adamw",
        )
        adamw = AdamW(others, lr=lr, betas=(0.9, 0.98), weight_decay=weight_decay)
        self._inner: tuple[Optimizer, Optimizer] = (adamw, muon)
        super().__init__([*adamw.param_groups, *muon.param_groups], defaults={})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One step of both. Their groups and state are this one's, also after it was loaded."""
        if closure is not None:
            raise ValueError("step() takes no closure here")
        for inner, group in zip(self._inner, self.param_groups, strict=True):
            inner.state, inner.param_groups = self.state, [group]
            inner.step()
