"""torch.compile: the original network, compiled in the process that calls it.

What the compiler makes lives in this process alone, so that there is no artifact of it: it is opened from the
original's. The first call of a process compiles, and so does the first call with another batch size; the
second other batch size makes the batch dynamic.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch._inductor import config as inductor

from grandopt.artifacts.artifact import Artifact
from grandopt.errors import ArtifactError
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.executors.eager import ENGINE
from grandopt.runtime.executors.eager import load as load_eager
from grandopt.runtime.executors.operators import OperatorTime
from grandopt.runtime.executors.tensor import Forward, executor
from grandopt.signature import Array

CompileVariant = Literal["default", "freezing", "templates"]

TEMPLATES: dict[str, Any] = {"max_autotune": True, "max_autotune_gemm_backends": "CPP"}
"""Products as C++ made for their shapes, instead of calls of the linear algebra library."""

GUARDS = ("TENSOR_MATCH", "SHAPE_ENV")
"""Guards on the inputs. The others watch over the module and torch's global state: nobody else has this
module, and every call is made in inference mode."""


def load(artifact: Artifact, threads: int, variant: CompileVariant = "default") -> CompiledExecutor:
    """The network of an original's artifact, to be compiled at its first call.

    "default" is `torch.compile(module)` as its documentation shows it. "freezing" has the weights as
    constants and guards on the inputs alone; "templates" has matrix products from Inductor's C++ templates
    as well.
    `threads` becomes the number of threads of torch's operators in this whole process. The caller has made
    sure that a payload to be unpickled is trusted. Raises ArtifactError for an artifact without a Python
    module, and when it cannot be loaded.
    """
    if artifact.manifest.engine != ENGINE:
        raise ArtifactError(
            f"{artifact.path}: torch.compile takes Python modules, and this is a {artifact.manifest.engine} "
            f"artifact; an agent that came as an archive has no other"
        )
    inductor.compile_threads = 1  # no pool of processes beside what is measured
    module = load_eager(artifact, threads).payload
    match variant:
        case "default":
            return CompiledExecutor(artifact, torch.compile(module), frozen=False)
        case "freezing":
            return CompiledExecutor(artifact, _lean(module, {}), frozen=True)
        case "templates":
            return CompiledExecutor(artifact, _lean(module, TEMPLATES), frozen=True)


class CompiledExecutor(Executor):
    """A network that is compiled when it is called with a batch size for the first time.

    Calls are made in inference mode, without which they cost microseconds more.
    """

    def __init__(self, artifact: Artifact, forward: Forward, *, frozen: bool) -> None:
        manifest = artifact.manifest
        super().__init__(manifest.parsed_signature(), manifest.parsed_contract())
        self._inner = executor(artifact, forward)
        self._run = self._inner.run
        self._frozen = frozen
        self._known: set[int] = set()

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        if len(inputs[0]) in self._known:
            return self._run(inputs)
        with self._compiling():
            outputs = self._run(inputs)
        self._known.add(len(inputs[0]))
        return outputs

    def operators(self, batches: Sequence[Sequence[Array]]) -> list[OperatorTime]:
        return self._inner.operators(batches)

    def _compiling(self) -> AbstractContextManager[Any]:
        """Freezing is asked about while the network is traced: an option of torch.compile comes too late."""
        return inductor.patch(freezing=True) if self._frozen else nullcontext()


def _lean(module: Forward, options: dict[str, Any]) -> Forward:
    """torch.compile of a function of its own around the module, with guards on the inputs alone."""

    def forward(*inputs: torch.Tensor) -> Any:
        return module(*inputs)

    # What was compiled is kept with a function's code, and searched at each call: another code, another
    # search. Without it two variants in one process would slow each other down.
    forward.__code__ = forward.__code__.replace(co_name=f"forward_{id(module)}")
    return torch.compile(forward, options={**options, "guard_filter_fn": _on_inputs})


def _on_inputs(guards: Sequence[Any]) -> list[bool]:
    return [guard.guard_type in GUARDS for guard in guards]
