"""What a checkpoint's network really takes and gives, found by running it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from grandopt.compiler.capture.inputs import draw
from grandopt.compiler.capture.steady import require_steady
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.program import FORWARD_ERRORS, evaluate
from grandopt.errors import SignatureError, first_line
from grandopt.signature import Role, Signature, TensorSpec

EXAMPLE_BATCH = 2
OTHER_BATCHES = (3, 1)


def observe(checkpoint: Checkpoint, example: Sequence[torch.Tensor]) -> Signature:
    """The declared inputs with the outputs seen on `example` (batch 2) and on batches of 3 and 1.

    Raises SignatureError when the network does not run on its declared inputs, when the number of names or
    roles is wrong, when the declared state does not fit, or when it breaks the contract of a network: it
    keeps state or samples, another batch size fails, or an output does not carry the batch first.
    """
    outputs = _first_run(checkpoint, example)
    _require_dense(outputs)
    if not isinstance(checkpoint.module, torch.jit.ScriptModule):  # an archive was read when it was opened
        require_steady(checkpoint.module, example)
    specs = _specs(checkpoint, outputs)
    for batch in OTHER_BATCHES:
        try:
            others = evaluate(checkpoint.module, draw(checkpoint.inputs, batch, seed=batch))
        except FORWARD_ERRORS as error:
            raise SignatureError(
                f"the network takes a batch of {EXAMPLE_BATCH} but not of {batch} "
                f"({first_line(error)}); its batch size is built in"
            ) from error
        _check_batch(specs, others, batch)
    signature = Signature(checkpoint.inputs, specs)
    signature.check_state(checkpoint.contract)
    return signature


def _require_dense(outputs: Sequence[torch.Tensor]) -> None:
    for number, value in enumerate(outputs):
        kind = "quantized" if value.is_quantized else str(value.layout).removeprefix("torch.")
        if kind != "strided":
            raise SignatureError(
                f"output {number} of the network is a {kind} tensor; an agent gives plain numbers: end it "
                f"with {'.dequantize()' if value.is_quantized else '.to_dense()'}"
            )


def _first_run(checkpoint: Checkpoint, example: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    try:
        return evaluate(checkpoint.module, example)
    except FORWARD_ERRORS as error:
        one = draw(checkpoint.inputs, 1, seed=1)
        if _runs(checkpoint.module, one):
            raise SignatureError(
                f"the network takes a batch of 1 but not of {EXAMPLE_BATCH} "
                f"({first_line(error)}); its batch size is built in"
            ) from error
        declared = ", ".join(f"{spec.name} {list(spec.shape)} {spec.dtype}" for spec in checkpoint.inputs)
        raise SignatureError(
            f"the network does not run on its declared inputs ({declared}): {first_line(error)}"
        ) from error


def _runs(module: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> bool:
    try:
        evaluate(module, inputs)
    except FORWARD_ERRORS:
        return False
    return True


def _specs(checkpoint: Checkpoint, outputs: tuple[torch.Tensor, ...]) -> tuple[TensorSpec, ...]:
    names = checkpoint.output_names or tuple(f"output_{index}" for index in range(len(outputs)))
    roles: tuple[Role, ...] = checkpoint.output_roles or _default_roles(checkpoint, len(outputs))
    for what, given in (("names", names), ("roles", roles)):
        if len(given) != len(outputs):
            raise SignatureError(
                f"{len(given)} output {what} for {len(outputs)} output(s): {', '.join(given)}"
            )
    for name, output in zip(names, outputs, strict=True):
        _check_first(name, output, EXAMPLE_BATCH)
    return tuple(
        TensorSpec(name, tuple(output.shape[1:]), str(output.dtype).removeprefix("torch."), role=role)
        for name, role, output in zip(names, roles, outputs, strict=True)
    )


def _default_roles(checkpoint: Checkpoint, count: int) -> tuple[Role, ...]:
    first: Role = "value" if checkpoint.contract.action == "none" else "action"
    rest: list[Role] = ["value"] * (count - 1)
    return (first, *rest)


def _check_batch(specs: tuple[TensorSpec, ...], outputs: tuple[torch.Tensor, ...], batch: int) -> None:
    if len(outputs) != len(specs):
        raise SignatureError(f"the network gives {len(specs)} output(s), but {len(outputs)} for {batch}")
    for spec, output in zip(specs, outputs, strict=True):
        _check_first(spec.name, output, batch)
        if tuple(output.shape[1:]) != spec.shape:
            raise SignatureError(
                f"output {spec.name} is {list(spec.shape)} for a batch of {EXAMPLE_BATCH} but "
                f"{list(output.shape[1:])} for one of {batch}; its shape must not depend on the batch"
            )


def _check_first(name: str, output: torch.Tensor, batch: int) -> None:
    if output.dim() == 0 or output.shape[0] != batch:
        raise SignatureError(
            f"output {name} does not carry the batch first: inputs with a batch of {batch} "
            f"gave the shape {list(output.shape)}"
        )
