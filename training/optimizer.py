"""Muon for the matrices of the layers, AdamW for everything else (decision 0024)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer

_NOT_OF_LAYERS = ("embed_tokens", "lm_head")
_MUON_RATE = 2.0
"""Muon's rate as a multiple of AdamW's: of those tried, the one that learned fastest."""


class MuonAndAdamW(Optimizer):
    """Two optimizers in one, with one schedule and one saved state.

    Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) suits matrices that map
    activations to activations, but not embeddings, the output head, vectors and convolutions.
    """

    def __init__(
        self,
        named_parameters: Iterable[tuple[str, nn.Parameter]],
        lr: float,
        *,
        weight_decay: float,
    ) -> None:
        matrices: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, parameter in named_parameters:
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
        """Step both optimizers, on this one's groups and state, which may have been loaded."""
        if closure is not None:
            raise ValueError("MuonAndAdamW.step() takes no closure; compute the loss before")
        for inner, group in zip(self._inner, self.param_groups, strict=True):
            inner.state, inner.param_groups = self.state, [group]
            inner.step()
