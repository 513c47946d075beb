"""From a checkpoint to built artifacts: the list of candidates, and the stages each goes through.

    checkpoint ─ capture ─► program ─ passes ─ trace or export ─ lower ─► artifact in the store

Passes change the module; the graph is captured anew from what they leave.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import torch

from grandopt.artifacts.artifact import Artifact
from grandopt.artifacts.machine import architecture, cpu_features
from grandopt.artifacts.manifest import Manifest
from grandopt.artifacts.store import Store
from grandopt.compiler.backends.base import Lowered
from grandopt.compiler.candidates import Candidate, candidates, left_out
from grandopt.compiler.capture.export import capture, export
from grandopt.compiler.capture.torchscript import trace
from grandopt.compiler.cost import flop, parameters, read_weights
from grandopt.compiler.identity import (
    arrays_digest,
    compiler_identity,
    engine_identity,
    graph_digest,
)
from grandopt.compiler.passes import pipeline
from grandopt.compiler.program import Program
from grandopt.config.engine import Engine
from grandopt.config.engines import ENGINE_CLASSES, EagerOptions, EngineOptions, TorchScriptOptions
from grandopt.errors import EngineUnavailableError, UnsupportedError
from grandopt.reason import Reason, ReasonCode
from grandopt.signature import Array

__all__ = [
    "EXPORTED_ORIGINAL",
    "Candidate",
    "build",
    "candidates",
    "capture",
    "compilers",
    "flop",
    "impossible",
    "key",
    "left_out",
    "original",
    "original_candidate",
    "parameters",
    "read_weights",
]

EXPORTED_ORIGINAL = Candidate("float32", EagerOptions())
"""The original as its exported program, which runs without the code that defined it."""


ARCHIVE = TorchScriptOptions(form="archive", freeze=False, optimize_for_inference=False)
"""How a TorchScript archive is run as it came."""


def build(
    program: Program,
    candidate: Candidate,
    store: Store,
    *,
    threads: int = 1,
    calibration: Sequence[Array] | None = None,
) -> Artifact:
    """The artifact of a captured program as this candidate, from the store if it was built before.

    `calibration` holds recorded samples, or draws from what is declared of the inputs, one array [n, *shape]
    per input; static quantization needs them, a `scaled` candidate looks at them. One that `weighs` its
    layers needs the observations that it will be asked about, ALIKE in a row of one kind. Most engines take
    their number of threads when they load, so that what was built for one thread becomes the artifact for
    more.
    Raises UnsupportedError when a pass or the engine cannot take the program, PassError when a pass broke it,
    BuildError when the engine failed, OutputError when the store cannot be written.
    """
    name = key(program, candidate, threads, calibration)
    stored = store.get(name)
    if stored is not None:
        return stored
    if threads != 1 and candidate.options.threads != "at build":
        one = build(program, candidate, store, calibration=calibration)
        return store.put(name, replace(one.manifest, threads=threads), one.payloads())
    shaped = pipeline.run(program, candidate.passes)
    exportable = program.exported is not None and shaped.precision != "int8_dynamic"
    if candidate.options.made_of == "trace":
        shaped = trace(shaped)
    if exportable and shaped.exported is None and shaped.traced is None:
        shaped = export(shaped)
        if candidate.options.made_of == "trace":  # it admits more with an export to be checked against
            shaped = trace(shaped)
    return _put(store, name, shaped, candidate, threads, calibration)


def impossible(program: Program, candidate: Candidate) -> Reason | None:
    """Why this candidate cannot be built of the program, however long one tries; None where it may be."""
    if program.exported is not None or candidate.options.made_of != "export":
        return None
    return Reason(ReasonCode.NOT_EXPORTED, f"{program.name}: not exported: {program.refusal('export')}")


def original(program: Program, store: Store, *, threads: int = 1) -> Artifact:
    """The agent as it came, as an artifact: the baseline that every candidate is measured against.

    A TorchScript archive stays the archive it is, another module is pickled (its artifact must be trusted to
    be loaded). A module that cannot be pickled is represented by its exported program, and the manifest's
    `source.details["original_form"]` says why. Raises UnsupportedError when that does not exist either.
    """
    if isinstance(program.module, torch.jit.ScriptModule):
        return _as_it_is(program, Candidate(program.precision, ARCHIVE), store, threads)
    try:
        module = Candidate(program.precision, EagerOptions(form="module"))
        return _as_it_is(program, module, store, threads)
    except UnsupportedError as error:
        if program.exported is None:
            raise UnsupportedError(
                f"{error}; and it is not exported either: {program.refusal('export')}"
            ) from error
        form = f"exported program, because {error}"
        noted = program.but(source=program.source.noting(original_form=form))
        return _as_it_is(noted, Candidate(program.precision, EagerOptions()), store, threads)


def original_candidate(program: Program, original: Artifact) -> Candidate:
    """The form in which `original` kept a program, as a candidate."""
    if original.manifest.engine == ARCHIVE.engine:
        return Candidate(program.precision, ARCHIVE)
    return Candidate(program.precision, EagerOptions(form=original.manifest.options["form"]))


def key(
    program: Program, candidate: Candidate, threads: int = 1, calibration: Sequence[Array] | None = None
) -> str:
    """SHA-256 (hex) over everything that changes the built artifact.

    That is the graph with its weights, signature and contract, name and source (they are in the manifest),
    candidate, passes and threads, samples of the calibration, the compilers with their versions, and this
    machine's CPU features.
    """
    parts = {
        "graph": graph_digest(program),
        "agent": {**_described(program), "source": program.source.to_json()},
        "precision": candidate.precision,
        "options": candidate.options.model_dump(mode="json"),
        "passes": candidate.passes,
        "threads": threads,
        "calibration": _samples_digest(candidate, calibration),
        "compilers": compilers(candidate.engine),
        "machine": architecture(),
        "cpu_features": sorted(cpu_features()),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def compilers(engine: str) -> dict[str, str]:
    """What the builds of an engine go through, each by what identifies it: libraries, grandopt, compilers."""
    return {**compiler_identity(), **engine_identity(engine), **_toolchain_identity(engine)}


def _as_it_is(program: Program, candidate: Candidate, store: Store, threads: int) -> Artifact:
    name = key(program, candidate, threads)
    return store.get(name) or _put(store, name, program, candidate, threads)


def _put(
    store: Store,
    name: str,
    program: Program,
    candidate: Candidate,
    threads: int,
    calibration: Sequence[Array] | None = None,
) -> Artifact:
    lowered = _lower(program, candidate.options, threads, calibration)
    manifest = Manifest(
        **_described(program),
        source=program.source,
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
        known_defect=lowered.known_defect,
    )
    return store.put(name, manifest, lowered.files)


def _described(program: Program) -> dict[str, Any]:
    return {
        "name": program.name,
        "signature": program.signature.to_json(),
        "contract": asdict(program.contract),
    }


def _samples_digest(candidate: Candidate, calibration: Sequence[Array] | None) -> str | None:
    """The samples' part of the key, for the candidates that look at them."""
    looks = candidate.calibrated or candidate.scaled or candidate.weighs
    return arrays_digest(calibration) if looks and calibration is not None else None


def _lower(
    program: Program,
    options: EngineOptions,
    threads: int = 1,
    calibration: Sequence[Array] | None = None,
) -> Lowered:
    match options.engine:
        case "eager":
            from grandopt.compiler.backends import eager

            return eager.lower(program, options)
        case "torchscript":
            from grandopt.compiler.backends import torchscript

            return torchscript.lower(program, options)
        case "native":
            from grandopt.compiler.backends.native import backend

            return backend.lower(program, options, calibration)
        case "inductor":
            from grandopt.compiler.backends import inductor

            return inductor.lower(program, options, threads)
        case "onnxruntime":
            from grandopt.compiler.backends import onnxruntime

            return onnxruntime.lower(program, options, calibration)
        case "openvino":
            from grandopt.compiler.backends import openvino

            return openvino.lower(program, options, calibration)


def _toolchain_identity(engine: str) -> dict[str, str]:
    """The C compiler and C sources that builds go through; empty for engines that write no C.

    Without a C compiler the build will say so; until then the key says that there was none.
    """
    if ENGINE_CLASSES.get(engine, Engine).compiler != "c":
        return {}
    from grandopt.compiler.backends.native import backend

    try:
        return backend.identity()
    except EngineUnavailableError as error:
        return {"c_compiler": str(error)}
