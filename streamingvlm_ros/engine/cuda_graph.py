"""A step as a CUDA graph: captured once, replayed for every token."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch

WARM_UPS = 2
"""Runs before a capture, in which kernels and libraries initialise."""


class CudaGraph:
    """Runs a step that always works on the same memory.

    On CUDA it is captured by hand, in the thread that runs it: torch.compile's graphs may not be
    run by another thread than the one that compiled them (pytorch #123177). On other devices it
    runs eagerly.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._graphs: dict[Hashable, torch.cuda.CUDAGraph] = {}
        self._runs: dict[Hashable, int] = {}
        # One pool for all: only one of the graphs runs at a time.
        self._pool = torch.cuda.graph_pool_handle() if device.type == "cuda" else None

    def forget(self) -> None:
        """Discard all captures, because the step works on different memory from now on."""
        self._graphs.clear()
        self._runs.clear()

    def run(self, key: Hashable, step: Callable[[], None]) -> None:
        """Run `step`; `key` identifies everything in it that is not on the device."""
        if self._device.type != "cuda":
            return step()
        if graph := self._graphs.get(key):
            return graph.replay()
        self._runs[key] = self._runs.get(key, 0) + 1
        if self._runs[key] <= WARM_UPS:
            return step()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            step()
        self._graphs[key] = graph
        return graph.replay()
