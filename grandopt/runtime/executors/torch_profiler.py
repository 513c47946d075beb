"""Times per operator and layer of the torch engines, taken with `torch.profiler`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch.fx import GraphModule, Interpreter, Node
from torch.profiler import ProfilerActivity, profile, record_function

from grandopt.runtime.executors.operators import OperatorTime
from grandopt.signature import Array

LAYER = "layer:"
NOT_OPERATORS = ("ProfilerStep", "[memory]", "enable_profiling", "PyTorch Profiler")

Run = Callable[[Sequence[Array]], Any]


def operators(run: Run, payload: Any, batches: Sequence[Sequence[Array]]) -> list[OperatorTime]:
    """The operators of one call, the slowest first; averages over `batches`, one call each.

    `payload` is what the engine calls. Of a network its layers are known by their names, of an exported graph
    from what it remembers of them; TorchScript does not tell.
    """
    owner = getattr(payload, "__self__", payload)
    if isinstance(owner, GraphModule):
        run = _Layered(owner).call
    with _layers_of(owner) as layered:
        for inputs in batches[:2]:  # the first calls compile or choose kernels
            run(inputs)
        with profile(activities=[ProfilerActivity.CPU]) as recorded:
            for inputs in batches:
                run(inputs)
    spent: defaultdict[tuple[str, str | None], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for event in recorded.events() or ():
        if event.name.startswith((LAYER, *NOT_OPERATORS)):
            continue
        place = spent[event.name, _layer(event) if layered else None]
        place[0] += 1
        place[1] += event.self_cpu_time_total
    count = len(batches)
    rows = [OperatorTime(name, layer, n / count, us / count) for (name, layer), (n, us) in spent.items()]
    return sorted(rows, key=lambda row: -row.us)


def _layer(event: Any) -> str:
    """The innermost layer that an event happened in; "" for the network itself."""
    while event is not None:
        if event.name.startswith(LAYER):
            return str(event.name).removeprefix(LAYER)
        event = event.cpu_parent
    return ""


@contextmanager
def _layers_of(owner: Any) -> Iterator[bool]:
    """Within the block the layers of a network name themselves to the profiler; whether they can."""
    if isinstance(owner, GraphModule):  # its interpreter does
        yield True
        return
    if not isinstance(owner, torch.nn.Module) or isinstance(owner, torch.jit.ScriptModule):
        yield False
        return
    # Not hooks: torch's fused attention is switched off by them.
    changed = {name: child for name, child in owner.named_modules() if name}
    for name, child in changed.items():
        child.__dict__["forward"] = _named(child.forward, name)
    try:
        yield True
    finally:
        for module in changed.values():
            module.__dict__.pop("forward", None)


def _named(forward: Callable[..., Any], name: str) -> Callable[..., Any]:
    @wraps(forward)
    def call(*args: Any, **kwargs: Any) -> Any:
        with record_function(f"{LAYER}{name}"):
            return forward(*args, **kwargs)

    return call


class _Layered(Interpreter):
    """Runs a graph with each operator inside the layer that it came from."""

    def call(self, inputs: Sequence[Array]) -> None:
        with torch.inference_mode():
            self.run(*[torch.from_numpy(np.array(array)) for array in inputs])

    def run_node(self, n: Node) -> Any:
        stack = n.meta.get("nn_module_stack") or {}
        path = next(reversed(stack.values()), ("", None))[0]
        with record_function(f"{LAYER}{path}"):
            return super().run_node(n)
