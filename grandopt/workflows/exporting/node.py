"""An exported agent as an executor: its module runs in Node, each call goes through a pipe."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from grandopt.errors import EngineUnavailableError, MeasurementError
from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array, Contract, Signature

CALL_S = 120.0
"""What the first call with its start, and each further call, may take."""


def find_node() -> str:
    """The program; raises EngineUnavailableError where it is not installed."""
    found = shutil.which("node")
    if found is None:
        raise EngineUnavailableError("Node is not installed (there is no program `node`)")
    return found


class NodeExecutor(Executor):
    """The module `module` of an exported folder, through the folder's own loader, until `close`.

    Raises MeasurementError, with the last line that Node said, when it ends, refuses a call or takes longer
    than CALL_S for one. `node` is the program. Not for several threads at once.
    """

    flushes_denormals = True  # WebAssembly has no such mode, but the engine's functions take them for zeros

    def __init__(
        self, node: str, folder: Path, module: str, signature: Signature, contract: Contract
    ) -> None:
        super().__init__(signature, contract)
        runner = str(resources.files(__package__).joinpath("node_runner.mjs"))
        command = [node, runner, str(folder / "agent.js"), str(folder / module)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        batch = len(inputs[0])
        guard = threading.Timer(CALL_S, self._process.kill)
        guard.start()
        try:
            self._send(batch.to_bytes(4, "little") + b"".join(array.tobytes() for array in inputs))
            if self._read(1) == b"\0":
                message = self._read(int.from_bytes(self._read(4), "little"))
                raise MeasurementError(f"in Node: {message.decode(errors='replace')}")
            return tuple(self._output(spec.dtype, (batch, *spec.shape)) for spec in self.signature.outputs)
        finally:
            guard.cancel()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _output(self, dtype: str, shape: tuple[int, ...]) -> Array:
        count = int(np.prod(shape))
        kind = np.dtype(dtype)
        return np.frombuffer(self._read(count * kind.itemsize), kind).reshape(shape).copy()

    def _send(self, content: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(content)
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError) as error:
            raise self._ended() from error

    def _read(self, count: int) -> bytes:
        assert self._process.stdout is not None
        content = self._process.stdout.read(count)
        if len(content) < count:
            raise self._ended()
        return content

    def _ended(self) -> MeasurementError:
        """What is said of a process that answers no more."""
        assert self._process.stderr is not None
        self._process.kill()
        lines = self._process.stderr.read().decode(errors="replace").split("\n")
        said = next((line.strip() for line in lines if "Error" in line), "it said nothing")
        return MeasurementError(f"Node ended, or took longer than {CALL_S:.0f} s for a call: {said}")
