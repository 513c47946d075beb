"""The AOTInductor engine: a shared library that torch's compiler made of the network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from grandopt.artifacts.artifact import Artifact
from grandopt.artifacts.manifest import STATES_DIGEST
from grandopt.artifacts.regular import open_regular
from grandopt.artifacts.sealed import SealedFile
from grandopt.errors import ArtifactError, first_line
from grandopt.runtime.executors.interface import check_text, signature_text
from grandopt.runtime.executors.io_binding import Binding, BoundExecutor
from grandopt.runtime.executors.options import option, positions
from grandopt.runtime.executors.tensor import CALL_ERRORS, Forward, executor, owning
from grandopt.signature import Array, Signature

LIBRARY = "library.so"
SINGLE = "single.so"
"""The library for batches of 1 alone, where there is one."""

TILES = "amx_tile"
"""The CPU feature whose use Linux permits a process only on request."""

_MARK = b"\0grandopt interface\n"
_FURTHEST = 1 << 16
"""Bytes before a library's end within which the mark lies."""

_copies: dict[str, SealedFile] = {}
"""Sealed copies of libraries that were opened, by their digests. They stay: C++ has symbols that exist once
in a process (STB_GNU_UNIQUE); a library with one is never closed, so that its path must remain its own."""

_InferenceMode = torch._C._InferenceMode


def load(artifact: Artifact, threads: int) -> InductorExecutor:
    """The executor of an AOTInductor artifact; no compiler is needed.

    The caller has made sure that this processor has the features that the library was compiled for: opening
    a library runs code of it. `threads` becomes the number of threads of torch's operators in this whole
    process; kernels of the library itself keep the number that they were built for. Raises ArtifactError
    when the library cannot be opened, or uses AMX's tiles and the system does not permit that.
    """
    if TILES in artifact.manifest.cpu_features and not permit_tiles():
        raise ArtifactError(
            f"{artifact.path}: uses AMX's tiles, and the system does not let this process use them; build it "
            f"again here"
        )
    torch.set_num_threads(threads)
    library = _opened(artifact, LIBRARY)
    single = _opened(artifact, SINGLE) if option(artifact, "single", (True, False)) else library
    return InductorExecutor(artifact, single, library)


def with_statement(library: bytes, signature: Signature) -> bytes:
    """A library that carries what it takes and gives, behind its end, where the system never looks."""
    return library + _MARK + signature_text(signature).encode()


def _check_statement(artifact: Artifact, path: Path) -> None:
    """Raise ArtifactError unless the library carries the manifest's tensors."""
    with open_regular(path) as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _FURTHEST))
        _, mark, stated = file.read().rpartition(_MARK)
    if not mark and artifact.manifest.format_version < STATES_DIGEST:
        return  # an earlier release's carries nothing, and nothing else in its artifact tells
    said = signature_text(artifact.manifest.parsed_signature())
    check_text(artifact, said, stated.decode("utf-8", errors="replace") if mark else "")


class InductorExecutor(BoundExecutor):
    """An agent in a library that gives new tensors at each call.

    `single` takes batches of 1, `library` the others. The library is reached through the runner inside what
    `torch._inductor.aoti_load_package` gives, without that wrapper, which parses a description of the
    arguments at each call. Calls are made in inference mode: outside it, every operator that the library
    leaves to torch costs microseconds more.
    """

    def __init__(self, artifact: Artifact, single: Forward, library: Forward) -> None:
        manifest = artifact.manifest
        super().__init__(manifest.parsed_signature(), manifest.parsed_contract(), CALL_ERRORS)
        copied = positions(artifact, "copied_outputs", len(self._outputs))
        self._single = owning(single, copied, single=len(self._outputs) == 1)
        self._batch = executor(artifact, library)

    def _bind(self) -> Binding:
        arrays, _ = self._memory()
        tensors = [torch.from_numpy(array) for array in arrays]
        forward, one_to_one = self._single, len(arrays) == len(self._outputs) == 1
        first = arrays[0]
        several = len(self._outputs) > 1

        def run(given: Sequence[Array]) -> tuple[Array, ...]:
            for bound, array in zip(arrays, given, strict=True):
                bound[...] = array
            with _InferenceMode(True):
                outputs = forward(*tensors)
                return tuple([output.numpy() for output in (outputs if several else (outputs,))])

        def run_one_to_one(given: Sequence[Array]) -> tuple[Array, ...]:
            first[...] = given[0]
            with _InferenceMode(True):
                return (forward(*tensors).numpy(),)

        chosen = run_one_to_one if one_to_one else run

        def run_into(given: Sequence[Array], targets: Sequence[Array]) -> None:
            for target, output in zip(targets, chosen(given), strict=True):
                np.copyto(target, output)

        return Binding(chosen, run_into)

    def _any_batch(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        return self._batch.run(inputs)


def permit_tiles() -> bool:
    """Ask the system to let this process use AMX's tiles, and tell whether it does.

    Compiled libraries do not ask, and the first instruction without permission ends the process with SIGILL
    (Linux, Documentation/arch/x86/xstate.rst). torch asks with arch_prctl(ARCH_REQ_XCOMP_PERM), which holds
    for all threads; asking twice is allowed.
    """
    return bool(torch.cpu._init_amx())


def library_forward(path: str, outputs: int) -> Forward:
    """The library at `path` as a function of one tensor per input that gives its output or a list of them."""
    run: Any = torch._C._aoti.AOTIModelContainerRunnerCpu(path, 1).run
    if outputs == 1:
        return lambda *inputs: run(inputs)[0]
    return lambda *inputs: run(inputs)


def by_batch(single: Forward, others: Forward) -> Forward:
    """`single` for batches of 1 and `others` for the rest."""

    def forward(*inputs: torch.Tensor) -> Any:
        return single(*inputs) if len(inputs[0]) == 1 else others(*inputs)

    return forward


def _opened(artifact: Artifact, name: str) -> Forward:
    path, copy = artifact.payload_path(name), artifact.sealed(name)
    if copy is not None:
        path = _copies.setdefault(artifact.entry(name).sha256, copy).path
    _check_statement(artifact, path)
    try:
        return library_forward(str(path), len(artifact.manifest.parsed_signature().outputs))
    except RuntimeError as error:
        raise ArtifactError(
            f"{path}: torch {torch.__version__} cannot open it: {first_line(error)}; build it again"
        ) from error
