"""The backends that the contract is run by, the programs that they get, and how their libraries fail."""

from __future__ import annotations

import importlib
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.artifacts.artifact import Artifact
from grandopt.artifacts.store import Store
from grandopt.compiler import backends
from grandopt.compiler.backends.base import Lowered
from grandopt.compiler.backends.native.levels import levels_for
from grandopt.compiler.build import Candidate, build, original
from grandopt.compiler.capture.export import capture
from grandopt.compiler.capture.torchscript import trace
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.program import Program
from grandopt.config.engines import (
    EagerOptions,
    EngineOptions,
    InductorOptions,
    NativeOptions,
    OnnxRuntimeOptions,
    OpenVinoOptions,
    TorchScriptOptions,
)
from tests.small_agents import Policy, program

Repeats = Literal["bytes", "contents", "graph.bin"]


@dataclass(frozen=True)
class Member:
    """One backend in one of its forms.

    `module` is where its `lower` is, below `backends`; `repeats` says what of its files is the same each
    time; `libraries` are those without which it cannot be had here; `unknown` is what it says of an operator
    that it does not have, where there is one; `as_it_is` marks the forms that keep the agent as it came.
    """

    module: str
    options: EngineOptions
    repeats: Repeats = "bytes"
    libraries: tuple[str, ...] = ()
    torch: bool = True
    unknown: str | None = None
    as_it_is: bool = False

    def lower(self, of: Program) -> Lowered:
        found = importlib.import_module(f"{backends.__name__}.{self.module}")
        lowered: Lowered = found.lower(of, self.options)
        return lowered

    def built(self, of: Program, store: Store) -> Artifact:
        """The same by the way that everybody takes."""
        return original(of, store) if self.as_it_is else build(of, Candidate("float32", self.options), store)

    @cache  # noqa: B019 - as many as there are members
    def program(self, kind: type[nn.Module] = Policy) -> Program:
        """The network as this form takes it."""
        found = program(kind)
        if self.module != "torchscript":
            return found
        if not self.as_it_is:
            return trace(found)
        return found.but(module=torch.jit.trace(found.module, found.example, check_trace=False))


_ONNX = r"^agent: ONNX has no form of the operator aten\._linalg_eigh$"
_ARCHIVE = TorchScriptOptions(form="archive", freeze=False, optimize_for_inference=False)
LEAST = levels_for(platform.machine())[-1].name
"""The least demanding level of this architecture, built alone to save time."""

MEMBERS = {
    "eager": Member("eager", EagerOptions()),
    "eager-module": Member("eager", EagerOptions(form="module"), as_it_is=True),
    "torchscript": Member("torchscript", TorchScriptOptions(), "contents"),
    "torchscript-archive": Member("torchscript", _ARCHIVE, "contents", as_it_is=True),
    "native": Member(
        "native.backend", NativeOptions(levels=(LEAST,)), torch=False, unknown=r"^aten\._linalg_eigh\."
    ),
    "inductor": Member("inductor", InductorOptions(gemm="library")),
    "onnxruntime": Member(
        "onnxruntime", OnnxRuntimeOptions(), libraries=("onnxruntime", "onnxscript"), torch=False,
        unknown=_ONNX,
    ),
    "openvino": Member(
        "openvino", OpenVinoOptions(), "graph.bin", ("openvino", "onnxscript"), torch=False, unknown=_ONNX
    ),
}  # fmt: skip


class Spectrum(nn.Module):
    """Eigenvalues: an operator that few engines have."""

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        return torch.linalg.eigvalsh(state @ state.transpose(-1, -2))


class Counting(nn.Module):
    """Keeps count of its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        self.calls.add_(1)
        return state + self.calls * 0


@cache
def captured(kind: type[nn.Module], *shape: int) -> Program:
    return capture(from_module("agent", kind(), np.zeros((2, *shape), np.float32)), 0)


Break = Callable[[pytest.MonkeyPatch], None]


def _fails(*_: object, **__: object) -> None:
    raise RuntimeError("\n\nfailed at the first line\nand at another\n")


def _given(module: str, graph: bytes) -> Break:
    return lambda patch: patch.setattr(f"{backends.__name__}.{module}.onnx_graph", lambda *_: graph)


def _no_compiler(patch: pytest.MonkeyPatch) -> None:
    patch.setenv("CC", "false")


BREAKS: dict[str, Break] = {
    "eager": lambda patch: patch.setattr(torch.export, "save", _fails),
    "torchscript": lambda patch: patch.setattr(torch.jit, "save", _fails),
    "native.backend": _no_compiler,
    "inductor": lambda patch: patch.setattr(torch._inductor, "aoti_compile_and_package", _fails),
    "onnxruntime": _given("onnxruntime", b""),
    "openvino": _given("openvino", b"rubbish"),
}
"""How each third party is made to fail: by being given rubbish where it can be, else by raising."""
