"""How many instructions a call is, and whether it is the same ones whatever the numbers: stepped through."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from grandopt.artifacts.machine import architecture
from grandopt.compiler.backends.native.toolchain import find_compiler
from grandopt.errors import BuildError, EngineUnavailableError
from grandopt.signature import Array, Signature, TensorSpec


@dataclass(frozen=True)
class Effort:
    """With how many inputs at most, and how many instructions are stepped through in all, of what hosts call
    and of each other level's function; the 12 first inputs are done in any case. An instruction takes 10 µs
    (Zen 4 under KVM)."""

    inputs: int = 1000
    steps: int = 2_000_000
    steps_of_others: int = 200_000


TIMEOUT_S = 600.0
RED_ZONE = 128
"""Bytes below the stack pointer that a function may use on x86-64 without moving it."""

SUBJECTS = """\
{declarations}
#define INPUTS {inputs}
{buffers}
static void *const in[] = {{{ins}}};
static void *const out[] = {{{outs}}};
static const size_t in_bytes[] = {{{sizes}}};
static _Alignas(64) unsigned char scratch[{scratch} + 64];
{calls}
static const struct subject {{
    const char *name;
    const void *entry, *base;
    int (*call)(void);
}} subjects[] = {{
{rows}
}};
"""


@dataclass(frozen=True)
class Counted:
    """Calls with a batch of 1: their instructions, the bytes of stack from the caller's on, with how many
    inputs; how many of these went another way than the first, and from where, in bytes behind the beginning
    of the level's function."""

    instructions: int
    stack_bytes: int
    inputs: int
    others: int
    left_at: int | None


@dataclass(frozen=True)
class Subjects:
    """What is counted: the agent's `symbol`, its scratch, and the functions of the feature levels that this
    machine can run, the first of which `<symbol>_run` calls."""

    symbol: str
    signature: Signature
    scratch_bytes: int
    invokes: Mapping[str, str]


def count(subjects: Subjects, library: Path, effort: Effort) -> dict[str, Counted] | str:
    """What a call is at each level, that of `<symbol>_run` at the first; a string says why nothing is known.

    It compiles a program with the static `library`, and runs it: the agent's code is executed.
    """
    if architecture() != "x86_64":
        return f"instructions are stepped through on x86-64 alone, and this is {architecture()}"
    try:
        compiler = find_compiler()
        with tempfile.TemporaryDirectory(prefix="grandopt-") as name:
            folder = Path(name)
            text = resources.files(__package__).joinpath("count.c").read_text(encoding="utf-8")
            (folder / "count.c").write_text(text, encoding="utf-8")
            (folder / "subjects.h").write_text(_subjects(subjects), encoding="utf-8")
            (folder / "inputs").write_bytes(b"".join(cases(subjects.signature.inputs, effort.inputs)))
            flags = ["-std=gnu11", "-O1", "-mno-red-zone", "-Wl,-z,now"]
            compiler.run([*flags, "count.c", str(library.absolute()), "-o", "count", "-lm"], folder)
            steps = str(effort.steps), str(effort.steps_of_others)
            return _counted([str(folder / "count"), str(folder / "inputs"), *steps])
    except (BuildError, EngineUnavailableError) as error:
        return str(error)


def _counted(command: Sequence[str]) -> dict[str, Counted] | str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except OSError as error:
        return f"the counting program cannot be started ({error.strerror})"
    except subprocess.TimeoutExpired:
        return f"stepping through it took longer than {TIMEOUT_S:g} s"
    if done.returncode == 2:
        return "this system does not let a program step through itself"
    if done.returncode != 0:
        return f"the counting program ended with {done.returncode}"
    found = {}
    for line in done.stdout.splitlines():
        label, instructions, stack, inputs, _, others, left = line.split()
        deep = int(stack) + 8 + RED_ZONE  # 8: the return address
        place = None if left == "-" else int(left, 16) - (1 << 64) * (int(left, 16) >> 63)
        found[label] = Counted(int(instructions), deep, int(inputs), int(others), place)
    return found


def cases(inputs: Sequence[TensorSpec], count: int) -> list[bytes]:
    """The inputs of so many calls: zeros, the ends of what the dtype holds, infinity, NaN, denormals, numbers
    of all magnitudes and mixtures of these; drawn by a fixed seed."""
    random = np.random.default_rng(0)
    return [np.ascontiguousarray(_case(spec, i, random)).tobytes() for i in range(count) for spec in inputs]


def _case(spec: TensorSpec, number: int, random: np.random.Generator) -> Array:
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "b":
        return (
            random.integers(0, 2, spec.shape).astype(bool) if number > 1 else np.full(spec.shape, number == 1)
        )
    if dtype.kind != "f":
        limits = np.iinfo(dtype)
        fixed: Sequence[float] = (0, 1, limits.max, limits.min)
        drawn = random.integers(0, min(limits.max, 10 ** (number % 4)) + 1, spec.shape)
        return (np.full(spec.shape, fixed[number]) if number < len(fixed) else drawn).astype(dtype)
    held = np.finfo(dtype)
    small = float(held.smallest_subnormal) * 5
    fixed = (
        0.0,
        -0.0,
        1.0,
        float(held.max),
        float(held.min),
        float("inf"),
        float("-inf"),
        float("nan"),
        small,
    )
    if number < len(fixed):
        return np.full(spec.shape, fixed[number], dtype)
    values = random.normal(size=spec.shape) * 10.0 ** random.integers(-6, 7)
    if number % 3 == 0:  # half of them rectified, some of the others odd
        values = np.where(random.random(spec.shape) < 0.5, 0.0, values)
        odd = random.choice(np.array(fixed), spec.shape)
        values = np.where(random.random(spec.shape) < 0.1, odd, values)
    with np.errstate(over="ignore"):
        return values.astype(dtype)


def _subjects(subjects: Subjects) -> str:
    """The C text that the counting program includes."""
    sides = (("in", subjects.signature.inputs), ("out", subjects.signature.outputs))
    named = [(f"{side}{i}", _bytes(spec)) for side, specs in sides for i, spec in enumerate(specs)]
    run, ins = f"{subjects.symbol}_run", [name for name, _ in named if name.startswith("in")]
    outs = [name for name, _ in named if name.startswith("out")]
    pointers = ", ".join(["void *"] * len(named))
    functions = {f"level{i}": name for i, name in enumerate(subjects.invokes.values())}
    declared = [f"int {run}({pointers}, int64_t batch, void *scratch);"]
    declared += [f"int {name}(void *const *, void *const *, int64_t, void *);" for name in functions.values()]
    calls = [f"static int run(void) {{ return {run}({', '.join([*ins, *outs])}, 1, scratch); }}"]
    calls += [
        f"static int {label}(void) {{ return {name}(in, out, 1, scratch); }}"
        for label, name in list(functions.items())[1:]
    ]
    called = [(run, "run"), *((name, label) for label, name in list(functions.items())[1:])]
    rows = [
        f'    {{"{level}", (const void *){entry}, (const void *){name}, {call}}},'
        for (level, name), (entry, call) in zip(subjects.invokes.items(), called, strict=True)
    ]
    return SUBJECTS.format(
        declarations="\n".join(declared),
        inputs=len(ins),
        buffers="\n".join(
            f"static _Alignas(64) unsigned char {name}[{max(1, size)}];" for name, size in named
        ),
        ins=", ".join(ins),
        outs=", ".join(outs),
        sizes=", ".join(str(size) for name, size in named if name.startswith("in")),
        scratch=subjects.scratch_bytes,
        calls="\n".join(calls),
        rows="\n".join(rows),
    )


def _bytes(spec: TensorSpec) -> int:
    """The bytes of one sample."""
    return int(np.prod(spec.shape, dtype=np.int64)) * np.dtype(spec.dtype).itemsize
