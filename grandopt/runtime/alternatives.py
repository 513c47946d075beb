"""Other ways to run what lies in an artifact, for comparison: none of them is an engine of artifacts.

Each function opens one in the way of `loader.load`, and raises as that does. torch.compile makes what it runs
in the process that calls it, from the artifact of an original; ONNX Runtime's plain `run` is what is called
where memory is not bound in advance.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from grandopt.artifacts.artifact import read
from grandopt.runtime.loader import check_fit

if TYPE_CHECKING:
    from grandopt.runtime.executors.onnxruntime import UnboundExecutor
    from grandopt.runtime.executors.torch_compile import CompiledExecutor, CompileVariant


def torch_compile(path: Path | str, *, trust: bool = False, threads: int | None = None) -> CompiledExecutor:
    """torch.compile as it comes."""
    return _compiled(path, trust, threads, "default")


def torch_compile_freezing(
    path: Path | str, *, trust: bool = False, threads: int | None = None
) -> CompiledExecutor:
    """torch.compile with frozen weights and few guards."""
    return _compiled(path, trust, threads, "freezing")


def torch_compile_templates(
    path: Path | str, *, trust: bool = False, threads: int | None = None
) -> CompiledExecutor:
    """The same with matrix products from Inductor's C++ templates."""
    return _compiled(path, trust, threads, "templates")


def onnxruntime_run(path: Path | str, *, trust: bool = False, threads: int | None = None) -> UnboundExecutor:
    """An artifact of ONNX Runtime through `InferenceSession.run`."""
    from grandopt.runtime.executors import onnxruntime

    artifact = read(Path(path))
    check_fit(artifact, trust=trust)
    return onnxruntime.load_unbound(artifact, artifact.manifest.threads if threads is None else threads)


def _compiled(
    path: Path | str, trust: bool, threads: int | None, variant: CompileVariant
) -> CompiledExecutor:
    from grandopt.runtime.executors import torch_compile

    artifact = read(Path(path))
    check_fit(artifact, trust=trust)
    return torch_compile.load(artifact, artifact.manifest.threads if threads is None else threads, variant)
