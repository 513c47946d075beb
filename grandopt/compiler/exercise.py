"""Which units of a network change over given inputs: what a comparison on these inputs can see."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.fx import Interpreter, Node

from grandopt.compiler.program import FORWARD_ERRORS, Program, evaluate
from grandopt.signature import Array

OPERATORS = frozenset(
    {
        "relu", "relu_", "relu6", "relu6_", "leaky_relu", "leaky_relu_", "prelu", "_prelu_kernel", "rrelu",
        "elu", "elu_", "selu", "selu_", "celu", "celu_", "gelu", "silu", "silu_", "mish", "softplus",
        "hardtanh", "hardtanh_", "hardswish", "hardswish_", "hardsigmoid", "threshold", "clamp_min",
        "tanh", "sigmoid", "log_sigmoid",
    }
)  # fmt: skip
"""Operators behind which a unit can fall silent: cut off or saturated, it gives the same for every input."""

MODULES = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Softplus, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Threshold, nn.Tanh, nn.Sigmoid, nn.LogSigmoid,
)  # fmt: skip

CHANGED = 1e-6
"""A value has changed when it moved by more than this part of its size: the rounding of float32 is less."""


class Ranges:
    """The smallest and largest value that each unit of each place of the network has had."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[Array, Array]] = {}

    def see(self, place: str, value: torch.Tensor) -> None:
        """Take note of one value with the batch in front; its units are the channels of images, the last
        dimension of sequences, and every element of a row."""
        if not value.is_floating_point() or value.dim() < 2:
            value = value.double().reshape(len(value), -1) if value.dim() else value.double().reshape(1, 1)
        kept = 1 if value.dim() != 3 else 2
        flat = value.detach().double().transpose(0, kept).reshape(value.shape[kept], -1)
        if not flat.numel():
            return
        low, high = flat.amin(dim=1).numpy(), flat.amax(dim=1).numpy()
        if place in self._held and self._held[place][0].shape == low.shape:
            low, high = np.minimum(low, self._held[place][0]), np.maximum(high, self._held[place][1])
        self._held[place] = low, high

    @property
    def changed(self) -> tuple[int, int]:
        """How many units there are, and how many of them changed."""
        units = changed = 0
        for low, high in self._held.values():
            units += low.size
            with np.errstate(invalid="ignore"):
                moved = (high - low) > CHANGED * np.maximum(np.abs(low), np.abs(high))
            changed += int((moved | np.isinf(high - low)).sum())
        return units, changed


class Exercised:
    """How much of a program the inputs that it was shown set in motion; show it more, and it can only rise.

    Not for several threads at once.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._units, self._outputs = Ranges(), Ranges()
        self._graph = None if program.exported is None else program.exported.module(check_guards=False)

    def show(self, inputs: Iterable[Sequence[Array]]) -> None:
        """Run the network on each of `inputs`, one array [B, *shape] per input. What it cannot take is left
        out."""
        for arrays in inputs:
            tensors = tuple(torch.from_numpy(np.array(array)) for array in arrays)
            try:
                outputs = self._run(tensors)
                if self._program.scores is not None:
                    outputs = evaluate(self._program.scores, tensors)
            except FORWARD_ERRORS:
                continue
            for place, output in enumerate(outputs):
                self._outputs.see(str(place), output)

    @property
    def units(self) -> tuple[int, int]:
        """The units behind activation functions, none where they cannot be seen, and how many changed."""
        return self._units.changed

    @property
    def outputs(self) -> tuple[int, int]:
        """The elements of the outputs, or of the scores behind a decision, and how many changed."""
        return self._outputs.changed

    def _run(self, tensors: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        if self._graph is not None:
            with torch.no_grad():
                result = _Watching(self._graph, self._units).run(*(value.clone() for value in tensors))
            return tuple(result) if isinstance(result, tuple | list) else (result,)
        with _watched(self._program.module, self._units):
            return evaluate(self._program.module, tensors)


class _Watching(Interpreter):
    def __init__(self, graph: torch.fx.GraphModule, units: Ranges) -> None:
        super().__init__(graph)
        self._units = units

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        if n.op == "call_function" and isinstance(result, torch.Tensor) and result.dim() > 1:
            operator = getattr(n.target, "_schema", None)
            if operator is not None and operator.name.rpartition("::")[2] in OPERATORS:
                self._units.see(n.name, result)
        return result


@contextmanager
def _watched(module: nn.Module, units: Ranges) -> Iterator[None]:
    """Hooks on the activation functions of a module that has no graph; an archive lets nobody look inside."""
    handles = []
    if not isinstance(module, torch.jit.ScriptModule):
        for name, part in module.named_modules():
            if isinstance(part, MODULES):
                handles.append(part.register_forward_hook(_hook(name, units)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(name: str, units: Ranges) -> Any:
    def hook(part: nn.Module, given: Any, result: Any) -> None:
        if isinstance(result, torch.Tensor) and result.dim() > 1:
            units.see(name, result)

    return hook
