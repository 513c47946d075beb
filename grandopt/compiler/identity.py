"""What makes two programs the same to a build: the code of the graph and the bytes of its weights."""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import os
import re
import shlex
import subprocess
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import cloudpickle
import torch

from grandopt.compiler.program import PICKLE_ERRORS, Program
from grandopt.config.engine import Engine
from grandopt.config.engines import ENGINE_CLASSES
from grandopt.signature import Array, TensorSpec

_MANGLE = re.compile(rb"___torch_mangle_\d+\.?")


def weights_digest(module: torch.nn.Module) -> str:
    """SHA-256 (hex) over names, dtypes, shapes and bytes of all parameters and buffers.

    Of a TorchScript archive, whose weights may be constants of its graph, over the code and all its tensors.
    """
    if isinstance(module, torch.jit.ScriptModule):
        return _digest(_archive_parts(module))
    named = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    return _digest(_tensor_parts(named))


def graph_digest(program: Program) -> str:
    """SHA-256 (hex) over what the program computes, weights included.

    That is the exported graph with its constants and the source of the network's classes; without an export
    the source and the pickled module, because attributes of its own may steer it. A network that can be
    neither exported nor pickled is told apart by its source and what it prints.
    """
    if program.identity is not None:
        return program.identity
    module = program.module
    if isinstance(module, torch.jit.ScriptModule):
        return _digest(_archive_parts(module))
    parts = [*_source_parts(module), weights_digest(module).encode()]
    exported = program.exported
    if exported is not None:
        constants = {**exported.state_dict, **exported.constants}
        parts += [exported.graph_module.code.encode(), *_tensor_parts(sorted(constants.items()))]
    else:
        parts.append(_pickled(module))
    return _digest(parts)


def module_digest(module: torch.nn.Module, inputs: Sequence[TensorSpec]) -> str | None:
    """SHA-256 (hex) over a network before it is captured: what its capture depends on.

    That is the source files of its classes, its weights, attributes and inputs, and the compilers. None where
    the attributes cannot be told because the module cannot be pickled. Code in other files is not in it.
    """
    described = [repr(tuple(inputs)).encode(), json.dumps(compiler_identity()).encode()]
    if isinstance(module, torch.jit.ScriptModule):
        return _digest([*described, *_archive_parts(module)])
    pickled = _pickled(module)
    if not pickled:
        return None
    files = sorted({file for file in map(_source_file, {type(child) for child in module.modules()}) if file})
    sources = [file.read_bytes() for file in files]
    return _digest([*described, *_source_parts(module), *sources, weights_digest(module).encode(), pickled])


@lru_cache(maxsize=1)
def compiler_identity() -> dict[str, str]:
    """The compilers a build goes through: torch, its quantization kernels, and grandopt down to its code."""
    package = Path(__file__).resolve().parent
    code = _digest(path.read_bytes() for path in sorted(package.rglob("*.py")))
    return {
        "torch": torch.__version__,
        "quantized_engine": str(torch.backends.quantized.engine),
        "grandopt": metadata.version("grandopt"),
        "code": code,
    }


def engine_identity(engine: str) -> dict[str, str]:
    """What an engine's builds go through beside `compiler_identity`: libraries with versions, "" for one that
    is not installed, and the C++ compiler as it calls itself."""
    kind = ENGINE_CLASSES.get(engine, Engine)
    found = {library: _version(library) for library in (*kind.libraries, *kind.builders)}
    return {**found, **({"cxx": _cxx(os.environ.get("CXX", "g++"))} if kind.compiler == "c++" else {})}


def arrays_digest(arrays: Iterable[Array]) -> str:
    """SHA-256 (hex) over dtypes, shapes and values."""
    return _digest(
        part for array in arrays for part in (f"{array.dtype} {array.shape}".encode(), array.tobytes())
    )


def content_digest(payload: bytes) -> str:
    """SHA-256 (hex) of what a payload file says: of a TorchScript archive but for what differs between two
    savings of one module, of any other file of all its bytes."""
    file = io.BytesIO(payload)
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            script = any(name.partition("/")[2] == "constants.pkl" for name in archive.namelist())
        if script:
            return _digest(_members(file))
    return hashlib.sha256(payload).hexdigest()


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return ""


@lru_cache(maxsize=4)
def _cxx(command: str) -> str:
    try:
        answer = subprocess.run(
            [*shlex.split(command), "--version"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))  # so that no two lists of parts read the same
        digest.update(part)
    return digest.hexdigest()


def _tensor_parts(named: Iterable[tuple[str, Any]]) -> Iterator[bytes]:
    for name, value in named:
        if isinstance(value, torch.Tensor):
            yield f"{name} {value.dtype} {list(value.shape)}".encode()
            yield value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        else:
            yield f"{name} {value!r}".encode()


def _source_parts(module: torch.nn.Module) -> Iterator[bytes]:
    for kind in sorted({type(child) for child in module.modules()}, key=lambda kind: kind.__qualname__):
        yield f"{kind.__module__}.{kind.__qualname__}".encode()
        if kind.__module__.partition(".")[0] == "torch":
            continue  # its version is in the key
        try:
            yield inspect.getsource(kind).encode()
        except (OSError, TypeError):  # typed at a prompt, or made by a decorator
            yield b""
    yield repr(module).encode()


def _source_file(kind: type) -> Path | None:
    if kind.__module__.partition(".")[0] == "torch":
        return None
    try:
        path = Path(inspect.getfile(kind))
    except (OSError, TypeError):
        return None
    return path if path.is_file() else None


class _Pickler(cloudpickle.Pickler):
    """Pickles tensors as their contents alone: torch's own way has an address of memory in it."""

    def persistent_id(self, obj: Any) -> str | None:
        return _digest(_tensor_parts([("", obj)])) if isinstance(obj, torch.Tensor) else None


def _pickled(module: torch.nn.Module) -> bytes:
    buffer = io.BytesIO()
    try:
        _Pickler(buffer).dump(module)
    except PICKLE_ERRORS:
        return b""
    return buffer.getvalue()


def _archive_parts(module: torch.jit.ScriptModule) -> Iterator[bytes]:
    """The members of the saved archive without what differs from one saving to the next."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        torch.jit.save(module, buffer)
    yield from _members(buffer)


def _members(file: io.BytesIO) -> Iterator[bytes]:
    """Names and contents of a TorchScript archive's members but for what differs between two savings: source
    locations, a serial number, and the numbers that tell classes of one name apart in a process."""
    with zipfile.ZipFile(file) as archive:
        for name in sorted(archive.namelist()):
            inner = name.partition("/")[2]
            if inner.endswith(".debug_pkl") or inner.startswith(".data/"):
                continue
            yield _MANGLE.sub(b"", inner.encode())
            yield _MANGLE.sub(b"", archive.read(name))
