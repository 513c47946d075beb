"""The native engine: an agent compiled to C, called through a binding that travels with the artifact.

Loading opens two shared objects of the artifact: the agent's, of the most demanding feature level that this
CPU has, and the binding. The weights lie in the first as read-only data: they are pages of the file, which
all processes that opened it share, and equal files are opened once in a process. The agent's name is not in
the library: copies of an artifact and agents of different names that compute the same have equal files.
Both were built with the artifact; no compiler is needed here.
"""

from __future__ import annotations

import importlib.machinery
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from grandopt.artifacts import fields
from grandopt.artifacts.artifact import Artifact
from grandopt.artifacts.machine import by_demand, cpu_features
from grandopt.artifacts.sealed import SealedFile
from grandopt.errors import ArtifactError
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.executors.native_interface import check_interface, entry_of, interface_name
from grandopt.runtime.executors.options import texts, whole
from grandopt.runtime.executors.refusal import Refusal
from grandopt.runtime.executors.shared import Shared, shared
from grandopt.signature import Array, Contract, Signature, TensorSpec

BINDING = "binding.abi3.so"
MODULE = "grandopt_native_binding"
Library = tuple[Path, SealedFile | None]
"""Where a library was opened, and the sealed copy that is there."""
TILES = "amx_tile"
"""The CPU feature that a process must ask the system for."""


class NativeExecutor(Executor):
    """An agent in a shared object. Its functions are the binding's, bound per instance.

    Arrays of exactly the declared dtypes and shapes, C-contiguous, are taken without a copy; `run` and
    `run_into` raise SignatureError for all others, a call converts them first where that loses nothing.
    `run_into` takes tuples or lists of arrays or of other buffers, with the batch or without it, and refuses
    outputs that overlap an input or each other. It needs no NumPy: where the caller passes other buffers,
    NumPy is never imported. The GIL is released during long calls; the arrays and buffers of a call are kept
    until it ends, and those of a bound call as long as it lives; only `ndarray.resize(refcheck=False)` could
    take an array's memory away meanwhile.

    A call of the executor whose arrays fit runs no Python: it is that of the binding's type `Policy`, which
    `load` puts before this class. Outputs of up to 4 KiB are used again for a later call when the caller has
    let go of them and of all views. As that takes a reference, `ndarray.resize` of one needs
    `refcheck=False`.
    """

    contiguous = True
    flushes_denormals = True

    def __init__(
        self, signature: Signature, contract: Contract, make: Callable[[Any], Any], library: Shared[Library]
    ) -> None:
        super().__init__(signature, contract)
        self._library = library  # as long as it is open, equal ones are opened under its name
        agent = make(Refusal(signature, library))
        self._run = agent.run
        self._act = agent.act
        # Found before the class's methods, these spare a Python frame per call. Bindings of earlier releases
        # have no `bind`, and no `run_each`: then the executor's own does it, or nobody.
        found = (name for name in ("run", "run_into", "bind", "run_each") if hasattr(agent, name))
        self.__dict__.update({name: getattr(agent, name) for name in found})
        attach = getattr(self, "attach", None)
        if attach is not None:
            attach(agent, NativeExecutor.__call__)

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        results: tuple[Array, ...] = self._run(inputs)
        return results

    def __call__(self, *observation: Any) -> Any:
        result = self._act(*observation)
        return super().__call__(*observation) if result is NotImplemented else result


_bindings: dict[tuple[str, bool], tuple[ModuleType, type[NativeExecutor]]] = {}
"""Loaded bindings, each with the class of its executors, by the digest of their bytes and whether they are
from a sealed copy: artifacts of one build share one."""
_copies: list[SealedFile] = []
"""What bindings were imported from. A module is never unloaded, so its path stays its own."""


def load(artifact: Artifact, threads: int) -> NativeExecutor:
    """The executor of a native artifact, which computes on the calling thread whatever `threads` says.

    Raises ArtifactError when the CPU fits none of the artifact's feature levels (found before the agent is
    opened), when a shared object cannot be opened here, or when the agent's states other sizes than the
    manifest.
    """
    manifest = artifact.manifest
    signature, contract = manifest.parsed_signature(), manifest.parsed_contract()
    binding, executor = _binding(artifact)
    level = _fitting(artifact, binding.permit_tiles)
    name, entry = f"agent.{level}.so", entry_of(artifact, level)
    scratch, release = whole(artifact, "scratch_bytes", 0), whole(artifact, "release_batch", 1)
    library, copy = artifact.payload_path(name), artifact.sealed(name)
    kind = "native" if copy is None else "native, sealed"
    opened = shared((kind, artifact.entry(name).sha256), lambda: (_resolved(library, copy), copy))

    def make(explain: Refusal) -> Any:
        inputs, outputs = _shapes(signature.inputs), _shapes(signature.outputs)
        agent = binding.Agent(os.fsencode(opened.value[0]), entry, inputs, outputs, scratch, release, explain)
        # Before the first call. Bindings of earlier releases, like their libraries, do not tell.
        stated = agent.stated(interface_name(entry)) if hasattr(agent, "stated") else None
        check_interface(artifact, signature, level, stated)
        return agent

    try:
        return executor(signature, contract, make, opened)
    except (OSError, ValueError, TypeError, OverflowError) as error:
        raise ArtifactError(f"{library}: cannot be opened: {error}; build the artifact again") from error


def _fitting(artifact: Artifact, permit_tiles: Callable[[], bool]) -> str:
    """Name of the most demanding level that this CPU has and the system permits."""
    present = cpu_features()
    lacking: dict[str, str] = {}
    needs = {
        level: fields.texts(f"options.levels.{level}", features)
        for level, features in texts(artifact, "levels").items()
    }
    for level in by_demand(needs):
        needed = needs[level]
        missing = sorted(set(needed) - present)
        if not missing and (TILES not in needed or permit_tiles()):
            return level
        lacking[level] = ", ".join(missing) or "the system's permission to use AMX tiles"
    listed = "; ".join(f"{level} needs {features}" for level, features in lacking.items()) or "none built"
    raise ArtifactError(
        f"{artifact.path}: this CPU fits none of its feature levels ({listed}); build it again here"
    )


def _binding(artifact: Artifact) -> tuple[ModuleType, type[NativeExecutor]]:
    path, copy = artifact.payload_path(BINDING), artifact.sealed(BINDING)
    key = artifact.entry(BINDING).sha256, copy is not None
    if key not in _bindings:
        if copy is not None:
            _copies.append(copy)
        module = _imported(_resolved(path, copy))
        _bindings[key] = module, _called_from_c(module)
    return _bindings[key]


def _resolved(path: Path, copy: SealedFile | None) -> Path:
    """The path that a library is opened by: one for each file. That of a sealed copy is no link to follow."""
    return path.resolve() if copy is None else path


def _called_from_c(binding: ModuleType) -> type[NativeExecutor]:
    """The executor with the call of this binding; bindings of earlier releases leave it in Python."""
    base = getattr(binding, "Policy", None)
    if base is None:
        return NativeExecutor
    kind: Any = type(NativeExecutor)
    made: type[NativeExecutor] = kind(
        NativeExecutor.__name__,
        (base, NativeExecutor),
        {"__module__": __name__, "__doc__": NativeExecutor.__doc__},
    )
    return made


def _imported(path: Path) -> ModuleType:
    if "t" in sys.abiflags:
        raise ArtifactError(
            f"{path}: native agents need a Python with the GIL, this one is free-threaded; use another build"
        )
    # By hand, because `importlib.util` takes longer to import than the rest of loading.
    loader = importlib.machinery.ExtensionFileLoader(MODULE, str(path))
    spec = importlib.machinery.ModuleSpec(MODULE, loader, origin=loader.path)
    try:
        module = loader.create_module(spec)
        loader.exec_module(module)
    except (ImportError, RuntimeError) as error:
        raise ArtifactError(f"{path}: cannot be imported: {error}; build the artifact again") from error
    return module


def _shapes(specs: Sequence[TensorSpec]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((spec.dtype, spec.shape) for spec in specs)
