"""From a checkpoint to built artifacts: the list of candidates, and the stages each goes through.

    checkpoint ─ capture ─► program ─ passes ─ trace or export ─ lower ─► artifact in the store

Passes change the module; the graph is captured anew from what they leave.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import torch

from grandopt.artifacts.artifact import Artifact
from grandopt.artifacts.machine import architecture, cpu_features
from grandopt.artifacts.manifest import Manifest
from grandopt.artifacts.store import Store
from grandopt.compiler.backends.base import Lowered
from grandopt.compiler.capture.export import capture, export
from grandopt.compiler.capture.torchscript import trace
from grandopt.compiler.cost import flop, parameters
from grandopt.compiler.identity import compiler_identity, graph_digest, weights_digest
from grandopt.compiler.passes import pipeline
from grandopt.compiler.program import Program
from grandopt.config.schema import (
    EagerOptions,
    EngineName,
    EngineOptions,
    NativeOptions,
    Precision,
    TorchScriptOptions,
)
from grandopt.errors import UnsupportedError

__all__ = [
    "Candidate",
    "build",
    "candidates",
    "capture",
    "flop",
    "key",
    "original",
    "parameters",
    "weights_digest",
]

PASSES: dict[Precision, tuple[str, ...]] = {
    "float32": ("fold_batchnorm", "remove_identity"),
    "int8_dynamic": ("fold_batchnorm", "remove_identity", "quantize_dynamic"),
    "bfloat16": ("fold_batchnorm", "remove_identity", "bfloat16"),
}
"""Folding comes first: afterwards there are fewer layers to remove and to convert."""


@dataclass(frozen=True)
class Candidate:
    """One way to build an agent: an engine with its options, at a precision."""

    precision: Precision
    options: EngineOptions

    @property
    def engine(self) -> EngineName:
        """The engine's name."""
        return self.options.engine

    @property
    def label(self) -> str:
        """Engine, precision, and what departs from the engine's defaults: "torchscript/float32/no-ofi"."""
        return "/".join((self.engine, self.precision, *_variant(self.options)))


def candidates(
    program: Program, engines: Collection[EngineName], precisions: Collection[Precision]
) -> tuple[Candidate, ...]:
    """The candidates of a program among the admitted engines and precisions, the plainest first.

    Left out is what cannot come to be for this program: TorchScript archives hold no layers of which another
    precision could be made, and quantized layers cannot be exported. Whether the others can be built, `build`
    finds out.
    """
    plain = TorchScriptOptions(optimize_for_inference=False)
    listed = (
        Candidate("float32", EagerOptions()),
        Candidate("float32", plain),
        Candidate("float32", TorchScriptOptions()),
        Candidate("float32", NativeOptions()),
        Candidate("bfloat16", NativeOptions(weights="bfloat16")),
        Candidate("bfloat16", EagerOptions()),
        Candidate("bfloat16", plain),
        Candidate("bfloat16", TorchScriptOptions()),
        Candidate("int8_dynamic", plain),
        Candidate("int8_dynamic", TorchScriptOptions()),
    )
    archive = isinstance(program.module, torch.jit.ScriptModule)
    return tuple(
        candidate
        for candidate in listed
        if candidate.engine in engines
        and candidate.precision in precisions
        and not (archive and candidate.precision != "float32")
    )


def build(program: Program, candidate: Candidate, store: Store, *, threads: int = 1) -> Artifact:
    """The artifact of a captured program as this candidate, from the store if it was built before.

    Raises UnsupportedError when a pass or the engine cannot take the program, PassError when a pass broke it,
    BuildError when the engine failed, OutputError when the store cannot be written.
    """
    name = key(program, candidate, threads)
    stored = store.get(name)
    if stored is not None:
        return stored
    shaped = pipeline.run(program, _passes(candidate))
    exportable = program.exported is not None and candidate.precision != "int8_dynamic"
    if candidate.engine == "torchscript":
        shaped = trace(shaped)
    if exportable and shaped.exported is None and shaped.traced is None:
        shaped = export(shaped)
        if candidate.engine == "torchscript":  # it admits more with an export to be checked against
            shaped = trace(shaped)
    return _put(store, name, shaped, candidate, threads)


def original(program: Program, store: Store, *, threads: int = 1) -> Artifact:
    """The agent as it came, as an artifact: the baseline that every candidate is measured against.

    A TorchScript archive stays the archive it is, another module is pickled (its artifact must be trusted to
    be loaded). A module that cannot be pickled is represented by its exported program, and the manifest's
    `source.details["original_form"]` says why. Raises UnsupportedError when that does not exist either.
    """
    if isinstance(program.module, torch.jit.ScriptModule):
        archive = TorchScriptOptions(form="archive", freeze=False, optimize_for_inference=False)
        return _as_it_is(program, Candidate(program.precision, archive), store, threads)
    try:
        module = Candidate(program.precision, EagerOptions(form="module"))
        return _as_it_is(program, module, store, threads)
    except UnsupportedError as error:
        if program.exported is None:
            raise UnsupportedError(
                f"{error}; and it is not exported either: {program.refusal('export')}"
            ) from error
        details = {**program.source.details, "original_form": f"exported program, because {error}"}
        noted = program.but(source=program.source.model_copy(update={"details": details}))
        return _as_it_is(noted, Candidate(program.precision, EagerOptions()), store, threads)


def key(program: Program, candidate: Candidate, threads: int = 1) -> str:
    """SHA-256 (hex) over everything that changes the built artifact.

    That is the graph and its weights, signature and contract, name and source (they are in the manifest),
    candidate, passes and threads, the compilers with their versions, and this machine's CPU features.
    Raises EngineUnavailableError for the native engine where there is no C compiler.
    """
    parts = {
        "graph": graph_digest(program),
        "weights": weights_digest(program.module),
        "agent": _described(program),
        "precision": candidate.precision,
        "options": candidate.options.model_dump(mode="json"),
        "passes": _passes(candidate),
        "threads": threads,
        "compilers": compiler_identity() | _engine_identity(candidate),
        "machine": architecture(),
        "cpu_features": sorted(cpu_features()),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _as_it_is(program: Program, candidate: Candidate, store: Store, threads: int) -> Artifact:
    name = key(program, candidate, threads)
    return store.get(name) or _put(store, name, program, candidate, threads)


def _put(store: Store, name: str, program: Program, candidate: Candidate, threads: int) -> Artifact:
    lowered = _lower(program, candidate.options)
    manifest = Manifest(
        **_described(program),
        engine=candidate.engine,
        precision=candidate.precision,
        options=dict(lowered.options),
        threads=threads,
        passes=program.passes,
        payload=(),
        requires=dict(lowered.requires),
        machine=architecture(),
        cpu_features=lowered.cpu_features,
        built_by=f"grandopt {compiler_identity()['grandopt']}",
        trusted_only=lowered.trusted_only,
    )
    return store.put(name, manifest, lowered.files)


def _described(program: Program) -> dict[str, Any]:
    return {
        "name": program.name,
        "signature": program.signature.to_json(),
        "contract": asdict(program.contract),
        "source": program.source.model_dump(mode="json"),
    }


def _lower(program: Program, options: EngineOptions) -> Lowered:
    match options.engine:
        case "eager":
            from grandopt.compiler.backends import eager

            return eager.lower(program, options)
        case "torchscript":
            from grandopt.compiler.backends import torchscript

            return torchscript.lower(program, options)
        case "native":
            from grandopt.compiler.backends.native import backend

            return backend.lower(program, options)


def _passes(candidate: Candidate) -> tuple[str, ...]:
    """The native engine lowers the precision itself, of the weights alone."""
    return PASSES["float32" if candidate.engine == "native" else candidate.precision]


def _engine_identity(candidate: Candidate) -> dict[str, str]:
    """What an engine's builds go through beyond torch and grandopt's Python code."""
    if candidate.engine != "native":
        return {}
    from grandopt.compiler.backends.native import backend

    return backend.identity()


def _variant(options: EngineOptions) -> tuple[str, ...]:
    match options:
        case EagerOptions(form="module"):
            return ("module",)
        case TorchScriptOptions(form="archive"):
            return ("archive",)
        case TorchScriptOptions():
            unfrozen = () if options.freeze else ("unfrozen",)
            return (*unfrozen, *(() if options.optimize_for_inference else ("no-ofi",)))
        case NativeOptions():
            tile = () if options.tile == 8 else (f"tile{options.tile}",)
            return (*tile, *options.levels)
        case _:
            return ()
