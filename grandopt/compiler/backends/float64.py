"""The reference that candidates are verified against: the original, computed in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.fx import GraphModule, Interpreter, Node

from grandopt.compiler.checkpoints.torchscript.script import constants
from grandopt.compiler.program import FORWARD_ERRORS, Program, copied, evaluate
from grandopt.errors import first_line
from grandopt.signature import Array

PLAUSIBLE = 1e-2
"""How far, relative to the output's scale, an original may be from its own float64 form before the latter is
taken for a different computation. A wrong reference would also widen the tolerance of every candidate."""

ROUNDED_STEPS = 16
"""Or so many roundings of its coarsest numbers, where these are half: they add up over layers."""

_NARROW = (torch.float32, torch.float16, torch.bfloat16)

Compute = Callable[[Sequence[torch.Tensor]], tuple[torch.Tensor, ...]]


@dataclass(frozen=True)
class Float64Reference:
    """The original in float64, or, where it has no such form, as it is.

    `precision` says which ("float64", or the coarsest dtype it computes in); `reason` is why it is not
    float64 (of the outputs or of the scores), in one line, else None. `resolution` is the machine epsilon of
    that coarsest dtype. Not for several threads at once.
    """

    precision: str
    reason: str | None
    resolution: float
    _outputs: Compute
    _scores: Compute | None

    def outputs(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """The outputs [B, *shape] for inputs of the declared dtypes: floats as float64, others as they are.

        Raises what the network raises when it cannot take the inputs.
        """
        return tuple(_as_array(output) for output in self._outputs(_as_tensors(inputs)))

    def scores(self, inputs: Sequence[Array]) -> Array | None:
        """The scores [B, n] before the decision as float64; None for an agent without a decision."""
        return None if self._scores is None else _as_array(self._scores(_as_tensors(inputs))[0])


def reference(program: Program) -> Float64Reference:
    """The reference of a captured program: its exported graph in float64, else its module in float64, else
    the module as it is. A form that fails on the example or is implausibly far from the original is not used.
    """
    coarsest = _coarsest(program)
    resolution = torch.finfo(coarsest).eps
    plausible = max(PLAUSIBLE, ROUNDED_STEPS * resolution)
    outputs, reason = _best(
        program,
        program.module,
        plausible,
        *(() if program.exported is None else (_interpreted(program.exported),)),
    )
    precision = "float64" if reason is None else str(coarsest).removeprefix("torch.")
    if program.scores is None:
        return Float64Reference(precision, reason, resolution, outputs, None)
    scores, scores_reason = _best(program, program.scores, plausible)
    if reason is None and scores_reason is not None:
        reason = f"scores: {scores_reason}"
    return Float64Reference(precision, reason, resolution, outputs, scores)


def _coarsest(program: Program) -> torch.dtype:
    """The coarsest floating-point dtype of weights and, where the graph is known, of all between them."""
    tensors: list[Any] = [*program.module.parameters(), *program.module.buffers()]
    if isinstance(program.module, torch.jit.ScriptModule):
        tensors += [tensor for _, tensor in constants(program.module)]
    if program.exported is not None:
        tensors += [node.meta.get("val") for node in program.exported.graph.nodes]
    found = {value.dtype for value in tensors if isinstance(value, torch.Tensor)}
    return next((dtype for dtype in (torch.bfloat16, torch.float16) if dtype in found), torch.float32)


class _Float64Interpreter(Interpreter):
    """Runs a graph with every float tensor and every float dtype argument widened to float64."""

    def fetch_attr(self, target: str) -> Any:
        value = super().fetch_attr(target)
        if isinstance(value, GraphModule):  # the branch of a `cond`, the body of a loop
            inner = _Float64Interpreter(value)
            return lambda *operands: inner.run(*operands)
        return _wide(value)

    def fetch_args_kwargs_from_env(self, n: Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args, kwargs = super().fetch_args_kwargs_from_env(n)
        if _makes_default_floats(n):
            kwargs = {**kwargs, "dtype": torch.float64}
        return tuple(args), kwargs

    def run_node(self, n: Node) -> Any:
        return torch.utils._pytree.tree_map(_wide, super().run_node(n))

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        args, kwargs = torch.utils._pytree.tree_map(_wide, (args, kwargs))
        return super().call_function(target, args, kwargs)


def _makes_default_floats(node: Node) -> bool:
    """Whether the operator leaves it to torch which float it makes (`torch.linspace` without a dtype)."""
    schema = getattr(node.target, "_schema", None)
    made = getattr(node.meta.get("val"), "dtype", None)
    if schema is None or made not in _NARROW or node.kwargs.get("dtype") is not None:
        return False
    return any(argument.name == "dtype" and argument.kwarg_only for argument in schema.arguments)


def _wide(value: Any) -> Any:
    if isinstance(value, torch.dtype):
        return torch.float64 if value in _NARROW else value
    if isinstance(value, torch.Tensor) and value.dtype in _NARROW:
        return value.double()
    return value


def _interpreted(exported: torch.export.ExportedProgram) -> Callable[[], Compute]:
    def make() -> Compute:
        module = exported.module(check_guards=False)
        interpreter = _Float64Interpreter(module)

        def compute(inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
            with torch.no_grad():
                result = interpreter.run(*(_wide(value.clone()) for value in inputs))
            return tuple(result) if isinstance(result, list | tuple) else (result,)

        return compute

    return make


def _doubled(module: torch.nn.Module) -> Callable[[], Compute]:
    def make() -> Compute:
        twin = copied(module).double()
        return lambda inputs: evaluate(twin, tuple(_wide(value) for value in inputs))

    return make


def _best(
    program: Program, module: torch.nn.Module, plausible: float, *preferred: Callable[[], Compute]
) -> tuple[Compute, str | None]:
    """The first form that computes in float64 what `module` computes, else `module` and the last reason."""
    expected = evaluate(module, program.example)
    reason = None
    for make in (*preferred, _doubled(module)):
        try:
            compute = make()
            reason = _implausible(expected, compute(program.example), plausible)
        except FORWARD_ERRORS as error:
            reason = first_line(error)
        if reason is None:
            return compute, None
    return (lambda inputs: evaluate(module, inputs)), f"no float64 form: {reason}"


def _implausible(
    expected: Sequence[torch.Tensor], got: Sequence[torch.Tensor], plausible: float
) -> str | None:
    if [output.shape for output in got] != [output.shape for output in expected]:
        return "the float64 form gives other shapes"
    for index, (narrow, wide) in enumerate(zip(expected, got, strict=True)):
        if wide.dtype != _wide(narrow.dtype):
            return f"the float64 form gives {wide.dtype} for output {index}"
        if not narrow.dtype.is_floating_point:
            continue  # a decision may tip over within the original's own error
        scale = float(wide.abs().nan_to_num(posinf=0.0).max())
        if not torch.allclose(narrow.double(), wide, rtol=0.0, atol=plausible * scale, equal_nan=True):
            return (
                f"the float64 form differs from the original in output {index} by more than {plausible:.0%}"
            )
    return None


def _as_tensors(inputs: Sequence[Array]) -> tuple[torch.Tensor, ...]:
    return tuple(torch.from_numpy(np.array(value)) for value in inputs)


def _as_array(output: torch.Tensor) -> Array:
    return np.array(_wide(output.detach()).numpy())  # it may share memory with a weight
