"""One network through capture, native engine and verification."""

from __future__ import annotations

import tempfile
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from grandopt.artifacts.machine import architecture, cpu_features
from grandopt.artifacts.manifest import Source
from grandopt.artifacts.store import Store
from grandopt.compiler.backends.float64 import reference
from grandopt.compiler.backends.native.levels import levels_for
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.program import FORWARD_ERRORS, Program, evaluate
from grandopt.config.engines import NativeOptions
from grandopt.config.schema import Limits
from grandopt.errors import (
    ArtifactError,
    BuildError,
    CaptureError,
    PassError,
    SignatureError,
    UnsupportedError,
    VerificationError,
)
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.loader import load
from grandopt.signature import Array
from grandopt.verification.inputs import cases
from grandopt.verification.oracle import Oracle
from grandopt.verification.verify import verify
from tests.native.databases.function import Found

Ending = Literal[
    "exact", "refused", "not captured", "not comparable", "wrong", "crashed", "build error", "escaped"
]
FAULTS: tuple[Ending, ...] = ("wrong", "crashed", "build error", "escaped")
LIMITS = Limits(relative_l2=0.02, agreement=0.98)
LEVEL = next(level.name for level in levels_for(architecture()) if cpu_features().issuperset(level.features))


@dataclass(frozen=True)
class Outcome:
    """What became of one network, and why."""

    ending: Ending
    reason: str = ""


class Original(Executor):
    """The network as torch computes it."""

    def __init__(self, program: Program) -> None:
        super().__init__(program.signature, program.contract)
        self._program = program

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        outputs = evaluate(self._program.module, [torch.from_numpy(np.array(array)) for array in inputs])
        return tuple(output.contiguous().numpy() for output in outputs)


def attempt(name: str, found: Found) -> Outcome:
    """The network captured, built at this machine's level, loaded again and verified, as the product does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _attempt(name, found)


def _attempt(name: str, found: Found) -> Outcome:
    source = Source(format="memory", weights="memory", details={})
    try:
        program = capture(Checkpoint(name, found.network, found.specs, source), 0)
    except (CaptureError, SignatureError) as error:
        return Outcome("not captured", str(error))
    except FORWARD_ERRORS as error:
        return Outcome("escaped", f"capture: {type(error).__name__}: {str(error)[:200]}")
    if program.exported is None:
        return Outcome("not captured", program.refusal("export").text)
    try:
        oracle = Oracle.prepare(
            reference(program), Original(program), cases(program.signature), program.contract
        )
    except VerificationError as error:
        return Outcome("not comparable", str(error))
    except FORWARD_ERRORS as error:
        return Outcome("not comparable", f"{type(error).__name__}: {error}")
    with tempfile.TemporaryDirectory(prefix="databases-") as folder:
        try:
            candidate = Candidate("float32", NativeOptions(levels=(LEVEL,)))
            executor = load(build(program, candidate, Store(Path(folder))).path)
        except UnsupportedError as error:
            return Outcome("refused", str(error))
        except (ArtifactError, BuildError, PassError) as error:
            return Outcome("build error", f"{type(error).__name__}: {error}")
        except (*FORWARD_ERRORS, NotImplementedError, RecursionError) as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            return Outcome("escaped", f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})")
        verdict = verify(executor, oracle, precision="float32", limits=LIMITS)
    return Outcome("exact") if verdict.passed else Outcome("wrong", str(verdict.reason or ""))
