"""The eager engine: the exported program, or the original module itself, run operator by operator."""

from __future__ import annotations

import copy
import io
import pickle
from importlib import metadata
from platform import python_version

import cloudpickle
import torch

from grandopt.compiler.backends.base import Lowered
from grandopt.compiler.backends.calling import conventions
from grandopt.compiler.program import PICKLE_ERRORS, Program
from grandopt.config.engines import EagerOptions
from grandopt.errors import BuildError, UnsupportedError, first_line
from grandopt.runtime.executors.eager import EXPORTED, MODULE, flat_module, loaded
from grandopt.runtime.executors.tensor import TensorExecutor, behaving

SAVE_ERRORS = (RuntimeError, AssertionError, TypeError, ValueError, LookupError, AttributeError)


def lower(program: Program, options: EagerOptions) -> Lowered:
    """The program as `program.pt2` (form "exported") or `module.pkl` (form "module", which must be trusted).

    Either is loaded again and run before it is returned. Raises UnsupportedError with the reason when there
    is no exported program, when the module cannot be pickled, or when it keeps state between calls;
    BuildError when torch cannot save the program.
    """
    if options.form == "module":
        return _module(program, options)
    return _exported(program, options)


def in_memory(program: Program) -> TensorExecutor:
    """The program's module itself, called in this process; nothing is saved and nothing compiled.

    Raises UnsupportedError for a module that keeps state between calls, BuildError where a call fails.
    """
    behaviour = conventions(program, program.module, program.module)
    return behaving(program.signature, program.contract, program.module, **behaviour)


def _exported(program: Program, options: EagerOptions) -> Lowered:
    if program.exported is None:
        raise UnsupportedError(f"{program.name}: not exported: {program.refusal('export')}")
    twin = copy.copy(program.exported)
    twin.example_inputs = None  # the only part of the file that would be a pickle
    buffer = io.BytesIO()
    try:
        torch.export.save(twin, buffer)
        module = flat_module(loaded(buffer.getvalue()))
    except SAVE_ERRORS as error:
        raise BuildError(f"{program.name}: torch.export cannot save it: {first_line(error)}") from error
    return Lowered(
        files={EXPORTED: buffer.getvalue()},
        options={**options.model_dump(), **conventions(program, module, module.forward)},
        requires={"torch": metadata.version("torch")},
    )


def _module(program: Program, options: EagerOptions) -> Lowered:
    try:
        content = cloudpickle.dumps(program.module)
        module = pickle.loads(content)
    except PICKLE_ERRORS as error:
        kind = type(program.module).__name__
        raise UnsupportedError(f"{program.name}: {kind} cannot be pickled: {first_line(error)}") from error
    return Lowered(
        files={MODULE: content},
        options={**options.model_dump(), **conventions(program, module, module)},
        requires={
            "torch": metadata.version("torch"),
            "cloudpickle": metadata.version("cloudpickle"),
            "python": python_version(),
        },
        trusted_only=True,
    )
