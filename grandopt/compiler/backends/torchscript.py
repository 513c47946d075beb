"""The TorchScript engine: the trace, frozen, or the archive that the agent came as."""

from __future__ import annotations

import io
import warnings
from importlib import metadata

import torch

from grandopt.compiler.backends.base import Lowered
from grandopt.compiler.backends.calling import conventions
from grandopt.compiler.program import Program
from grandopt.config.engines import TorchScriptOptions
from grandopt.errors import BuildError, UnsupportedError, first_line
from grandopt.runtime.executors.interface import STATEMENT, signature_text
from grandopt.runtime.executors.torchscript import PROGRAM


def lower(program: Program, options: TorchScriptOptions) -> Lowered:
    """The program as `program.pt`: its trace (form "traced"), or the archive as it is (form "archive").

    Freezing makes the weights constants of the graph and folds what depends on them alone; batch norms go
    into the convolutions and linear layers before them. `optimize_for_inference` is only noted down: the
    executor does it after loading. Raises UnsupportedError with the reason when there is no trace or no
    archive, BuildError when torch cannot freeze or save it.
    """
    try:
        with warnings.catch_warnings():
            # TorchScript is deprecated upstream and says so at every entry; it is one engine among several.
            warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
            buffer = io.BytesIO()
            statement = {STATEMENT: signature_text(program.signature)}
            torch.jit.save(_script(program, options), buffer, _extra_files=statement)
            module = torch.jit.load(io.BytesIO(buffer.getvalue()))
    except RuntimeError as error:
        raise BuildError(f"{program.name}: TorchScript refused: {first_line(error)}") from error
    return Lowered(
        files={PROGRAM: buffer.getvalue()},
        options={**options.model_dump(), **conventions(program, module, module)},
        requires={"torch": metadata.version("torch")},
    )


def _script(program: Program, options: TorchScriptOptions) -> torch.jit.ScriptModule:
    if options.form == "archive":
        if not isinstance(program.module, torch.jit.ScriptModule):
            raise UnsupportedError(f"{program.name}: is a {type(program.module).__name__}, not an archive")
        return program.module
    if program.traced is None:
        raise UnsupportedError(f"{program.name}: {program.refusal('trace')}")
    frozen = not hasattr(program.traced, "training")  # the attribute is what freezing takes away
    return torch.jit.freeze(program.traced) if options.freeze and not frozen else program.traced
