"""The AOTInductor engine: the exported program compiled to C++ and from there to a shared library."""

from __future__ import annotations

import copy
import logging
import re
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch._inductor import config, exc
from torch._inductor.cpu_vec_isa import pick_vec_isa

from grandopt.artifacts.machine import architecture, cpu_features
from grandopt.compiler.backends.base import Lowered
from grandopt.compiler.backends.calling import conventions, stateless
from grandopt.compiler.program import FORWARD_ERRORS, Program
from grandopt.compiler.torch_faults import mend_lstm_states
from grandopt.config.engines import InductorOptions
from grandopt.errors import BuildError, first_line
from grandopt.runtime.executors.inductor import (
    LIBRARY,
    SINGLE,
    by_batch,
    library_forward,
    permit_tiles,
    with_statement,
)

LEVELS: tuple[tuple[str, frozenset[str]], ...] = (
    ("x86-64-v4", frozenset(["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"])),
    ("x86-64-v3", frozenset(["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"])),
    ("x86-64-v2", frozenset(["cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"])),
)
"""The x86-64 psABI's levels from high to low, each with what it adds to the next, as the kernel names it."""

GEMM: dict[str, dict[str, Any]] = {
    "library": {},
    "templates": {"freezing": True, "max_autotune": True, "max_autotune_gemm_backends": "CPP"},
    "autotune": {"freezing": True, "max_autotune": True, "max_autotune_gemm_backends": "CPP,ATEN"},
}

COMPILER_ERRORS = (exc.InvalidCxxCompiler, exc.CppCompileError, exc.InductorError, *FORWARD_ERRORS)

LOOPS: dict[str, Any] = {"post_grad_fusion_options": {"decompose_mm_pass": {}}}
"""Products of one row become plain loops, which fuse with what is around them. Not together with freezing,
which makes calls of oneDNN of them before."""


def lower(program: Program, options: InductorOptions, threads: int = 1) -> Lowered:
    """The program as `library.so`, for any batch, and `single.so`, for batches of 1, if the options say so.

    The kernels use `threads` threads. Raises UnsupportedError when there is no exported program or it keeps
    state between calls, BuildError with the compiler's first error when the toolchain is missing or fails.
    """
    exported = stateless(program)
    try:
        level, features = target()
    except COMPILER_ERRORS as error:
        raise BuildError(f"{program.name}: AOTInductor failed: {_reason(error)}") from error
    common = {"cpp.threads": threads, **_known({MARCH: level, **_SETTINGS})}
    with tempfile.TemporaryDirectory(prefix="grandopt-") as name:
        built = [_compiled(program, exported, Path(name) / LIBRARY, common | GEMM[options.gemm])]
        if options.single:
            one = _for_one(program, exported)
            built.append(_compiled(program, one, Path(name) / SINGLE, common | LOOPS))
        if not any(library.tiles for library in built):
            features = tuple(feature for feature in features if not feature.startswith("amx"))
        elif not permit_tiles():
            raise BuildError(f"{program.name}: the system does not let this process use AMX's tiles")
        forwards = [library_forward(str(library.path), len(program.signature.outputs)) for library in built]
        forward = by_batch(forwards[1], forwards[0]) if options.single else forwards[0]
        calling = conventions(program, torch.nn.Module(), forward)
        files = {
            library.path.name: with_statement(library.path.read_bytes(), program.signature)
            for library in built
        }
    return Lowered(
        files=files,
        options={**options.model_dump(), **calling},
        requires={"torch": metadata.version("torch")},
        cpu_features=features,
    )


@dataclass(frozen=True)
class _Library:
    """A compiled library; `tiles` says whether code of it uses AMX's tiles."""

    path: Path
    tiles: bool


def target() -> tuple[str | None, tuple[str, ...]]:
    """What the compiler is told to make code for (None: its own idea of this machine), and the CPU features
    that such code needs, among those that this machine has.

    On x86-64 that is the highest level that the machine has, and the vector extensions Inductor adds to it.
    Before torch 2.13 nobody can tell it: it makes code for all that this machine has.
    """
    present = cpu_features()
    if architecture() != "x86_64" or not _known({MARCH: None}):
        return None, tuple(sorted(present))
    level, needed = "x86-64", frozenset[str]()
    for name, added in reversed(LEVELS):
        if not added <= present:
            break
        level, needed = name, needed | added
    # Compilers and the kernel write some of the names differently: amx-tile and amx_tile.
    flags = {_plain(flag.removeprefix("-m")) for flag in str(pick_vec_isa().build_arch_flags()).split()}
    return level, tuple(sorted(needed | {name for name in present if _plain(name) in flags}))


MARCH = "cpp.march"

_SETTINGS: dict[str, Any] = {
    "aot_inductor.enable_line_tables": False,
    "aot_inductor.enable_frame_pointer": False,
    "max_autotune_report_choices_stats": False,
    "autotune_num_choices_displayed": 0,
    "compile_threads": 1,  # no pool of processes that outlives the build
}

_TILES = b"_tile_loadconfig"
"""What the generated source has wherever it uses tiles: without flags of its own no compiler writes that
instruction, so that AMX in the target does not mean AMX in the code."""

_FIRST_ERROR = re.compile(r"^.*?\b(?:fatal )?error: (.+)$", re.MULTILINE)


def _known(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the settings that this version of torch has; the others came later."""
    known = {}
    for name, value in settings.items():
        section, _, setting = name.rpartition(".")
        if hasattr(getattr(config, section) if section else config, setting):
            known[name] = value
    return known


def _compiled(
    program: Program, exported: torch.export.ExportedProgram, path: Path, settings: dict[str, Any]
) -> _Library:
    """The shared library of an exported program, written to `path`."""
    mend_lstm_states()
    package = path.with_suffix(".pt2")
    try:
        with _quiet(), torch.no_grad():
            torch._inductor.aoti_compile_and_package(
                # A copy, because the compiler changes the graph that it is given.
                _with_example(program, exported),
                package_path=str(package),
                inductor_configs=settings,
            )
    except COMPILER_ERRORS as error:
        raise BuildError(f"{program.name}: AOTInductor failed: {_reason(error)}") from error
    with zipfile.ZipFile(package) as archive:
        # Beside the library the package holds the generated source, of several times its size.
        libraries = [name for name in archive.namelist() if name.endswith(".so")]
        if len(libraries) != 1:
            raise BuildError(f"{program.name}: AOTInductor made {len(libraries)} libraries, expected one")
        path.write_bytes(archive.read(libraries[0]))
        sources = [name for name in archive.namelist() if name.endswith(".cpp")]
        return _Library(path, tiles=any(_TILES in archive.read(name) for name in sources))


def _with_example(program: Program, exported: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """A copy for the compiler to change. It asks for an example, which a program from a file may lack."""
    twin = copy.deepcopy(exported)
    if twin.example_inputs is None:
        twin.example_inputs = (program.example, {})
    return twin


def _for_one(program: Program, exported: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    example = tuple(value[:1].clone() for value in program.example)
    with torch.no_grad():
        return torch.export.export(exported.module(check_guards=False), example)


def _reason(error: BaseException) -> str:
    """The compiler's first error line if there is one, wherever in the chain of exceptions it is told."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, exc.InvalidCxxCompiler):
            return f"no C++ compiler: {first_line(link)}; install g++ or set CXX"
        output = getattr(link, "output", None) or str(link)
        found = _FIRST_ERROR.search(output)
        if found is not None:
            return f"the C++ compiler says: {found[1]}"
        link = link.__cause__ or link.__context__
    return first_line(error)


def _plain(name: str) -> str:
    return name.replace("-", "").replace("_", "").replace(".", "")


@contextmanager
def _quiet() -> Iterator[None]:
    """What the compiler warns of concerns its authors; what fails, it raises."""
    logger = logging.getLogger("torch._inductor")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(level)
