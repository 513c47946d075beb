"""The TorchScript engine: a frozen graph in torch's own interpreter."""

from __future__ import annotations

import io
import warnings
from typing import Any, NamedTuple

import torch

from grandopt.artifacts.artifact import Artifact
from grandopt.artifacts.manifest import STATES_DIGEST
from grandopt.errors import ArtifactError, first_line
from grandopt.runtime.executors.interface import STATEMENT, check_text, signature_text
from grandopt.runtime.executors.options import option
from grandopt.runtime.executors.shared import contents, shared
from grandopt.runtime.executors.tensor import TensorExecutor, executor

PROGRAM = "program.pt"


def load(artifact: Artifact, threads: int) -> TensorExecutor:
    """The executor of a TorchScript artifact.

    `optimize_for_inference` is done here, after loading, because its result cannot be saved and loaded
    reliably. `threads` becomes the number of threads of torch's operators in this whole process. Raises
    ArtifactError when the payload cannot be loaded.
    """
    torch.set_num_threads(threads)
    optimize = option(artifact, "optimize_for_inference", (True, False))
    opened = shared(contents(artifact, threads), lambda: _opened(artifact, optimize=optimize))
    _check_statement(artifact, opened.value.stated)
    # The method itself: calling the module would pass through nn.Module's hooks, of which it has none.
    return executor(artifact, opened.value.module.forward, opened)


class OpenedArchive(NamedTuple):
    """An archive: its module, and what it states of its tensors."""

    module: torch.jit.ScriptModule
    stated: bytes


def _opened(artifact: Artifact, *, optimize: bool) -> OpenedArchive:
    content = artifact.payload(PROGRAM)
    try:
        with warnings.catch_warnings():
            # TorchScript is deprecated upstream and says so at every entry; it is one engine among several.
            warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
            if artifact.manifest.precision == "int8_dynamic":
                _take_quantizer_warning()
            stated: dict[str, Any] = {STATEMENT: b""}
            module = torch.jit.load(io.BytesIO(content), map_location="cpu", _extra_files=stated)
            if optimize:
                module = torch.jit.optimize_for_inference(module)
            return OpenedArchive(module, stated[STATEMENT])
    except RuntimeError as error:
        raise ArtifactError(
            f"{artifact.path / PROGRAM}: torch {torch.__version__} cannot load it: {first_line(error)}; "
            f"build it again"
        ) from error


def _check_statement(artifact: Artifact, stated: bytes) -> None:
    """Raise ArtifactError unless the archive states the manifest's tensors; earlier ones state nothing."""
    if stated or artifact.manifest.format_version >= STATES_DIGEST:
        said = signature_text(artifact.manifest.parsed_signature())
        check_text(artifact, said, stated.decode("utf-8", errors="replace"))


def _take_quantizer_warning() -> None:
    # Once per process torch warns that quantized tensors are deprecated. Raised while an archive is read, it
    # goes past Python straight to stderr; raised here first, it can be silenced and is not raised again.
    warnings.filterwarnings("ignore", "torch.quantize_per_tensor", UserWarning)
    torch.quantize_per_tensor(torch.zeros(1), 1.0, 0, torch.qint8)
