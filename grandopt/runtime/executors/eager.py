"""The eager engine: a network run operator by operator, as torch does without any compiler."""

from __future__ import annotations

import io
import logging
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch.fx.graph import CodeGen

from grandopt import limits
from grandopt.artifacts.artifact import Artifact
from grandopt.errors import ArtifactError, first_line
from grandopt.runtime.executors.interface import Told, check_tensors
from grandopt.runtime.executors.options import option
from grandopt.runtime.executors.shared import contents, shared
from grandopt.runtime.executors.tensor import Forward, TensorExecutor, executor

ENGINE = "eager"
EXPORTED = "program.pt2"
MODULE = "module.pkl"

# What `torch.export.save` writes for a program of plain tensors. Anything else (an object, the sample inputs,
# the format of old versions) would be unpickled by `torch.export.load`.
_MEMBERS = re.compile(
    r"[^/]+/(data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)"
    r"|models/model\.json|archive_format|archive_version|byteorder|version|\.data/\w+)"
)
_EMPTY_SAMPLE_INPUTS = "data/sample_inputs/model.pt"


def load(artifact: Artifact, threads: int) -> TensorExecutor:
    """The executor of an eager artifact: `program.pt2`, or `module.pkl`, which is unpickled.

    `threads` becomes the number of threads of torch's operators in this whole process. The caller has made
    sure that a payload to be unpickled is trusted. Raises ArtifactError when the payload cannot be loaded.
    """
    torch.set_num_threads(threads)
    form = option(artifact, "form", ("exported", "module"))
    opened = shared(
        contents(artifact, threads),
        lambda: _exported(artifact) if form == "exported" else OpenedModule(_module(artifact)),
    )
    if opened.value.inputs is not None:
        signature = artifact.manifest.parsed_signature()
        check_tensors(artifact, signature, opened.value.inputs, opened.value.outputs)
    return executor(artifact, opened.value.forward, opened)


class OpenedModule(NamedTuple):
    """A network, and the tensors that it tells; a pickled module tells none."""

    forward: Forward
    inputs: Sequence[Told] | None = None
    outputs: Sequence[Told] = ()


def flat_module(program: torch.export.ExportedProgram) -> torch.fx.GraphModule:
    """The program as a module whose `forward` is a plain function: tensors in, a tensor or a flat tuple out.

    The callable that `ExportedProgram.module` gives walks the trees of its arguments and results, looks each
    weight up through `nn.Module.__getattr__`, and repeats at each call the checks of the inputs that
    `Signature.prepare` has made. For a small agent that is more work than the network itself.
    """
    module = program.module(check_guards=False)
    graph = module.graph
    for index, node in enumerate(graph.find_nodes(op="get_attr")):
        value: object = module
        for part in node.target.split("."):
            value = getattr(value, part)
        if isinstance(value, torch.Tensor):
            node.target = f"_tensor_{index}"
            module.__dict__[node.target] = value
    output = graph.output_node()
    values = output.args[0]
    if isinstance(values, list | tuple) and len(values) == 1:
        output.args = (values[0],)
    graph.set_codegen(CodeGen())
    module.recompile()
    return module


def loaded(content: bytes) -> torch.export.ExportedProgram:
    """The program that `torch.export.save` wrote; raises what `torch.export.load` raises."""
    with warnings.catch_warnings():
        # Up to torch 2.12 it warns that the tensors share the bytes of the file, which nobody writes to.
        warnings.filterwarnings("ignore", "The given buffer is not writable", UserWarning)
        return torch.export.load(io.BytesIO(content))


def _exported(artifact: Artifact) -> OpenedModule:
    content = artifact.payload(EXPORTED)
    where = artifact.path / EXPORTED
    _refuse_pickles(content, str(where))
    try:
        with _without_tracebacks():
            program = loaded(content)
        signature = program.graph_signature
        told = [_told(program, names) for names in (signature.user_inputs, signature.user_outputs)]
        return OpenedModule(flat_module(program).forward, *told)
    except (RuntimeError, AssertionError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(
            f"{where}: torch {torch.__version__} cannot load it: {first_line(error)}; build it again"
        ) from error


def _told(program: torch.export.ExportedProgram, names: Sequence[object]) -> list[Told]:
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    return [_tensor(values.get(name)) if isinstance(name, str) else Told("number", None) for name in names]


def _tensor(value: object) -> Told:
    if not isinstance(value, torch.Tensor):
        return Told(type(value).__name__, None)
    sizes = [size if isinstance(size, int) else None for size in value.shape]
    return Told(str(value.dtype).removeprefix("torch."), sizes)


def _module(artifact: Artifact) -> Forward:
    content = artifact.payload(MODULE)
    try:
        module = pickle.loads(content)
    except (pickle.UnpicklingError, ImportError, EOFError, LookupError, TypeError, ValueError,
            AttributeError, RuntimeError) as error:  # fmt: skip
        raise ArtifactError(
            f"{artifact.path / MODULE}: cannot be unpickled here: {first_line(error)}; make the code of the "
            f"network importable, or build the artifact again"
        ) from error
    if not isinstance(module, torch.nn.Module):
        raise ArtifactError(f"{artifact.path / MODULE}: holds a {type(module).__name__}, not a network")
    return module.eval()


def _refuse_pickles(content: bytes, where: str) -> None:
    """Raise ArtifactError unless `torch.export.load` finds nothing to unpickle in the archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            bad = [
                item.filename
                for item in archive.infolist()
                if not _MEMBERS.fullmatch(item.filename)
                and not (item.filename.endswith(_EMPTY_SAMPLE_INPUTS) and item.file_size == 0)
            ]
            configs = [limits.document(archive.read(name)) for name in names if name.endswith("_config.json")]
        entries = [entry for config in configs for entry in config["config"].values()]
        pickled = any(entry["use_pickle"] for entry in entries)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, LookupError, TypeError,
            AttributeError) as error:  # fmt: skip
        raise ArtifactError(
            f"{where}: not an exported program: {first_line(error)}; build it again"
        ) from error
    if len(set(names)) != len(names):
        raise ArtifactError(f"{where}: two members of the archive have one name; it is not opened")
    if bad or pickled:
        what = repr(bad[0]) if bad else "a pickled tensor"
        raise ArtifactError(
            f"{where}: holds {what}, which would have to be unpickled; it "
            f"was not written by grandopt and is not opened"
        )


@contextmanager
def _without_tracebacks() -> Iterator[None]:
    # On a file that it cannot read, torch.export.load logs a traceback and then raises the same error.
    logger = logging.getLogger("torch.export")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
