"""TorchScript archives: run as they are, and converted to an exported program where that holds."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch._export.converter import TS2EPConverter

from grandopt.compiler.checkpoints import weights
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.foreign import first_line
from grandopt.compiler.checkpoints.recurrence import recurrent
from grandopt.compiler.checkpoints.settings import (
    EXAMPLE_BATCH,
    checkpoint_path,
    configured_inputs,
    drawn,
    outputs_of,
    refuse,
)
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from grandopt.signature import TensorSpec

FORMAT = "torchscript"
CHECKED_BATCHES = (1, 2, 3, 7)
"""The conversion is compared with the archive at these batch sizes, one of them with its example's size."""

RELATIVE, ABSOLUTE = 1e-5, 1e-6
"""float32 rounding of the same operators in another order; anything larger is another function."""

CONVERTER_ERRORS = (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError)
"""What the converter and torch.export raise on archives they do not know; none of them documents it."""


def load(name: str, agent: AgentConfig) -> Checkpoint:
    """The archive as a ScriptModule in eval mode, with `exported` where the conversion was proven equal.

    `source.details["conversion"]` says what was checked, or why there is no exported program. Raises
    CheckpointError for a damaged archive, for inputs that are not configured or do not fit, and for NaN.
    """
    path = checkpoint_path(agent)
    fields = ("key", "network", "network_args")
    refuse(agent, path, "a TorchScript archive", fields, "which brings its own network")
    refuse(agent, path, "a TorchScript archive", ("vecnormalize",), "statistics belong to an SB3 zip")
    module = _open(path)
    inputs = configured_inputs(agent, path, _input_names(module, path))
    weights.require_sane(module, str(path))
    weights.require_numbers(constants(module), str(path))
    _trial(module, inputs, path)
    exported, conversion = convert(module, inputs)
    checkpoint = Checkpoint(
        name=name,
        module=module,
        inputs=inputs,
        source=weights.source(path, FORMAT, conversion=conversion),
        exported=exported,
    )
    return recurrent(checkpoint, agent)


def describe(path: Path) -> dict[str, Any]:
    """The inputs that the archive's `forward` names, its weights, and the constants frozen into its graph."""
    module = _open(path)
    return {
        "format": FORMAT,
        "inputs": list(_input_names(module, path)),
        **weights.listed({**module.state_dict(), **dict(constants(module))}),
    }


def constants(module: torch.jit.ScriptModule) -> list[tuple[str, torch.Tensor]]:
    """The tensors frozen into the graph of `forward`, as (name in the graph, tensor)."""
    graph: Any = module.inlined_graph  # torch's stubs leave the search methods of graphs out
    return [
        (f"constant {node.output().debugName()}", node.t("value"))
        for node in graph.findAllNodes("prim::Constant", recurse=True)
        if node.hasAttribute("value") and node.kindOf("value") == "t"
    ]


def convert(
    module: torch.jit.ScriptModule, inputs: tuple[TensorSpec, ...]
) -> tuple[torch.export.ExportedProgram | None, str]:
    """The archive as an exported program with a dynamic batch, and one line that says how it came about.

    The converter bakes in the sizes of its example, so its result is exported once more with a dynamic
    batch, and that is compared with the archive on other inputs at several batch sizes. None when any of
    this fails.
    """
    example = drawn(inputs, EXAMPLE_BATCH, seed=0)
    batch = torch.export.Dim("batch", min=1)
    try:
        with _quiet(), torch.no_grad():
            fixed = TS2EPConverter(module, example).convert().module()
            shapes = tuple({0: batch} for _ in example)
            exported = torch.export.export(fixed, example, dynamic_shapes=shapes)
    except CONVERTER_ERRORS as error:
        return None, f"not converted: {first_line(error)}"
    runnable = exported.module()
    for seed, size in enumerate(CHECKED_BATCHES, start=1):
        values = drawn(inputs, size, seed)
        try:
            with torch.no_grad():
                wanted, got = _tensors(module(*values)), _tensors(runnable(*values))
        except CONVERTER_ERRORS as error:
            return None, f"not converted: batch {size}: {first_line(error)}"
        for index, (left, right) in enumerate(zip(wanted, got, strict=True)):
            if left.shape != right.shape or left.dtype != right.dtype:
                return None, f"not converted: output {index} has another shape or dtype at batch {size}"
            if not torch.allclose(left, right, RELATIVE, ABSOLUTE, equal_nan=True):
                return None, f"not converted: output {index} differs from the archive's at batch {size}"
    return exported, f"converted, equal to the archive at batches {', '.join(map(str, CHECKED_BATCHES))}"


def _tensors(result: Any) -> tuple[torch.Tensor, ...]:
    return tuple(result) if isinstance(result, tuple | list) else (result,)


def _open(path: Path) -> torch.jit.ScriptModule:
    try:
        data = path.read_bytes()
        module = torch.jit.load(io.BytesIO(data), map_location="cpu")
    except (RuntimeError, ValueError, OSError) as error:
        raise CheckpointError(f"{path}: is a damaged TorchScript archive: {first_line(error)}") from error
    module.eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module


def _input_names(module: torch.jit.ScriptModule, path: Path) -> tuple[str, ...]:
    try:
        forward: Any = module.forward
        schema = forward.schema
    except AttributeError as error:
        raise CheckpointError(f"{path}: the TorchScript archive has no forward method") from error
    return tuple(argument.name for argument in schema.arguments[1:] if not argument.has_default_value())


def _trial(module: torch.jit.ScriptModule, inputs: tuple[TensorSpec, ...], path: Path) -> None:
    shapes = ", ".join(f"{spec.name} [{EXAMPLE_BATCH}, {', '.join(map(str, spec.shape))}]" for spec in inputs)
    try:
        with torch.no_grad():
            result = module(*drawn(inputs, EXAMPLE_BATCH, seed=0))
    except RuntimeError as error:
        raise CheckpointError(f"{path}: the network does not take {shapes}: {_reason(error)}") from error
    outputs_of(result, path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the converter's progress lines and its own deprecation warnings from the user."""
    logger = logging.getLogger("torch._export.converter")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _reason(error: BaseException) -> str:
    """The last line of a TorchScript error: its first ones are the interpreter's trace."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
