"""A header held against the original, as every artifact is: compiled and run on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grandopt.artifacts.signing.requirement import OWN_BUILD
from grandopt.artifacts.store import Store
from grandopt.compiler import build
from grandopt.compiler.backends.float64 import reference
from grandopt.compiler.backends.native.plain.header import PlainSource
from grandopt.compiler.backends.native.plain.host import HostExecutor, compile_host
from grandopt.compiler.backends.native.plain.stages import PlainPrecision
from grandopt.compiler.backends.native.toolchain import find_compiler
from grandopt.compiler.program import Program
from grandopt.config.names import DEFAULT_PROFILE
from grandopt.config.profiles import PROFILES
from grandopt.errors import EngineUnavailableError
from grandopt.runtime.loader import load
from grandopt.signature import Array, Signature
from grandopt.verification.episodes import with_states
from grandopt.verification.evidence import Evidence, evidence_of
from grandopt.verification.populations import populations
from grandopt.verification.result import Verification
from grandopt.verification.samples import load_samples
from grandopt.verification.verify import verify
from grandopt.workflows.selection.input_evidence import calibration, limits_of, oracle_of

SEED = 0
ROWS = 128
"""Draws of each kind that int8 is calibrated on."""


@dataclass(frozen=True)
class Observations:
    """What is known of a program's inputs: the evidence, recorded observations of the inputs that are no
    state, and of all inputs; and what int8 is calibrated on, None where nothing is known."""

    evidence: Evidence
    recorded: tuple[Array, ...] | None
    samples: tuple[Array, ...] | None
    calibration: tuple[Array, ...] | None


def observations(program: Program, file: Path | None) -> Observations:
    """What is known of the inputs, with the observations in `file`. Raises SamplesError for a wrong one."""
    observed = program.signature.observed(program.contract)
    recorded = None if file is None else load_samples(file, Signature(observed))
    evidence = evidence_of(observed, recorded=None if recorded is None else len(recorded[0]))
    samples = recorded
    if recorded is not None and program.contract.state:
        with tempfile.TemporaryDirectory(prefix="grandopt-export-") as place:
            original = load(
                build.original(program, Store(Path(place))).path, trust=True, require_signature=OWN_BUILD
            )
            with closing(original):
                samples = with_states(original, recorded)
    return Observations(evidence, recorded, samples, _calibration(program, evidence, samples))


def _calibration(
    program: Program, evidence: Evidence, samples: tuple[Array, ...] | None
) -> tuple[Array, ...] | None:
    """What other builds are calibrated on, and where that are draws, some of every kind that verification
    asks about, such as those at the bounds; of other seeds than its own."""
    drawn = calibration(evidence, program, samples, SEED)
    if drawn is None or samples is not None:
        return drawn
    signature, contract = program.signature, program.contract
    observed = {spec.name for spec in signature.observed(contract)}
    states = [spec.name for spec in signature.inputs if spec.name not in observed]
    kinds = populations(signature, evidence, states=states, rows=ROWS, seed=SEED + 1)
    worlds = [drawn, *(world for kind in kinds for world in kind.worlds)]
    return tuple(np.concatenate(arrays) for arrays in zip(*worlds, strict=True))


def verified(
    program: Program, source: PlainSource, precision: PlainPrecision, known: Observations
) -> Verification | None:
    """The verdict on a header, compiled by this machine's compiler; None where it has none.

    Raises BuildError where the compiler fails, CrashError where the program does.
    """
    try:
        compiler = find_compiler()
    except EngineUnavailableError:
        return None
    with tempfile.TemporaryDirectory(prefix="grandopt-export-") as name:
        place = Path(name)
        original = load(
            build.original(program, Store(place / "store")).path, trust=True, require_signature=OWN_BUILD
        )
        with closing(original):
            oracle = oracle_of(
                known.evidence,
                program,
                reference(program),
                original,
                known.samples,
                SEED,
                observed=known.recorded,
                declared=_declared(program),
                reduced=precision != "float32",
            )
        executor = HostExecutor(
            [str(compile_host(source, compiler, place))], program.signature, program.contract
        )
        with closing(executor):
            return verify(
                executor,
                oracle,
                precision="float32" if precision == "float32" else "int8_static",
                limits=limits_of(PROFILES[DEFAULT_PROFILE].limits, known.evidence),
            )


def _declared(program: Program) -> bool:
    """Whether anybody said what the outputs are."""
    roles: Sequence[str] = [spec.role for spec in program.signature.outputs]
    return program.contract.action != "none" or any(role != "value" for role in roles)
