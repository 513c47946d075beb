"""An agent in Node beside onnxruntime-web: `python -m tests.exporting.wasm.beside_onnxruntime_web [OPTION…]`.

Both in one process and in turns, onnxruntime-web with its WebAssembly engine and one thread. Then the answers
beside those of native code on 1,000 observations: of the artifact, each a call of its own and all in a batch,
and with vectors of 128 bits; in units of the last place of each number, and of the largest in its output.
npm installs onnxruntime-web, of the version below, into `--packages`, if it is not there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from grandopt.artifacts.machine import architecture
from grandopt.artifacts.store import Store
from grandopt.compiler.backends.native.backend import stages
from grandopt.compiler.backends.native.levels import IsaLevel
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints import reference
from grandopt.compiler.program import Program
from grandopt.config.engines import NativeOptions, OnnxRuntimeOptions
from grandopt.runtime.loader import load
from grandopt.signature import Array
from grandopt.workflows.exporting.node import NodeExecutor
from grandopt.workflows.exporting.wasm import MODULES, write_wasm
from tests.native import programs

VERSION = "1.30.0"
ROUNDS, CALLS = 31, 1000
OBSERVATIONS = 1000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.exporting.wasm.beside_onnxruntime_web")
    parser.add_argument(
        "--agent", default="decision_gate", help="a reference agent  [default: decision_gate]"
    )
    parser.add_argument("--packages", type=Path, help="where npm installs; kept  [default: a new folder]")
    given = parser.parse_args()
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        print("Node and npm are needed", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        packages = given.packages or folder / "packages"
        installed(packages)
        program = capture(reference.load(given.agent, given.agent, 0), 0)
        print(f"{given.agent}: {'; '.join(write_wasm(program, folder / 'wasm').checks)}")
        print("\n".join(speeds(node, packages, program, folder)))
        print("\n".join(answers(node, program, folder)))
    return 0


def installed(packages: Path) -> None:
    """onnxruntime-web in `packages`."""
    if (packages / "node_modules" / "onnxruntime-web").exists():
        return
    packages.mkdir(parents=True, exist_ok=True)
    (packages / "package.json").write_text('{"private": true}\n')
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", f"onnxruntime-web@{VERSION}"]
    subprocess.run(command, cwd=packages, check=True)


def speeds(node: str, packages: Path, program: Program, folder: Path) -> list[str]:
    """Medians of a call, and how many times as long onnxruntime-web takes in a round. On a busy machine the
    processor's time tells more."""
    artifact = build(program, Candidate("float32", OnnxRuntimeOptions()), Store(folder / "store"))
    (folder / "agent.onnx").write_bytes(artifact.payload("model.onnx"))
    runner = Path(__file__).with_suffix(".mjs")
    command = [node, runner, folder / "wasm", folder / "agent.onnx", str(ROUNDS), str(CALLS)]
    done = subprocess.run(command, cwd=packages, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    lines = [
        f"onnxruntime-web {found['version']}, Node {found['node']}, {ROUNDS} rounds of {CALLS} calls of each"
    ]
    for place, kind in enumerate(("the clock's", "the processor's")):
        taken = {name: [round[place] for round in rounds] for name, rounds in found["times"].items()}
        other = taken.pop("onnxruntime-web")
        lines.append(f"{kind} time: onnxruntime-web {1e6 * statistics.median(other):.2f} µs")
        for name, times in taken.items():
            ratios = sorted(theirs / ours for theirs, ours in zip(other, times, strict=True))
            low, high = ratios[len(ratios) // 10], ratios[-1 - len(ratios) // 10]
            lines.append(
                f"  {name} {1e6 * statistics.median(times):.2f} µs: {statistics.median(ratios):.1f} times as "
                f"fast (8 of 10 rounds: {low:.1f} to {high:.1f})"
            )
    return lines


def answers(node: str, program: Program, folder: Path) -> list[str]:
    """How far the exported agent's numbers are from those of native builds."""
    rng = np.random.default_rng(0)
    inputs = [
        rng.standard_normal((OBSERVATIONS, *spec.shape)).astype(spec.dtype)
        for spec in program.signature.inputs
    ]
    executor = NodeExecutor(node, folder / "wasm", MODULES[0], program.signature, program.contract)
    exported = executor.run(inputs)
    executor.close()
    native = load(build(program, Candidate("float32", NativeOptions()), Store(folder / "store")).path)
    rows = [native.run([array[row : row + 1] for array in inputs]) for row in range(OBSERVATIONS)]
    lines = [
        beside("native, one by one", exported, [np.concatenate(parts) for parts in zip(*rows, strict=True)])
    ]
    lines.append(beside("native, one batch", exported, native.run(inputs)))
    if architecture() == "x86_64":
        level = IsaLevel("x86-64", "x86_64", 4, 16, (), ())
        graph = stages(program, NativeOptions()).executed
        short = programs.program(graph, [level], folder / "native", tile=1)(*inputs)
        lines.append(beside("native code with vectors of 128 bits", exported, short))
    return lines


def beside(name: str, exported: tuple[Array, ...], others: list[Array] | tuple[Array, ...]) -> str:
    """The largest distance from other float32 outputs, in two units."""
    own, scaled = 0.0, 0.0
    for ours, other in zip(exported, others, strict=True):
        distance = np.abs(ours.astype(np.float64) - other)
        larger = np.maximum(np.abs(ours), np.abs(other)).astype(np.float32)
        own = max(own, float((distance / np.spacing(larger)).max()))
        rows = larger.reshape(len(larger), -1).max(axis=1)
        scaled = max(scaled, float((distance.reshape(len(rows), -1).max(axis=1) / np.spacing(rows)).max()))
    return f"{name}: at most {own:.1f} ulp of the number, {scaled:.1f} of the largest in its output"


if __name__ == "__main__":
    sys.exit(main())
