"""`torch.export` programs (`.pt2`)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from grandopt.compiler.checkpoints import files, weights
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.exported import archive as exported_archive
from grandopt.compiler.checkpoints.exported.quietly import EXPORT_ERRORS, quiet
from grandopt.compiler.checkpoints.exported.vectorised import vectorised
from grandopt.compiler.checkpoints.module.one_by_one import OneByOne, positional
from grandopt.compiler.checkpoints.settings import (
    EXAMPLE_BATCH,
    drawn,
    outputs_of,
    refuse,
    require_bounded,
)
from grandopt.compiler.checkpoints.stateful.inside import with_state_outside
from grandopt.compiler.checkpoints.stateful.recurrence import recurrent
from grandopt.compiler.checkpoints.vetting.first_call import first_call
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError, SignatureError, named_line
from grandopt.signature import TensorSpec

FORMAT = "exported"
LARGEST_LOWEST_BATCH = 2
"""torch.export states 2 as the lowest size of a dynamic dimension that also runs with 1."""


def load(name: str, agent: AgentConfig) -> Checkpoint:
    """The program with its inputs, names, sizes and dtypes as the file has them, and a dynamic batch.

    A program that was exported with a fixed batch is exported again with a dynamic one and compared with
    itself row by row; where its rows do not come out alone, one observation is all of them. Raises
    CheckpointError when that does not hold, when another dimension is dynamic, when the program was exported
    in training mode, for NaN, for a damaged file, and for settings that do not apply; UntrustedError when
    reading it could run code.
    """
    path = files.checkpoint_path(agent)
    fields = ("key", "network", "network_args", "inputs")
    refuse(agent, path, "a torch.export program", fields, "which brings its own network and inputs")
    refuse(agent, path, "a torch.export program", ("vecnormalize",), "statistics belong to an SB3 zip")
    program = _open(path, trust=agent.trust)
    inputs = _inputs(program, path)
    program = _positional(program, path)
    _require_inference(program, path)
    weights.require_finite(program.named_parameters(), str(path))
    weights.require_numbers(program.named_buffers(), str(path))
    if _writes(program):
        source = weights.source(path, FORMAT)
        kept = Checkpoint(name=name, module=runnable(program), inputs=inputs, source=source)
        found = first_call(lambda: with_state_outside(kept, agent, str(path)), path, trust=agent.trust)
        if found.contract.state:
            return found
    batch = _batch(program, path)
    if isinstance(batch, int):
        program, inputs, note = _any_batch(program, inputs, batch, path)
    else:
        note = "dynamic batch from the file"
    module = runnable(program)
    _trial(module, inputs, path, trust=agent.trust)
    checkpoint = Checkpoint(
        name=name,
        module=module,
        inputs=inputs,
        source=weights.source(path, FORMAT, batch=note),
        exported=program,
    )
    return recurrent(checkpoint, agent)


def describe(path: Path, *, trust: bool = False) -> dict[str, Any]:
    """The inputs, the operators and the tensors of the program."""
    program = _open(path, trust=trust)
    batch = _batch(program, path)
    return {
        "format": FORMAT,
        "inputs": [
            {"name": spec.name, "shape": list(spec.shape), "dtype": spec.dtype}
            for spec in _inputs(program, path)
        ],
        "batch": batch if isinstance(batch, int) else "dynamic",
        "operators": sorted({str(node.target) for node in program.graph.nodes if node.op == "call_function"}),
        **weights.listed(program.state_dict),
    }


def _writes(program: torch.export.ExportedProgram) -> bool:
    """Whether anything in the program writes into a tensor, which may be a buffer."""
    schemas = (getattr(node.target, "_schema", None) for node in program.graph.nodes)
    written = any(schema is not None and schema.is_mutable for schema in schemas)
    return written or bool(program.graph_signature.buffers_to_mutate)


def _open(path: Path, *, trust: bool) -> torch.export.ExportedProgram:
    try:
        with quiet():
            if not trust:
                return exported_archive.read(path)
            return torch.export.load(io.BytesIO(files.content(path)))
    except EXPORT_ERRORS as error:
        raise CheckpointError(f"{path}: is no readable torch.export program: {named_line(error)}") from error


def _placeholders(program: torch.export.ExportedProgram) -> list[tuple[str, Any]]:
    wanted = program.graph_signature.user_inputs
    return [
        (node.name, node.meta["val"])
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in wanted
    ]


def _inputs(program: torch.export.ExportedProgram, path: Path) -> tuple[TensorSpec, ...]:
    specs = []
    for name, value in _placeholders(program):
        if not isinstance(value, torch.Tensor) or value.dim() == 0:
            raise CheckpointError(f"{path}: input {name!r} is no tensor with a batch in front")
        for index, size in enumerate(value.shape[1:], start=1):
            if not isinstance(size, int):
                raise CheckpointError(
                    f"{path}: dimension {index} of input {name!r} is dynamic; only the batch (dimension 0) "
                    f"may be, so export it again with that size fixed"
                )
        try:
            shape = tuple(int(size) for size in value.shape[1:])
            specs.append(TensorSpec(name, shape, str(value.dtype).removeprefix("torch.")))
        except SignatureError as error:
            raise CheckpointError(f"{path}: {error}") from error
    if not specs:
        raise CheckpointError(f"{path}: the program takes no inputs")
    require_bounded(specs, str(path))
    return tuple(specs)


def _batch(program: torch.export.ExportedProgram, path: Path) -> int | torch.SymInt:
    """The batch of the program: a number where it is fixed, else its symbol."""
    sizes = {name: value.shape[0] for name, value in _placeholders(program)}
    fixed = {size for size in sizes.values() if isinstance(size, int)}
    if not fixed:
        for symbol, bounds in program.range_constraints.items():
            if bounds.lower > LARGEST_LOWEST_BATCH:
                raise CheckpointError(
                    f"{path}: the program takes batches of at least {bounds.lower} only ({symbol}); export "
                    f"it again with a batch that begins at 1"
                )
        return next(iter(sizes.values()))
    if len(fixed) > 1 or len(fixed) < len(set(map(str, sizes.values()))):
        shown = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise CheckpointError(f"{path}: the inputs do not share one batch (dimension 0): {shown}")
    return int(fixed.pop())


def _positional(program: torch.export.ExportedProgram, path: Path) -> torch.export.ExportedProgram:
    """The program with its tensors as arguments one by one, also those it takes by keyword."""
    entry = program.module_call_graph[0].signature
    if entry is None or positional(entry.in_spec):
        return program
    inputs, batch = _inputs(program, path), _batch(program, path)
    module = OneByOne(program.module(check_guards=False), entry.in_spec)
    example = drawn(inputs, batch if isinstance(batch, int) else EXAMPLE_BATCH, seed=0)
    shapes = torch.export.ShapesCollection()
    for value in example if not isinstance(batch, int) else ():
        shapes[value] = {0: torch.export.Dim("batch", min=1)}
    try:
        with quiet(), torch.no_grad():
            return torch.export.export(module, example, dynamic_shapes=shapes.dynamic_shapes(module, example))
    except EXPORT_ERRORS as error:
        raise CheckpointError(
            f"{path}: takes inputs by keyword or in containers, and cannot be made to take them one by one "
            f"({named_line(error)}); export it with its tensors as positional arguments"
        ) from error


def _any_batch(
    program: torch.export.ExportedProgram, inputs: tuple[TensorSpec, ...], batch: int, path: Path
) -> tuple[torch.export.ExportedProgram, tuple[TensorSpec, ...], str]:
    """A program of a fixed batch as one of any batch, what it takes then, and how that came about."""
    try:
        freed = _freed(program, inputs, batch, path)
        return freed, inputs, f"exported again from a fixed batch of {batch}"
    except CheckpointError:
        found = vectorised(program, inputs, batch)
        if found is None:
            raise
    if batch == 1:
        return *found, "a batch of 1 is fixed; its operators take any, each row by itself"
    require_bounded(found[1], str(path))
    return *found, f"{batch} fixed: no row could be taken alone, so one observation is all {batch} of them"


def _freed(
    program: torch.export.ExportedProgram, inputs: tuple[TensorSpec, ...], batch: int, path: Path
) -> torch.export.ExportedProgram:
    """The program with a dynamic batch; raises CheckpointError unless its rows come out the same."""
    advice = "export it again with dynamic_shapes={…: {0: torch.export.Dim('batch')}} for every input"
    original = program.module(check_guards=False)
    example = drawn(inputs, max(batch, EXAMPLE_BATCH), seed=0)
    dim = torch.export.Dim("batch", min=1)
    try:
        with quiet(), torch.no_grad():
            shapes = tuple({0: dim} for _ in example)
            freed = torch.export.export(original, example, dynamic_shapes=shapes)
            dynamic = freed.module(check_guards=False)
            values = drawn(inputs, batch, seed=1)
            wanted = outputs_of(original(*values), path)
            for size in {1, batch}:
                got = outputs_of(dynamic(*(value[:size] for value in values)), path)
                for left, right in zip(wanted, got, strict=True):
                    if not torch.allclose(left[:size], right, rtol=1e-5, atol=1e-6, equal_nan=True):
                        raise CheckpointError(
                            f"{path}: was exported with a fixed batch of {batch}, and gives other rows with "
                            f"a batch of {size}; {advice}"
                        )
    except EXPORT_ERRORS as error:
        raise CheckpointError(
            f"{path}: was exported with a fixed batch of {batch}, which cannot be undone "
            f"({named_line(error)}); {advice}"
        ) from error
    return freed


def _require_inference(program: torch.export.ExportedProgram, path: Path) -> None:
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if node.op != "call_function" or schema is None:
            continue
        for position, argument in enumerate(schema.arguments):
            if argument.name not in ("train", "training"):
                continue
            given = node.args[position] if position < len(node.args) else node.kwargs.get(argument.name)
            if given is True:
                raise CheckpointError(
                    f"{path}: was exported in training mode ({node.target} trains); call .eval() on the "
                    f"network and export it again"
                )


def runnable(program: torch.export.ExportedProgram) -> torch.nn.Module:
    """The program as a module in eval mode without gradients, which asks nothing of its inputs."""
    module: Any = program.module(check_guards=False)
    # Exported modules refuse .eval(), because it would not change their graph; the flag itself may be set.
    for part in module.modules():
        part.training = False
    # Without guards the module compares its inputs with symbolic sizes, which torch.jit.trace cannot follow.
    # Who calls it has checked them against the signature.
    module.validate_inputs = False
    module.requires_grad_(False)
    return module


def _trial(module: torch.nn.Module, inputs: tuple[TensorSpec, ...], path: Path, *, trust: bool) -> None:
    try:
        result = first_call(lambda: module(*drawn(inputs, EXAMPLE_BATCH, seed=0)), path, trust=trust)
    except EXPORT_ERRORS as error:
        raise CheckpointError(
            f"{path}: the program does not run with a batch of {EXAMPLE_BATCH}: {named_line(error)}"
        ) from error
    outputs_of(result, path)
