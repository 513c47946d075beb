"""Small agents for pipelines, whose answers a test can see, hold back, or make fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np

from grandopt.errors import UnknownAgentError
from grandopt.runtime.scheduling.pipelines.stage import Served
from grandopt.signature import Array, Signature, TensorSpec

Compute = Callable[..., tuple[Array, ...]]


def spec(text: str) -> TensorSpec:
    """`"mu:4"` is float32 [4], `"step"` float32 [], `"ids:2:int64"` int64 [2]."""
    name, _, rest = text.partition(":")
    size, _, dtype = rest.partition(":")
    return TensorSpec(name, (int(size),) if size else (), dtype or "float32")


class Agents:
    """Agents by name. Calls are answered in the next turn, or, of the `held` names, when the test says so."""

    def __init__(self, *, futures: bool = False) -> None:
        self._agents: dict[str, tuple[Signature, Compute]] = {}
        self._futures = futures
        self.held: set[str] = set()
        self.failing: dict[str, Exception] = {}
        self.under_way: list[tuple[str, asyncio.Future[None]]] = []
        self.calls: list[tuple[str, int, int]] = []
        self.cancelled: list[str] = []

    def add(self, name: str, inputs: str, outputs: str, compute: Compute) -> None:
        taken, given = (tuple(spec(text) for text in side.split()) for side in (inputs, outputs))
        self._agents[name] = Signature(taken, given), compute

    def __call__(self, name: str) -> Served:
        if name not in self._agents:
            raise UnknownAgentError(f"no agent {name!r}; there are {', '.join(self._agents)}")
        signature, _ = self._agents[name]

        async def infer(inputs: tuple[Array, ...], priority: int, deadline_ns: int) -> tuple[Array, ...]:
            return await self._infer(name, inputs, priority, deadline_ns)

        def submit(inputs: tuple[Array, ...], priority: int, deadline_ns: int) -> asyncio.Future:
            return asyncio.ensure_future(infer(inputs, priority, deadline_ns))

        return Served(infer, signature, submit if self._futures else None)

    @property
    def waiting(self) -> list[str]:
        return [name for name, gate in self.under_way if not gate.done()]

    def release(self, name: str) -> None:
        """Let the oldest held call of an agent be answered."""
        next(gate for held, gate in self.under_way if held == name and not gate.done()).set_result(None)

    async def _infer(
        self, name: str, inputs: tuple[Array, ...], priority: int, deadline_ns: int
    ) -> tuple[Array, ...]:
        signature, compute = self._agents[name]
        self.calls.append((name, priority, deadline_ns))
        for array, wanted in zip(inputs, signature.inputs, strict=True):
            assert type(array) is np.ndarray
            assert (array.dtype, array.shape) == (np.dtype(wanted.dtype), wanted.shape)
            assert array.flags.c_contiguous
        try:
            if name in self.held:
                gate = asyncio.get_running_loop().create_future()
                self.under_way.append((name, gate))
                await gate
            else:
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise
        if name in self.failing:
            raise self.failing[name]
        # As rows of a batch come out: not contiguous, and single numbers as NumPy's scalars.
        return tuple(
            output[()] if output.ndim == 0 else np.repeat(output, 2)[::2] for output in compute(*inputs)
        )


def trading(**settings: bool) -> Agents:
    """Two embedders, a policy over both, a gate over the policy and what the request says."""
    agents = Agents(**settings)
    agents.add("structure", "bars:3", "mu:2 sigma:2", lambda bars: (bars[:2] + 1, bars[:2] * 0))
    agents.add("regime", "features:2", "code:1", lambda features: (features[:1] * 2,))
    agents.add("policy", "state:3", "scores:2 value", lambda state: (state[:2] * 10, state.sum()))
    agents.add("gate", "scores:4", "allowed:1", lambda scores: (scores.sum(keepdims=True),))
    return agents


GRAPH: dict[str, Any] = {
    "structure": {"agent": "structure", "inputs": "request.bars"},
    "regime": {"agent": "regime", "inputs": {"features": "request.features"}},
    "policy": {"agent": "policy", "inputs": ["structure.mu", "regime.code"]},
    "gate": {"agent": "gate", "inputs": {"scores": ["policy.scores", "request.risk"]}},
}
REQUEST = {"bars": [1, 2, 3], "features": [4, 5], "risk": [0.5, 0.25]}
ALLOWED = (2 + 3) * 10 + 0.75
