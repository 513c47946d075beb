"""The vector functions against float64, over the whole range of float32."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch

from grandopt.artifacts.machine import architecture, cpu_features
from grandopt.compiler.backends.native.levels import IsaLevel, levels_for
from grandopt.compiler.backends.native.toolchain import FLAGS, find_compiler
from grandopt.signature import Array

FUSED = ("-mfma",) if architecture() == "x86_64" else ()  # NEON has fused multiply-adds, plain SSE has not
LEVELS = [level for level in levels_for(architecture()) if cpu_features().issuperset(level.features)]
LEVELS.append(IsaLevel("generic", architecture(), 4, 32, (), FUSED))  # what other architectures are given
SMALLEST = np.float64(np.finfo(np.float32).tiny)

Exact = Callable[[torch.Tensor], torch.Tensor]
FUNCTIONS: dict[str, tuple[Exact, float]] = {
    "exp": (torch.exp, 4),
    "expm1": (torch.expm1, 4),
    "log": (torch.log, 4),
    "log1p": (torch.log1p, 4),
    "tanh": (torch.tanh, 4),
    "sigmoid": (torch.sigmoid, 4),
    "erf": (torch.erf, 4),
    "gelu": (lambda x: 0.5 * x * torch.special.erfc(-x / math.sqrt(2)), 1e-6 * 2**23),
}
"""What each stands for, and how far it may be from that, in units of the last place; for gelu the bound is
relative, in units of 2⁻²³."""

SOURCE = """
#define EXPORT __attribute__((visibility("default")))
#define APPLY(name) EXPORT void apply_##name(const float *x, float *y, int n) \\
    { for (int i = 0; i + VL <= n; i += VL) v_store(y + i, v_##name(v_load(x + i))); }
"""


@pytest.fixture(scope="module", params=LEVELS, ids=lambda level: level.name)
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The header's functions, as loops over arrays."""
    return compile_functions(request.param, tmp_path_factory.mktemp("mathematics"))


def compile_functions(level: IsaLevel, folder: Path) -> ctypes.CDLL:
    headers = resources.files("grandopt.compiler.backends.native.render")
    text = f"#define VL {level.lanes}\n"
    text += "".join(headers.joinpath(name).read_text() for name in ("simd.h", "mathematics.h"))
    text += SOURCE + "".join(f"APPLY({name})\n" for name in FUNCTIONS)
    (folder / "functions.c").write_text(text)
    find_compiler().run([*FLAGS, *level.flags, "-shared", "functions.c", "-o", "functions.so", "-lm"], folder)
    return ctypes.CDLL(str(folder / "functions.so"))


def apply(library: ctypes.CDLL, name: str, x: Array) -> Array:
    y = np.empty_like(x)
    library[f"apply_{name}"](ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data), x.size)
    return y


def every(step: int) -> Array:
    """Every `step`-th float32 by its bits: both signs, denormals, infinities and NaNs among them."""
    bits = np.arange(0, 2**32, step, dtype=np.uint64).astype(np.uint32)
    return np.ascontiguousarray(bits[: bits.size // 64 * 64].view(np.float32))


def worst(name: str, x: Array, y: Array) -> float:
    """The largest error in units of the last place; raises AssertionError where a special value is wrong."""
    exact = FUNCTIONS[name][0](torch.from_numpy(x).double()).numpy()
    rounded = exact.astype(np.float32)
    with np.errstate(invalid="ignore"):
        normal = np.isfinite(rounded) & (np.abs(exact) >= SMALLEST) & (np.abs(x) >= SMALLEST)
        big = np.isinf(rounded) & ~np.isnan(x)
    assert np.isnan(y[np.isnan(x)]).all()
    edge = np.abs(exact[big]) < 3.4028236e38 * (1 + 1e-6)  # rounding alone decides these
    np.testing.assert_array_equal(y[big][~edge], rounded[big][~edge])
    tiny = np.isfinite(rounded) & ~normal
    assert (np.abs(y[tiny].astype(np.float64)) <= 1.01 * np.maximum(SMALLEST, np.abs(exact[tiny]))).all() or (
        name == "log"  # a denormal counts as zero
    )
    size = np.abs(rounded[normal])
    unit = size.astype(np.float64) * 2.0**-23 if name == "gelu" else np.spacing(size).astype(np.float64)
    return float((np.abs(y[normal].astype(np.float64) - exact[normal]) / unit).max(initial=0.0))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_over_a_sample_of_all_floats(library: ctypes.CDLL, name: str) -> None:
    x = every(4093)
    with np.errstate(over="ignore"):
        assert worst(name, x, apply(library, name, x)) <= FUNCTIONS[name][1]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_where_agents_live(library: ctypes.CDLL, name: str) -> None:
    x = np.linspace(-20, 20, 1 << 20, dtype=np.float32)
    assert worst(name, x, apply(library, name, x)) <= FUNCTIONS[name][1]


@pytest.mark.stress
@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_over_very_many_floats(library: ctypes.CDLL, name: str) -> None:
    x = every(127)
    with np.errstate(over="ignore"):
        assert worst(name, x, apply(library, name, x)) <= FUNCTIONS[name][1]
