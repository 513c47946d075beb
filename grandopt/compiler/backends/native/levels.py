"""CPU feature levels that code is generated for, each with explicit compiler flags.

The names follow the x86-64 psABI's microarchitecture levels and Arm's architecture versions; what stands
behind them says which instructions a level adds for weights of reduced precision: "-vnni", "-avxvnni" and
"-dotprod" dot products of bytes, "-bf16" those of bfloat16, "-amx" both, in vectors and in tiles. A level is
never "the machine at hand": what it needs is listed, recorded in the artifact, and compared with the CPU at
load.

Not there: AVX-VNNI-INT8, which multiplies signed by signed bytes: GCC 12 cannot compile it, and all that it
would save is where a sum of unsigned codes starts from, which is a load in the place of a zero. SVE: the
length of a vector is in the text, and a loader that reads features alone would not know the CPU's. Arm's
USDOT (i8mm): the codes of a level with SDOT are signed already.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, get_args

from grandopt.errors import UnsupportedError

StoredWeights = Literal["float32", "bfloat16", "int8"]
"""How the weights of large products are stored."""


@dataclass(frozen=True)
class IsaLevel:
    """One target: vector lanes (float32), vector registers, features that the CPU must have, and flags.

    `gains` names the weights for which its code is another than that of the next lower level. `pairs` says
    whether its products with bfloat16 weights multiply pairs of such numbers, or widened ones (on Zen 4, 60
    rows by 768 × 768 weights take 303 µs in pairs and 602 µs widened). `seldom` names the weights for which
    nearly all CPUs of this level have a higher one, too.
    """

    name: str
    architecture: str
    lanes: int
    registers: int
    features: tuple[str, ...]
    flags: tuple[str, ...]
    gains: tuple[StoredWeights, ...] = get_args(StoredWeights)
    pairs: bool = False
    seldom: tuple[StoredWeights, ...] = ()

    @property
    def tiles(self) -> bool:
        """Whether it multiplies matrices in AMX tiles."""
        return "amx_tile" in self.features


V3_FEATURES = ("avx2", "fma", "f16c", "bmi1", "bmi2")
V3_FLAGS = ("-mavx2", "-mfma", "-mf16c", "-mbmi", "-mbmi2")
V4_FEATURES = ("avx512f", "avx512bw", "avx512dq", "avx512vl", *V3_FEATURES)
V4_FLAGS = ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", *V3_FLAGS)

LEVELS: tuple[IsaLevel, ...] = (
    IsaLevel(
        "x86-64-v4-amx",
        "x86_64",
        16,
        32,
        (*V4_FEATURES, "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16", "amx_int8"),
        (*V4_FLAGS, "-mavx512bf16", "-mavx512vnni", "-mamx-tile", "-mamx-bf16", "-mamx-int8"),
        gains=("bfloat16", "int8"),
        pairs=True,
    ),
    IsaLevel(
        "x86-64-v4-bf16",
        "x86_64",
        16,
        32,
        (*V4_FEATURES, "avx512_bf16", "avx512_vnni"),
        (*V4_FLAGS, "-mavx512bf16", "-mavx512vnni"),
        gains=("bfloat16",),
        pairs=True,
    ),
    IsaLevel(
        "x86-64-v4-vnni",
        "x86_64",
        16,
        32,
        (*V4_FEATURES, "avx512_vnni"),
        (*V4_FLAGS, "-mavx512vnni"),
        gains=("int8",),
    ),
    # Of the CPUs with AVX-512 only Skylake's servers and workstations (2017) and Cannon Lake lack VNNI.
    IsaLevel("x86-64-v4", "x86_64", 16, 32, V4_FEATURES, V4_FLAGS, seldom=("int8",)),
    IsaLevel(
        "x86-64-v3-avxvnni",
        "x86_64",
        8,
        16,
        (*V3_FEATURES, "avx_vnni"),
        (*V3_FLAGS, "-mavxvnni"),
        gains=("int8",),
    ),
    IsaLevel("x86-64-v3", "x86_64", 8, 16, V3_FEATURES, V3_FLAGS),
    IsaLevel(
        "armv8.2-a-bf16",
        "aarch64",
        4,
        32,
        ("asimd", "asimddp", "bf16"),
        ("-march=armv8.2-a+dotprod+bf16",),
        gains=("bfloat16",),
        pairs=True,
    ),
    IsaLevel(
        "armv8.2-a-dotprod",
        "aarch64",
        4,
        32,
        ("asimd", "asimddp"),
        ("-march=armv8.2-a+dotprod",),
        gains=("int8",),
    ),
    IsaLevel("armv8-a", "aarch64", 4, 32, ("asimd",), ("-march=armv8-a",)),
)
"""From the most to the least demanding; a loader takes the first that fits."""


def levels_for(
    architecture: str,
    names: Collection[str] = (),
    *,
    weights: StoredWeights | Collection[StoredWeights] = "float32",
    paired: bool = False,
    vector_bits: int | None = None,
    present: Collection[str] = (),
) -> tuple[IsaLevel, ...]:
    """The levels of an architecture (as `platform.machine()` calls it), or those of `names` among them.

    Without names, those that matter for `weights` so stored, or stored in each of these ways: whose code is
    another than the next lower level's, and which are the best of more than a few CPUs, or of the one with
    the features `present`; where what is computed is multiplied in pairs of bfloat16 numbers (`paired`), also
    those that can. With `vector_bits`, only those whose vectors are no longer. Raises UnsupportedError when
    there is none, and when none has vectors of exactly `vector_bits`, or none longer ones: the artifact would
    be one that other options give.
    """
    known = of_architecture(architecture)
    kinds = {weights} if isinstance(weights, str) else {*weights}
    if names:
        fitting = tuple(level for level in known if level.name in names)
    else:
        gaining = [level for level in known if kinds & {*level.gains} or (paired and level.pairs)]
        here = next((level for level in gaining if set(level.features) <= set(present)), None)
        fitting = tuple(level for level in gaining if not kinds & {*level.seldom} or level is here)
    if not fitting:
        listed = ", ".join(f"{level.name} ({level.architecture})" for level in LEVELS)
        raise UnsupportedError(f"no feature level for {architecture} {list(names) or ''}; known are {listed}")
    if vector_bits is None:
        return fitting
    bits = {level: 32 * level.lanes for level in fitting}
    if vector_bits not in bits.values():
        raise UnsupportedError(f"no feature level of {architecture} has vectors of {vector_bits} bits")
    if max(bits.values()) == vector_bits:
        raise UnsupportedError(f"none of the feature levels has vectors of more than {vector_bits} bits")
    return tuple(level for level in fitting if bits[level] <= vector_bits)


def of_architecture(architecture: str) -> tuple[IsaLevel, ...]:
    """All levels of an architecture (as `platform.machine()` calls it), the most demanding first."""
    name = {"AMD64": "x86_64", "arm64": "aarch64"}.get(architecture, architecture)
    return tuple(level for level in LEVELS if level.architecture == name)
