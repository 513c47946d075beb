"""The members of a `.pt2`: which there may be. Read without torch, like the texts in its program."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grandopt.compiler.checkpoints.exported import rules as exported_rules
from grandopt.compiler.checkpoints.vetting import zip_archive
from grandopt.errors import CheckpointError, UntrustedError

PROGRAM = "models/model.json"
KNOWN = re.compile(
    r"archive_format|archive_version|byteorder|version|\.data/(version|serialization_id)|\.format_version|"
    r"\.storage_alignment|models/model\.json|data/weights/(model_weights_config\.json|model\.pt|weight_\d+)|"
    r"data/constants/(model_constants_config\.json|model\.pt|tensor_\d+)|data/sample_inputs/model\.pt|extra/.*"
)
"""What torch.export.save writes for one program. What users add lies below "extra/", and is not read."""

OLD_PROGRAM = "serialized_exported_program.json"
OLD_KNOWN = re.compile(
    r"version|serialized_(exported_program\.json|(state_dict|constants)\.(pt|json)|example_inputs\.pt)|"
    r"extra_files/.*"
)
"""The same as torch wrote it before 2.8."""


@dataclass(frozen=True)
class Members:
    """An archive with nothing in it but what a program needs.

    `document` is the JSON of its program, whose operators only compute, `where` that document's name in
    errors. `root` stands in front of every member's name; `old` is the layout before torch 2.8.
    """

    archive: zip_archive.ZipArchive
    root: str
    old: bool
    document: Any
    where: str


def vetted(path: Path) -> Members:
    """The members of the `.pt2` at `path`.

    Raises UntrustedError naming the first that no program needs, or a text in the program that is more than
    computation; CheckpointError for a damaged archive.
    """
    archive = zip_archive.opened(path)
    old = OLD_PROGRAM in archive.names
    root = "" if old else _root(archive)
    known = OLD_KNOWN if old else KNOWN
    for name in archive.names:
        if not name.startswith(root) or known.fullmatch(name.removeprefix(root)) is None:
            raise UntrustedError(
                f"{archive.where}: member {name!r} is none that a program needs, so the file is not read; "
                f"pass --trust (or `trust: true`) only if you know who made it"
            )
    if f"{root}archive_version" in archive.names and archive.read(f"{root}archive_version") != b"0":
        raise CheckpointError(
            f"{archive.where}: is a .pt2 of another version than 0, which this grandopt reads"
        )
    member = OLD_PROGRAM if old else f"{root}{PROGRAM}"
    where = f"{archive.where} ({member.removeprefix(root)})"
    document = exported_rules.parsed(archive.read(member), where)
    exported_rules.require_plain(document, where)
    return Members(archive, root, old, document, where)


def _root(archive: zip_archive.ZipArchive) -> str:
    """What stands in front of all names of an archive in the present layout."""
    roots = [name.removesuffix("archive_format") for name in archive.names if _is(name, "archive_format")]
    if len(roots) != 1 or archive.read(f"{roots[0]}archive_format") != b"pt2":
        raise CheckpointError(f"{archive.where}: is no torch.export program: 'archive_format' is missing")
    return roots[0]


def _is(name: str, inner: str) -> bool:
    return name == inner or (name.endswith(f"/{inner}") and name.count("/") == 1)
