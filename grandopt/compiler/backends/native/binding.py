"""The CPython binding, compiled from the source that lies beside the executor."""

from __future__ import annotations

import functools
import sysconfig
import tempfile
from importlib import resources
from pathlib import Path

import numpy as np

from grandopt.compiler.backends.native.toolchain import Compiler
from grandopt.errors import EngineUnavailableError

FLAGS = ("-std=gnu11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden")


SOURCES = (
    "native_arguments.h",
    "native_library.h",
    "native_outputs.h",
    "native_scratch.h",
    "native_tiles.h",
    "grandopt_ring.h",
    "native_ring.h",
    "native_serving.h",
    "native_bound.h",
    "native_policy.h",
    "native_binding.c",
)


def binding_sources() -> dict[str, str]:
    """The C files of the binding by name."""
    folder = resources.files("grandopt.runtime.executors")
    return {name: folder.joinpath(name).read_text(encoding="utf-8") for name in SOURCES}


@functools.cache
def compile_binding(compiler: Compiler) -> bytes:
    """The extension module as bytes, the same for all agents; it works with CPython 3.11 and later.

    Raises EngineUnavailableError when Python's C headers are not installed, BuildError when the compiler
    fails.
    """
    headers = Path(sysconfig.get_paths()["include"])
    if not (headers / "Python.h").is_file():
        raise EngineUnavailableError(
            f"Python.h not found in {headers}: install the C headers of this Python (Debian: python3-dev)"
        )
    with tempfile.TemporaryDirectory(prefix="grandopt-binding-") as name:
        folder = Path(name)
        for file, text in binding_sources().items():
            (folder / file).write_text(text, encoding="utf-8")
        includes = [f"-I{headers}", f"-I{np.get_include()}"]
        compiler.run([*FLAGS, *includes, SOURCES[-1], "-o", "binding.so", "-ldl"], folder)
        return (folder / "binding.so").read_bytes()
