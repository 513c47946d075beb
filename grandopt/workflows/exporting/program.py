"""The program that an artifact was made from: it travels with the artifact, for exports to begin with."""

from __future__ import annotations

from pathlib import Path

from grandopt.artifacts.artifact import Artifact, read
from grandopt.artifacts.manifest import CARRIED, Manifest
from grandopt.compiler.backends.calling import conventions
from grandopt.compiler.capture import saved
from grandopt.compiler.capture.inputs import draw
from grandopt.compiler.capture.signature import EXAMPLE_BATCH
from grandopt.compiler.checkpoints.exported import archive
from grandopt.compiler.checkpoints.exported.program import runnable
from grandopt.compiler.checkpoints.exported.quietly import EXPORT_ERRORS, quiet
from grandopt.compiler.checkpoints.vetting.first_call import first_call
from grandopt.compiler.program import Program
from grandopt.errors import (
    ArtifactError,
    BuildError,
    CheckpointError,
    UnsupportedError,
    UntrustedError,
    named_line,
)
from grandopt.reason import Reason
from grandopt.runtime.executors.eager import ENGINE, EXPORTED

NOT_CARRIED = "not_carried"
"""Where an artifact's evidence says why it carries no program."""


def to_carry(program: Program, manifest: Manifest) -> tuple[dict[str, bytes], Reason | None]:
    """The payload that goes with an artifact of a program, or the reason why there is none.

    Nothing where the artifact's engine runs the program as it is: it has it already. Of the code that
    the program came from, and of its files, nothing is in it.
    """
    if _engine_runs_it(manifest):
        return {}, None
    if program.exported is None:
        return {}, program.refusal("export")
    try:
        return {CARRIED: saved.to_anonymous_bytes(program.exported)}, None
    except BuildError as error:
        return {}, Reason.of(error)


def carried(path: Path) -> Program:
    """The program that the artifact at `path` was made from, in the precision that the agent came in.

    It has the artifact's name, signature, contract and source, and was tried with batches of 1 and 2. It is
    read as a stranger's file is: what its graph names is checked before anything is run. Raises ArtifactError
    when the artifact carries none (saying why, where it knows), when it is damaged, when it holds more than
    computation, and when it does not take and give what the manifest says.
    """
    artifact = read(path)
    artifact.verify_signed()
    manifest = artifact.manifest
    place = artifact.payload_path(_name(artifact))
    signature = manifest.parsed_signature()
    try:
        with quiet():
            exported = archive.read(place)
            module = runnable(exported)
            program = Program(
                name=manifest.name,
                signature=signature,
                contract=manifest.parsed_contract(),
                source=manifest.source,
                module=module,
                example=draw(signature.inputs, EXAMPLE_BATCH, seed=0),
                exported=exported,
                passes=manifest.passes if _engine_runs_it(manifest) else (),
            )
            first_call(lambda: conventions(program, module, module), place, trust=False)
    except UntrustedError as error:
        what = str(error).partition(";")[0]  # what follows is advice about checkpoints
        raise ArtifactError(f"{path}: the program that it carries is not opened: {what}") from error
    except (CheckpointError, BuildError, UnsupportedError, *EXPORT_ERRORS) as error:
        raise ArtifactError(
            f"{path}: the program that it carries cannot be used ({named_line(error)}); optimize the agent "
            f"again"
        ) from error
    return program


def _engine_runs_it(manifest: Manifest) -> bool:
    """Whether the payload that is called is the program itself."""
    exported = manifest.engine == ENGINE and any(entry.name == EXPORTED for entry in manifest.payload)
    return exported and manifest.precision == "float32"


def _name(artifact: Artifact) -> str:
    """The payload file that holds the program."""
    if _engine_runs_it(artifact.manifest):
        return EXPORTED
    if any(entry.name == CARRIED for entry in artifact.manifest.payload):
        return CARRIED
    reason = artifact.manifest.evidence.get(NOT_CARRIED)
    if isinstance(reason, str):
        raise ArtifactError(f"{artifact.path}: carries no program to export: {reason}")
    raise ArtifactError(
        f"{artifact.path}: carries no program to export, as artifacts of earlier versions do not; optimize "
        f"the agent again"
    )
