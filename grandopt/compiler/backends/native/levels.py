"""CPU feature levels that code is generated for, each with explicit compiler flags.

The names follow the x86-64 psABI's microarchitecture levels; "-amx" adds the dot products of bfloat16 and
int8, in vectors and in tiles. A level is never "the machine at hand": what it needs is listed, recorded in
the artifact, and compared with the CPU at load.
"""

from __future__ import annotations

from dataclasses import dataclass

from grandopt.errors import UnsupportedError


@dataclass(frozen=True)
class Level:
    """One target: vector lanes (float32), vector registers, features that the CPU must have, and flags.

    A `reduced` level has more than the next one for weights of reduced precision only.
    """

    name: str
    architecture: str
    lanes: int
    registers: int
    features: tuple[str, ...]
    flags: tuple[str, ...]
    reduced: bool = False

    @property
    def tiles(self) -> bool:
        """Whether it multiplies matrices in AMX tiles."""
        return "amx_tile" in self.features


V4_FEATURES = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx2", "fma", "f16c", "bmi1", "bmi2")
V4_FLAGS = (
    "-mavx512f",
    "-mavx512bw",
    "-mavx512dq",
    "-mavx512vl",
    "-mavx2",
    "-mfma",
    "-mf16c",
    "-mbmi",
    "-mbmi2",
)

LEVELS: tuple[Level, ...] = (
    Level(
        "x86-64-v4-amx",
        "x86_64",
        16,
        32,
        (*V4_FEATURES, "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16", "amx_int8"),
        (*V4_FLAGS, "-mavx512bf16", "-mavx512vnni", "-mamx-tile", "-mamx-bf16", "-mamx-int8"),
        reduced=True,
    ),
    Level("x86-64-v4", "x86_64", 16, 32, V4_FEATURES, V4_FLAGS),
    Level(
        "x86-64-v3",
        "x86_64",
        8,
        16,
        ("avx2", "fma", "f16c", "bmi1", "bmi2"),
        ("-mavx2", "-mfma", "-mf16c", "-mbmi", "-mbmi2"),
    ),
    Level("armv8-a", "aarch64", 4, 32, ("asimd",), ("-march=armv8-a",)),
)
"""From the most to the least demanding; a loader takes the first that fits."""


def levels_for(architecture: str, names: tuple[str, ...] = (), *, reduced: bool = False) -> tuple[Level, ...]:
    """The levels of an architecture (as `platform.machine()` calls it), or those of `names` among them.

    Without names, levels that serve only weights of reduced precision are left out unless these are
    `reduced`. Raises UnsupportedError when there is none.
    """
    architecture = {"AMD64": "x86_64", "arm64": "aarch64"}.get(architecture, architecture)
    fitting = tuple(
        level
        for level in LEVELS
        if level.architecture == architecture
        and (level.name in names if names else reduced or not level.reduced)
    )
    if not fitting:
        known = ", ".join(f"{level.name} ({level.architecture})" for level in LEVELS)
        raise UnsupportedError(f"no feature level for {architecture} {list(names) or ''}; known are {known}")
    return fitting
