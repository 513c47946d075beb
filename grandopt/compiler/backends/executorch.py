"""ExecuTorch with XNNPACK: what its own environment makes of an exported program. Nothing of it is shipped.

Its package fits few versions of torch, so that it is used in an environment apart; this file is imported
there. The program comes as a file of `torch.export`.
"""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower

from grandopt.errors import BuildError, EngineError, first_line
from grandopt.runtime.executors.executorch import BATCH, SIGNATURE, SINGLE, ExecuTorchExecutor
from grandopt.signature import Signature

LARGEST_BATCH = 256
"""ExecuTorch plans its memory in advance, for batches up to this one."""

TRIED = (1, 2, 7, LARGEST_BATCH)
LOWERING_ERRORS = (
    EngineError,  # of a trial call
    RuntimeError,
    ValueError,
    TypeError,
    AssertionError,
    LookupError,
    AttributeError,
    ArithmeticError,
)


def lower(program: Path, signature: Signature, folder: Path) -> str | None:
    """Write a program for one observation into `folder`, and one for any batch where ExecuTorch can run it.

    Returns why there is none for any batch. Raises BuildError when the program cannot be read by this torch,
    or ExecuTorch cannot lower or run it for one observation.
    """
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    try:
        module = torch.export.load(program).module(check_guards=False)
    except LOWERING_ERRORS as error:
        raise BuildError(
            f"torch {torch.__version__} there cannot read the exported program: {first_line(error)}; install "
            f"the torch there that is installed here"
        ) from error
    (folder / SIGNATURE).write_text(json.dumps(signature.to_json()), encoding="utf-8")
    try:
        single = _lowered(module, signature, 1)
        _try(ExecuTorchExecutor(signature, single, None), signature, (1,))
    except LOWERING_ERRORS as error:
        raise BuildError(f"ExecuTorch failed: {first_line(error)}") from error
    (folder / SINGLE).write_bytes(single)
    try:
        batch = _lowered(module, signature, LARGEST_BATCH)
        _try(ExecuTorchExecutor(signature, single, batch), signature, TRIED)
    except LOWERING_ERRORS as error:
        return f"batches go row by row: {first_line(error)}"
    (folder / BATCH).write_bytes(batch)
    return None


def _lowered(module: torch.nn.Module, signature: Signature, batch: int) -> bytes:
    """The program for batches of 1, or for batches from 1 to `batch`."""
    example = tuple(
        torch.zeros((min(batch, 2), *spec.shape), dtype=getattr(torch, spec.dtype))
        for spec in signature.inputs
    )
    sizes: Any = None
    if batch > 1:
        dimension = torch.export.Dim("batch", min=1, max=batch)
        sizes = ({0: dimension},) * len(example)
    with torch.no_grad():
        exported = torch.export.export(module, example, dynamic_shapes=sizes)
        edge = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
        content: bytes = edge.to_executorch().buffer
        return content


def _try(executor: ExecuTorchExecutor, signature: Signature, batches: tuple[int, ...]) -> None:
    """Run it with these batch sizes, which is where ExecuTorch finds that it cannot."""
    generator = torch.Generator().manual_seed(0)
    for batch in batches:
        inputs = [
            torch.rand((batch, *spec.shape), generator=generator).to(getattr(torch, spec.dtype)).numpy()
            for spec in signature.inputs
        ]
        for output in executor.run(inputs):
            if output.shape[0] != batch:
                raise ValueError(f"a batch of {batch} gives {list(output.shape)}")
