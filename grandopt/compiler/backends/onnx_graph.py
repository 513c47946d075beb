"""A program as an ONNX graph: what the engines that read ONNX are built from."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from grandopt.compiler.backends.calling import stateless
from grandopt.compiler.program import Program
from grandopt.errors import BuildError, EngineUnavailableError, UnsupportedError, first_line
from grandopt.signature import Array

LARGEST = 2**31 - 1
"""Bytes that a protobuf message, and with it an ONNX file with its weights inside, can have."""

_OPERATOR = re.compile(r"OpOverload\(op='([\w.:]+)'")
"""How the exporter names the operator that it has no function for, in the innermost of its errors."""


def onnx_graph(program: Program, engine: str) -> bytes:
    """The exported program as one ONNX file, weights inside, with a dynamic batch.

    Inputs and outputs have the signature's names. `engine` names the extra in the advice. Raises
    EngineUnavailableError when the exporter's packages are not installed, UnsupportedError (naming the
    operator) when the program has no such form, BuildError when the exporter failed.
    """
    exported = stateless(program)
    size = sum(value.nbytes for value in exported.state_dict.values())
    if size > LARGEST:
        raise UnsupportedError(
            f"{program.name}: has {size / 1e9:.1f} GB of weights; an ONNX file holds at most 2.1 GB"
        )
    names = [spec.name for spec in program.signature.inputs]
    try:
        import onnxscript  # noqa: F401 - torch imports it when it exports, and its error would be less clear
    except ImportError as error:
        raise EngineUnavailableError(
            f"{first_line(error)}: building for {engine} needs torch's ONNX exporter; "
            f"pip install 'grandopt[{engine}]'",
            remedy=f"pip install 'grandopt[{engine}]'",
        ) from error
    try:
        with _quiet():
            made: Any = torch.onnx.export(
                exported,
                dynamo=True,
                external_data=False,
                verbose=False,
                input_names=names,
                output_names=[spec.name for spec in program.signature.outputs],
            )
            content: bytes = made.model_proto.SerializeToString()
    except torch.onnx.OnnxExporterError as error:
        raise _translated(program, error) from error
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError) as error:
        raise BuildError(f"{program.name}: the ONNX exporter failed: {first_line(error)}") from error
    return content


def confirm(program: Program, run: Callable[[Sequence[Array]], Sequence[Array]]) -> None:
    """Raise BuildError unless `run` gives the signature's shapes and dtypes, for batches of 1 and 2."""
    for batch in (1, 2):
        outputs = run([value[:batch].numpy().copy() for value in program.example])
        declared = [(spec.dtype, [batch, *spec.shape]) for spec in program.signature.outputs]
        given = [(str(output.dtype), list(output.shape)) for output in outputs]
        if given != declared:
            raise BuildError(
                f"{program.name}: the built program gives {given}, its signature says {declared}"
            )


def _translated(program: Program, error: Exception) -> UnsupportedError | BuildError:
    """What the exporter's pages of text come down to: the operator it does not know, or the first line."""
    innermost: BaseException = error
    while innermost.__cause__ is not None:
        innermost = innermost.__cause__
    operator = _OPERATOR.search(str(innermost))
    if operator is not None:
        return UnsupportedError(f"{program.name}: ONNX has no form of the operator {operator[1]}")
    return BuildError(f"{program.name}: the ONNX exporter failed: {first_line(innermost)}")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter reports progress, version notes and what it then raises; none of it is for our users."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
