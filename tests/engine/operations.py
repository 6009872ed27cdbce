"""Recording of a call's device operations, and their replay as by a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

HOST_WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero", "aten::equal"}
"""Operations whose result the host waits for."""


@dataclass
class Operation:
    """One operation with the memory that it works on."""

    run: Callable[..., Any]
    args: Any
    kwargs: Any
    out: list[Tensor]

    @property
    def name(self) -> str:
        return str(self.run._schema.name)  # type: ignore[attr-defined]

    @property
    def is_view(self) -> bool:
        """True if it only reshapes memory, which launches no kernel."""
        inputs = {_memory(x) for x in tree_leaves((self.args, self.kwargs)) if _is_tensor(x)}
        mutates: bool = self.run._schema.is_mutable  # type: ignore[attr-defined]
        return not mutates and bool(self.out) and all(_memory(x) in inputs for x in self.out)


class Recorder(TorchDispatchMode):
    """Records every operation; one that makes the host wait is an error."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        assert func._schema.name not in HOST_WAITS, f"the host waits: {func}"
        out = func(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves(out) if _is_tensor(x)]
        self.operations.append(Operation(func, args, kwargs or {}, tensors))
        return out

    @property
    def launches(self) -> list[str]:
        """Names of the operations that launch kernels, in order."""
        return [operation.name for operation in self.operations if not operation.is_view]


class ReplayedGraph:
    """Replaces a `CudaGraph`: runs the recorded operations again on the same memory."""

    def __init__(self) -> None:
        self.replays = 0
        self._recorded: dict[Hashable, list[Operation]] = {}

    def forget(self) -> None:
        self._recorded.clear()

    def run(self, key: Hashable, step: Callable[[], None]) -> None:
        if key not in self._recorded:
            with Recorder() as recorder:
                step()
            self._recorded[key] = recorder.operations
            return
        self.replays += 1
        for operation in self._recorded[key]:
            if operation.is_view:
                continue
            again = operation.run(*operation.args, **operation.kwargs)
            results = [x for x in tree_leaves(again) if _is_tensor(x)]
            for memory, result in zip(operation.out, results, strict=True):
                if _memory(memory) != _memory(result):
                    memory.copy_(result)


def _is_tensor(x: Any) -> bool:
    return isinstance(x, torch.Tensor)


def _memory(x: Tensor) -> int:
    return int(x.untyped_storage()._cdata)
