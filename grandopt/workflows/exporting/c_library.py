"""A native artifact as a folder for hosts that are not Python."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grandopt.artifacts import fields
from grandopt.artifacts.artifact import Artifact, read
from grandopt.artifacts.machine import by_demand
from grandopt.config.engines import ENGINE_CLASSES
from grandopt.errors import ArtifactError, VerificationError
from grandopt.workflows.exporting.arm_source import arm_source
from grandopt.workflows.exporting.folder import put_folder, require_free
from grandopt.workflows.exporting.realtime.check import check
from grandopt.workflows.exporting.realtime.contract import Contract, unclaimed

REALTIME = "realtime.json"
"""The file that says what was found out about the real-time contract."""
HOLD_C = tuple(name for name, kind in ENGINE_CLASSES.items() if kind.holds_c)


def export_c(path: Path, folder: Path, *, realtime: bool = False) -> tuple[str, ...]:
    """Write the agent's header, libraries (static and shared), C source, examples and Makefile into `folder`,
    and beside them the source for 64-bit Arm.

    Of an artifact under the real-time contract the libraries are held against it, for which the agent is
    run: the header and REALTIME say what came out. `folder` is made if it is missing and must be empty.
    Returns the names of the files. Raises ArtifactError when the artifact is not a native one or is damaged,
    and where `realtime` demands a contract that it is not under; VerificationError where that cannot be
    relied on; OutputError when the folder cannot be written.
    """
    require_free(folder)
    artifact = read(path)
    artifact.verify_signed()
    if artifact.manifest.engine not in HOLD_C:
        able = " or ".join(HOLD_C)
        raise ArtifactError(
            f"{path}: its engine is {artifact.manifest.engine}; only {able} artifacts hold C, "
            f"build one with --engine {able}"
        )
    files = _files(artifact)
    _note_contract(artifact, files, demanded=realtime)
    files |= arm_source(artifact)
    put_folder(folder, files)
    return tuple(sorted(files))


def _note_contract(artifact: Artifact, files: dict[str, bytes], *, demanded: bool) -> None:
    """Write into `files` what holds of the real-time contract; raises as `export_c` says."""
    manifest = artifact.manifest
    header = f"{manifest.options['symbol']}.h"
    if header not in files:
        raise ArtifactError(f"{artifact.path}: holds no header {header}; build it again")
    if not manifest.options.get("realtime", False):
        if demanded:
            raise ArtifactError(
                f"{artifact.path}: was not built under the real-time contract; build it with "
                f"`grandopt optimize --realtime`"
            )
        comment = unclaimed()
    else:
        contract = check(manifest, files)
        if demanded:
            _require(artifact, contract)
        comment = contract.comment()
        files[REALTIME] = (json.dumps(contract.to_json(), indent=2) + "\n").encode()
    files[header] = comment.encode() + files[header]


def _require(artifact: Artifact, contract: Contract) -> None:
    if contract.objections:
        found = "; ".join(contract.objections)
        raise VerificationError(f"{artifact.path}: the real-time contract cannot be relied on: {found}")


def _files(artifact: Artifact) -> dict[str, bytes]:
    options = artifact.manifest.options
    try:
        needs = {
            level: fields.texts(f"options.levels.{level}", one) for level, one in options["levels"].items()
        }
        shared = {level: artifact.payload(f"agent.{level}.so") for level in by_demand(needs)}
        symbol, start, size = options["symbol"], options["weights_offset"], options["weights_bytes"]
        with zipfile.ZipFile(io.BytesIO(artifact.payload("source.zip"))) as archive:
            files = {Path(name).name: archive.read(name) for name in archive.namelist()}
        # Where they are is told of the most demanding level's.
        weights = next(iter(shared.values()))[start : start + size]
        # The archive keeps the place of the weights in the hosts' libraries empty: they are stored already.
        for name, offset in _hollow(options).items():
            hollow = files[name]
            files[name] = hollow[:offset] + weights + hollow[offset + size :]
    except (KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"{artifact.path}: holds no C libraries ({error}); build it again") from error
    named = {}
    if (
        "hollow_offsets" not in options
    ):  # earlier releases: one shared library per level, for Python and for C
        named = {f"lib{symbol}.{level}.so": content for level, content in shared.items()}
    return {**named, **files, "weights.bin": weights}


def _hollow(options: Mapping[str, Any]) -> dict[str, int]:
    """Where the weights belong in the libraries of the archive, by file name."""
    if "hollow_offsets" in options:
        return dict(options["hollow_offsets"])
    earlier = options.get("static_weights_offsets", {})
    return {f"lib{options['symbol']}.{level}.a": offset for level, offset in earlier.items()}
