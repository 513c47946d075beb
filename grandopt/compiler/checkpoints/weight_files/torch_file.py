"""Files written by `torch.save`: read weights-only, every way of failing translated here.

NumPy's arrays among the tensors, and in plain pickles, come out as tensors.
"""

from __future__ import annotations

import io
import pickle
import struct
import warnings
from pathlib import Path
from typing import Any

import torch

from grandopt.compiler.checkpoints import files
from grandopt.compiler.checkpoints.vetting import arrays, plain_entries, tree, zip_archive
from grandopt.compiler.checkpoints.vetting.foreign import current_folder_importable, foreign_code
from grandopt.compiler.checkpoints.vetting.pickle_scan import PickleScan, scan
from grandopt.compiler.checkpoints.weight_files import numpy_pickle
from grandopt.errors import CheckpointError, UntrustedError, named_line

LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How `torch.save` began its files before it wrote zips (torch 1.6): a pickle of the number 0x1950a86a…"""

LEGACY_PICKLES = 4
"""Such a file is a row of pickles: that number, the protocol, facts about the machine, the object."""

DAMAGED = (
    RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError, AssertionError, OSError,
    struct.error, ArithmeticError, MemoryError,
)  # fmt: skip
"""What torch.load is seen to raise on truncated or random bytes, beside UnpicklingError."""

MEMBERS = ("data.pkl", "byteorder", "version", ".format_version", ".storage_alignment")
"""What torch reads of the members of its zip, beside those below "data/"."""

ORDINARY = (
    "collections.OrderedDict", "torch._utils.", "torch.FloatStorage", "__builtin__.", "builtins.set",
    numpy_pickle.ENCODE, *arrays.CLASSES,
)  # fmt: skip
"""Globals of any file with tensors; a refusal names the others."""

INSTEAD = {
    "ray.": "as it is RLlib's, call torch.save(algo.get_module().state_dict(), 'FILE.pt')",
    "brax.": "as it is Brax's, save a folder with brax.training.agents.ppo.checkpoint.save",
    "tianshou.": "as it is Tianshou's, save policy.state_dict() alone",
    "d3rlpy.": "as it is d3rlpy's, save it with algo.save('FILE.d3')",
    "stable_baselines3.": "as it is Stable-Baselines3's, save it with model.save('FILE.zip')",
}
"""What to save, by the package that a pickle names classes of."""


def read(path: Path, *, trust: bool = False) -> Any:
    """The object in a `torch.save` file or a plain pickle, tensors on the CPU.

    Without `trust` only tensors and plain containers come out (`weights_only=True`): UntrustedError says
    what the file would have to run instead. Raises CheckpointError for a damaged file, and for one that
    comes to more than the limits.
    """
    return from_bytes(files.content(path), str(path), trust=trust)


def from_bytes(data: bytes, where: str, *, trust: bool = False) -> Any:
    """Like `read`, for the bytes of a file or of an archive's member; `where` names it in errors."""
    if trust:
        return _unpickled(data, where)
    held = len(data)
    if data.startswith(zip_archive.MAGIC):
        data, held = _plain_copy(zip_archive.from_bytes(data, where))
    found = contents(data)
    if found.greedy is not None:
        raise CheckpointError(f"{where}: the pickle in it {found.greedy}; it is not read")
    if not data.startswith((zip_archive.MAGIC, LEGACY_MAGIC)) and numpy_pickle.holds_arrays(found):
        return numpy_pickle.read(data, where)
    stand_ins: list[Any] = [(stand_in, name) for name, stand_in in arrays.CLASSES.items()]
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(stand_ins):
            # torch warns of pickle protocols above 2 and of sparse tensors; whether it can read them shows.
            warnings.simplefilter("ignore")
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refusal(found, where) from error
    except DAMAGED as error:
        if found.complete and not found.has_tensors and not data.startswith(zip_archive.MAGIC):
            raise _refusal(found, where) from error
        raise CheckpointError(f"{where}: is damaged or not a torch file: {named_line(error)}") from error
    tree.require_bounded(content, held, where)
    return arrays.as_tensors(content, held, where)


def read_plain_entries(path: Path) -> tuple[Any, tuple[str, ...]] | None:
    """Like `read` without trust, for a file that this refuses: the dict in it without the entries that would
    have to be unpickled, and their keys.

    None where such entries cannot be told apart. Raises like `read` for what is refused even so.
    """
    data = files.content(path)
    if not data.startswith(zip_archive.MAGIC):
        return None
    archive = zip_archive.from_bytes(data, str(path))
    pickled = next((name for name in archive.names if name.endswith("/data.pkl")), None)
    plain = None if pickled is None else plain_entries.without_foreign(archive.read(pickled))
    if plain is None or not plain[1]:
        return None
    members = {name: archive.read(name) for name in archive.names if name != pickled}
    return from_bytes(zip_archive.written({**members, str(pickled): plain[0]}), str(path)), plain[1]


def _plain_copy(archive: zip_archive.ZipArchive) -> tuple[bytes, int]:
    """The same torch file with the members that torch needs and no others, and the bytes of those."""
    members = {}
    for name in archive.names:
        _, _, inner = name.partition("/")
        if inner in MEMBERS or inner.startswith("data/"):
            members[f"archive/{inner}"] = archive.read(name)
    return zip_archive.written(members), sum(map(len, members.values()))


def contents(data: bytes) -> PickleScan:
    """What the pickle inside the bytes of a torch file, or the plain pickle, would import."""
    if data.startswith(zip_archive.MAGIC):
        return scan(_inner_pickle(data))
    return scan(data, LEGACY_PICKLES if data.startswith(LEGACY_MAGIC) else 1)


def _inner_pickle(data: bytes) -> bytes:
    try:
        archive = zip_archive.from_bytes(data, "")
        name = next((name for name in archive.names if name.endswith("/data.pkl")), None)
        return b"" if name is None else archive.read(name)
    except CheckpointError:
        return b""  # cut short: a scan of nothing says so


def _refusal(found: PickleScan, where: str) -> CheckpointError:
    if not found.complete:
        return CheckpointError(f"{where}: is truncated or damaged: the pickle in it does not end")
    if not found.has_tensors and not found.globals:
        return UntrustedError(
            f"{where}: is a pickle that holds no tensors, so it is no agent, and it would need --trust to "
            f"be unpickled"
        )
    foreign = [name for name in found.globals if not name.startswith(ORDINARY)] or list(found.globals)
    named = ", ".join(foreign[:3]) + (", …" if len(foreign) > 3 else "")
    tensors = "" if found.has_tensors else "holds no tensors and "
    known = (name for name in INSTEAD if any(own.startswith(name) for own in foreign))
    instead = INSTEAD.get(next(known, ""), "save its state_dict() instead")
    return UntrustedError(
        f"{where}: {tensors}would have to be unpickled, which runs code that the file names ({named}); pass "
        f"--trust (or `trust: true`) only if you know who made it, or {instead}"
    )


def _unpickled(data: bytes, where: str) -> Any:
    with current_folder_importable(), foreign_code(f"{where}: cannot be unpickled"):
        if data.startswith((zip_archive.MAGIC, LEGACY_MAGIC)):
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=False)
        return pickle.loads(data)
