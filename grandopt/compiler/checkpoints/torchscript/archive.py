"""The members of a TorchScript archive: read and checked here; torch is given a copy of these alone."""

from __future__ import annotations

import re
from dataclasses import dataclass

from grandopt import limits
from grandopt.compiler.checkpoints.torchscript import code as torchscript_code
from grandopt.compiler.checkpoints.vetting import pickle_scan, zip_archive
from grandopt.errors import CheckpointError, UntrustedError

PICKLES = ("data.pkl", "constants.pkl")
KEPT = re.compile(
    r"data\.pkl|constants\.pkl|(data|constants)/\d+|code/.+\.py|version|\.data/version|byteorder|\.format_version|"
    r"\.storage_alignment"
)
NOTES = re.compile(r"code/.+\.py\.debug_pkl")
"""Where each line of code came from; torch reads it when it reports an error."""

CLASS = re.compile(r"__torch__\.torch\.classes\.(\w+)\.")


@dataclass(frozen=True)
class Vetted:
    """An archive that runs nothing but allowed operators; its members have `held` bytes."""

    data: bytes
    held: int


def vetted(data: bytes, where: str, *, to_run: bool) -> Vetted:
    """The archive in `data`, rewritten with what was checked.

    Raises UntrustedError naming what could do more than compute, also for a loop without a limit if it is
    `to_run`, and CheckpointError for a damaged archive or one beyond the limits.
    """
    archive = zip_archive.from_bytes(data, where)
    roots = [name.removesuffix("constants.pkl") for name in archive.names if name.endswith("/constants.pkl")]
    if len(roots) != 1:
        raise CheckpointError(
            f"{where}: is no TorchScript archive: it has {len(roots)} members 'constants.pkl'"
        )
    root = roots[0]
    members = {
        name.removeprefix(root): archive.read(name)
        for name in archive.names
        if name.startswith(root) and KEPT.fullmatch(name.removeprefix(root))
    }
    try:
        for name in PICKLES:
            _require_plain_pickle(members.get(name, b""), f"{where} ({name})")
        endless = torchscript_code.require_plain(_sources(members, where))
    except torchscript_code.StrangeCodeError as error:
        raise UntrustedError(
            f"{where}: {error}; pass --trust (or `trust: true`) only if you know who made it"
        ) from error
    if to_run and endless:
        raise UntrustedError(
            f"{where}: loops for as long as a condition holds (`while`), which may be for ever; pass --trust "
            f"(or `trust: true`) only if you know who made it"
        )
    held = sum(map(len, members.values()))
    for name in archive.names:
        if name.startswith(root) and NOTES.fullmatch(name.removeprefix(root)):
            note = archive.read(name)
            if _is_shallow(note):
                members[name.removeprefix(root)] = note
    copy = zip_archive.written({f"archive/{name}": content for name, content in members.items()})
    return Vetted(copy, held)


def _sources(members: dict[str, bytes], where: str) -> list[str]:
    sources = [content for name, content in members.items() if name.endswith(".py")]
    size = sum(map(len, sources))
    if size > limits.CODE_BYTES:
        raise CheckpointError(f"{where}: has {size:,} bytes of code; at most {limits.CODE_BYTES:,} are read")
    try:
        return [source.decode("ascii") for source in sources]
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{where}: its code is damaged: {error.reason}") from error


def _require_plain_pickle(data: bytes, where: str) -> None:
    found = pickle_scan.scan(data)
    if found.greedy is not None:
        raise CheckpointError(f"{where}: {found.greedy}; it is not read")
    if not found.complete:
        raise CheckpointError(f"{where}: is truncated or damaged: the pickle in it does not end")
    if found.containers > limits.CONTAINERS:
        raise CheckpointError(
            f"{where}: holds {found.containers:,} lists and objects; at most {limits.CONTAINERS:,} are read"
        )
    for name in found.globals:
        match = CLASS.match(name)
        if match is not None:
            torchscript_code.require_class(match.group(1))


def _is_shallow(data: bytes) -> bool:
    found = pickle_scan.scan(data)
    return found.complete and found.greedy is None and found.deepest <= limits.DEPTH
