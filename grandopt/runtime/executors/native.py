"""The native engine: an agent compiled to C, called through a binding that travels with the artifact.

Loading opens two shared objects of the artifact: the agent's, of the first feature level that this CPU has,
and the binding. The weights lie in the first as read-only data: they are pages of the file, which all
processes that opened it share, and equal files are opened once in a process. The agent's name is not in the
library: copies of an artifact and agents of different names that compute the same have equal files.
Both were built with the artifact; no compiler is needed here.
"""

from __future__ import annotations

import importlib.machinery
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from grandopt.artifacts.artifact import Artifact
from grandopt.artifacts.machine import cpu_features
from grandopt.errors import ArtifactError, EngineError, SignatureError
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.executors.shared import Shared, shared
from grandopt.signature import Array, Contract, Signature, TensorSpec

BINDING = "binding.abi3.so"
MODULE = "grandopt_native_binding"
TILES = "amx_tile"
"""The CPU feature that a process must ask the system for."""

_bindings: dict[str, ModuleType] = {}
"""Loaded bindings by the digest of their bytes: artifacts of one build share one."""


class NativeExecutor(Executor):
    """An agent in a shared object. `run` and `run_into` are functions of the binding, bound per instance.

    Arrays of exactly the declared dtypes and shapes, C-contiguous, are taken without a copy; `run` and
    `run_into` raise SignatureError for all others, a call converts them first where that loses nothing.
    `run_into` takes tuples or lists of arrays or of other buffers, with the batch or without it, and refuses
    outputs that overlap an input or each other. It needs no NumPy: where the caller passes other buffers,
    NumPy is never imported. The GIL is released during long calls; the arrays and buffers of a call are kept
    until it ends, only `ndarray.resize(refcheck=False)` could take an array's memory away meanwhile.
    """

    contiguous = True

    def __init__(
        self, signature: Signature, contract: Contract, make: Callable[[Any], Any], library: Shared[Path]
    ) -> None:
        super().__init__(signature, contract)
        self._library = library  # as long as it is open, equal ones are opened under its name
        agent = make(_Explain(signature))
        self._run = agent.run
        self._act = agent.act
        # Found before the class's methods, these spare a Python frame per call.
        self.__dict__.update(run=agent.run, run_into=agent.run_into)

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        results: tuple[Array, ...] = self._run(inputs)
        return results

    def __call__(self, *observation: Any) -> Any:
        result = self._act(*observation)
        return super().__call__(*observation) if result is NotImplemented else result


def load(artifact: Artifact, threads: int) -> NativeExecutor:
    """The executor of a native artifact, which computes on the calling thread whatever `threads` says.

    Raises ArtifactError when the CPU fits none of the artifact's feature levels (found before the agent is
    opened), or when a shared object cannot be opened here.
    """
    manifest = artifact.manifest
    signature, contract = manifest.parsed_signature(), manifest.parsed_contract()
    options = manifest.options
    binding = _binding(artifact)
    level = _fitting(artifact, binding.permit_tiles)
    name = f"agent.{level}.so"
    library = artifact.payload_path(name)
    opened = shared(("native", artifact.entry(name).sha256), library.resolve)

    def make(explain: _Explain) -> Any:
        return binding.Agent(
            os.fsencode(opened.value),
            # Artifacts of earlier releases name the function after the agent.
            options["invokes"][level] if "invokes" in options else f"{options['symbol']}_invoke",
            _shapes(signature.inputs),
            _shapes(signature.outputs),
            options["scratch_bytes"],
            options["release_batch"],
            explain,
        )

    try:
        return NativeExecutor(signature, contract, make, opened)
    except KeyError as error:
        raise ArtifactError(
            f"{artifact.path}: option {error} is missing; build the artifact again"
        ) from error
    except (OSError, ValueError, TypeError, OverflowError) as error:
        raise ArtifactError(f"{library}: cannot be opened: {error}; build the artifact again") from error


def _fitting(artifact: Artifact, permit_tiles: Callable[[], bool]) -> str:
    """Name of the most demanding level that this CPU has and the system permits."""
    present = cpu_features()
    levels: dict[str, list[str]] = artifact.manifest.options.get("levels", {})
    lacking: dict[str, str] = {}
    for level, needed in levels.items():
        missing = sorted(set(needed) - present)
        if not missing and (TILES not in needed or permit_tiles()):
            return level
        lacking[level] = ", ".join(missing) or "the system's permission to use AMX tiles"
    listed = "; ".join(f"{level} needs {features}" for level, features in lacking.items()) or "none built"
    raise ArtifactError(
        f"{artifact.path}: this CPU fits none of its feature levels ({listed}); build it again here"
    )


def _binding(artifact: Artifact) -> ModuleType:
    path, digest = artifact.payload_path(BINDING), artifact.entry(BINDING).sha256
    if digest not in _bindings:
        _bindings[digest] = _imported(path)
    return _bindings[digest]


def _imported(path: Path) -> ModuleType:
    # By hand, because `importlib.util` takes longer to import than the rest of loading.
    loader = importlib.machinery.ExtensionFileLoader(MODULE, str(path.resolve()))
    spec = importlib.machinery.ModuleSpec(MODULE, loader, origin=loader.path)
    try:
        module = loader.create_module(spec)
        loader.exec_module(module)
    except (ImportError, RuntimeError) as error:
        raise ArtifactError(f"{path}: cannot be imported: {error}; build the artifact again") from error
    return module


def _shapes(specs: Sequence[TensorSpec]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((spec.dtype, spec.shape) for spec in specs)


class _Explain:
    """Raises the exception for a call that the binding refused."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature

    def __call__(self, position: int, given: Any, reason: str) -> NoReturn:
        inputs, outputs = self._signature.inputs, self._signature.outputs
        if reason == "fault":
            raise _fault(position)
        if reason in ("inputs", "outputs"):
            wanted, kind = (inputs, "input") if reason == "inputs" else (outputs, "output")
            count = len(given) if isinstance(given, (tuple, list)) else type(given).__name__
            raise SignatureError(
                f"expected {len(wanted)} {kind} array(s) in a tuple or list "
                f"({', '.join(spec.name for spec in wanted)}), got {count}"
            )
        output = position >= len(inputs)
        spec = (*inputs, *outputs)[position]
        shape = f"[{', '.join(map(str, ('batch', *spec.shape)))}]"
        if output:
            must = f"output array must be writeable, {spec.dtype} {shape}, C-contiguous"
        else:
            must = f"must be {spec.dtype} {shape}, C-contiguous"
        raise SignatureError(f"{spec.name}: {must}; {REASONS[reason]}, got {_described(given)}")


REASONS = {
    "layout": "the memory cannot be used as it is",
    "dtype": "the dtype differs",
    "shape": "the shape differs",
    "alignment": "its elements are not aligned",
    "overlap": "it overlaps another array of the call",
    "empty": "the batch is empty",
    "batch": "its batch differs from the first input's",
}


def _fault(code: int) -> Exception:
    if code == 3:
        return SignatureError("an index in the inputs lies outside its table")
    if code == 5:
        return EngineError("the system did not permit this process to use AMX tiles")
    return EngineError(f"the compiled agent refused the call with code {code}")


def _described(given: Any) -> str:
    shape, dtype = getattr(given, "shape", None), getattr(given, "dtype", None)
    if shape is None:
        return f"a {type(given).__name__}"
    flags = getattr(given, "flags", None)
    notes = [
        note
        for name, note in (("writeable", "read-only"), ("c_contiguous", "not C-contiguous"))
        if flags is not None and not getattr(flags, name, True)
    ]
    return ", ".join([f"{dtype} {list(shape)}", *notes])
