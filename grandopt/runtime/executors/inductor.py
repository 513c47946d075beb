"""The AOTInductor engine: a shared library that torch's compiler made of the network."""

from __future__ import annotations

from typing import Any

import torch

from grandopt.artifacts.artifact import Artifact
from grandopt.errors import ArtifactError, first_line
from grandopt.runtime.executors.tensor import Forward, TensorExecutor, executor

LIBRARY = "library.so"
SINGLE = "single.so"
"""The library for batches of 1 alone, where there is one."""


def load(artifact: Artifact, threads: int) -> TensorExecutor:
    """The executor of an AOTInductor artifact; no compiler is needed.

    The caller has made sure that this processor has the features that the library was compiled for: opening
    a library runs code of it. `threads` becomes the number of threads of torch's operators in this whole
    process; kernels of the library itself keep the number that they were built for. Raises ArtifactError
    when the library cannot be opened.
    """
    torch.set_num_threads(threads)
    forward = _opened(artifact, LIBRARY)
    if artifact.manifest.options.get("single"):
        forward = by_batch(_opened(artifact, SINGLE), forward)
    return executor(artifact, forward)


def library_forward(path: str, outputs: int) -> Forward:
    """The library at `path` as a function of one tensor per input, giving its one output or a list of them.

    This is the runner inside what `torch._inductor.aoti_load_package` gives, without that wrapper, which
    parses a description of the arguments at each call.
    """
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
    path = artifact.payload_path(name)
    try:
        return library_forward(str(path), len(artifact.manifest.parsed_signature().outputs))
    except RuntimeError as error:
        raise ArtifactError(
            f"{path}: torch {torch.__version__} cannot open it: {first_line(error)}; build it again"
        ) from error
