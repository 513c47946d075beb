"""From an artifact on disk to something that can be called."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from grandopt.artifacts.artifact import Artifact, read
from grandopt.artifacts.libraries import installed_version
from grandopt.artifacts.machine import architecture, cpu_features
from grandopt.artifacts.signing.requirement import Requirement, required
from grandopt.errors import ArtifactError, ConfigError, SignatureError
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.executors.wait_policy import sleeping_threads


def load(
    path: Path | str,
    *,
    trust: bool = False,
    threads: int | None = None,
    require_signature: Requirement = None,
) -> Executor:
    """Load the artifact at `path` (its folder or its manifest.json) for calls from any thread.

    No library but the one of the artifact's engine is imported. `trust` admits a payload that has to be
    unpickled, which runs code from it. `threads` replaces the manifest's number of threads; engines of torch
    set it for the whole process, so the last loaded artifact decides. Between calls threads sleep, unless the
    artifact was found to be faster otherwise, or torch, imported before, came with threads that do not.

    With `require_signature` (a file of public keys, or a folder of them) one of these keys must have signed
    the artifact: see `grandopt sign`. Signature and digests of all its files are checked before any of them
    is opened, and what is opened then are copies in memory that nobody can change.

    Raises ArtifactError when the artifact is missing, damaged, not signed as required, not trusted, or does
    not fit this machine, this Python or these libraries; the message says which. Raises ConfigError for
    `threads` below 1, and for keys that cannot be read.
    """
    if threads is not None and threads < 1:
        raise ConfigError(f"threads must be at least 1, got {threads}")
    keys = required(require_signature)
    while True:
        artifact = read(Path(path), keys)
        try:
            check_fit(artifact, trust=trust)
            if artifact.manifest.engine != "native":
                # Before the engine is imported. Native artifacts are opened by path, and hold more than one
                # process uses: their executor checks the two files that it opens.
                artifact = artifact.holding()
            with sleeping_threads():
                executor = _executor(artifact, artifact.manifest.threads if threads is None else threads)
            digest = artifact.manifest.digest
            executor.remake = partial(
                same_again, Path(path).absolute(), digest, trust=trust, threads=threads, keys=keys
            )
            return executor
        except ArtifactError:
            if read(Path(path), keys).manifest == artifact.manifest:
                raise
            # Replaced by a newer build while it was read: that one is loaded.


def same_again(
    path: Path, digest: str, *, trust: bool, threads: int | None, keys: Requirement = None
) -> Executor:
    """`load`, of the build with that digest alone: raises ArtifactError when another one is there by now."""
    executor = load(path, trust=trust, threads=threads, require_signature=keys)
    if read(path, keys).manifest.digest != digest:
        executor.close()
        raise ArtifactError(
            f"{path}: another build than the one that was loaded is there by now; replace the agent by it"
        )
    return executor


def check_fit(artifact: Artifact, *, trust: bool = False) -> None:
    """Raise ArtifactError unless the artifact fits this machine and its libraries, and is trusted enough;
    where a signature was required, also unless all its files are what was signed."""
    artifact.verify_signed()
    manifest, path = artifact.manifest, artifact.path
    try:
        manifest.parsed_signature().check_state(manifest.parsed_contract())
    except SignatureError as error:
        raise ArtifactError(f"{path}: field contract: {error}; build it again") from error
    if manifest.machine != architecture():
        raise ArtifactError(
            f"{path}: built for {manifest.machine}, this machine is {architecture()}; build it again here"
        )
    missing = sorted(set(manifest.cpu_features) - cpu_features())
    if missing:
        raise ArtifactError(
            f"{path}: needs the CPU feature(s) {', '.join(missing)}, which this machine does not have; build "
            f"it again here"
        )
    for library, version in manifest.requires.items():
        _check_library(path, library, version)
    if manifest.trusted_only and not trust:
        raise ArtifactError(
            f"{path}: its payload is a pickle, which can run any code when it is loaded; if you know who "
            f"made it, pass trust=True (on the command line: --trust)"
        )


def _check_library(path: Path, library: str, built_with: str) -> None:
    """Libraries promise to read their own files within a minor version, and Python its own bytecode."""
    install = f"pip install '{library}=={_minor(built_with)}.*'"
    if library == "python":
        installed = ".".join(map(str, sys.version_info[:3]))
    else:
        found = installed_version(library)
        if found is None:
            raise ArtifactError(
                f"{path}: needs {library} {_minor(built_with)}, which is not installed; {install}",
                remedy=install,
            )
        installed = found
    if _minor(installed) != _minor(built_with):
        advice = "" if library == "python" else f", or {install}"
        raise ArtifactError(
            f"{path}: built with {library} {built_with}, here is {installed}; build it again{advice}"
        )


def _minor(version: str) -> str:
    return ".".join(version.partition("+")[0].split(".")[:2])


def _executor(artifact: Artifact, threads: int) -> Executor:
    match artifact.manifest.engine:
        case "eager":
            from grandopt.runtime.executors import eager

            return eager.load(artifact, threads)
        case "torchscript":
            from grandopt.runtime.executors import torchscript

            return torchscript.load(artifact, threads)
        case "native":
            from grandopt.runtime.executors import native

            return native.load(artifact, threads)
        case "inductor":
            from grandopt.runtime.executors import inductor

            return inductor.load(artifact, threads)
        case "onnxruntime":
            from grandopt.runtime.executors import onnxruntime

            return onnxruntime.load(artifact, threads)
        case "openvino":
            from grandopt.runtime.executors import openvino

            return openvino.load(artifact, threads)
        case other:
            raise ArtifactError(
                f"{artifact.path}: its engine {other!r} is unknown to this grandopt; install the one that "
                f"wrote it ({artifact.manifest.built_by})"
            )
