"""`grandopt export --to onnx`: the program that an artifact carries as a file that was checked."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grandopt.artifacts.artifact import read
from grandopt.artifacts.manifest import Manifest
from grandopt.artifacts.writing import put_file
from grandopt.compiler.checkpoints.onnx.stated import stated
from grandopt.compiler.program import Program
from grandopt.errors import BuildError, EngineUnavailableError, OutputError, first_line
from grandopt.signature import Array, Signature
from grandopt.verification.samples import load_samples
from grandopt.workflows.exporting.checking import checked, figures, questions
from grandopt.workflows.exporting.onnx.document import EXTRA, document, opset, recurrent
from grandopt.workflows.exporting.onnx.executors import in_onnxruntime, read_back
from grandopt.workflows.exporting.onnx.flavours import Flavour, formed
from grandopt.workflows.exporting.onnx.form import Form
from grandopt.workflows.exporting.program import carried

PACKAGES = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class WrittenOnnx:
    """A file that was written, and in `checks` one line for each thing that was checked before."""

    file: Path
    bytes: int
    opset: int
    flavour: Flavour
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    checks: tuple[str, ...]


def export_onnx(
    path: Path,
    file: Path,
    *,
    flavour: Flavour = "generic",
    outputs: tuple[str, ...] = (),
    samples: Path | None = None,
    overwrite: bool = False,
) -> WrittenOnnx:
    """Write the agent of the artifact at `path` as an ONNX file, after its answers were checked.

    The checks: onnx.checker; ONNX Runtime against the float64 reference by the float32 rule of verification,
    on the observations in `samples` or on draws; the same of the file as `optimize` reads it. Nothing is
    written unless all pass. Raises ArtifactError (see `carried`), OutputError for a file that is there and
    must not be written over or a place that cannot be written, UnsupportedError for an agent that the
    flavour or ONNX has no form for, EngineUnavailableError where a package is missing, BuildError and
    VerificationError for a check that failed, SamplesError.
    """
    if file.exists() and not overwrite:
        raise OutputError(f"{file}: is there already; choose another name, or pass --overwrite")
    if not file.absolute().parent.is_dir():
        raise OutputError(f"{file}: the folder {file.absolute().parent} does not exist")
    _require_packages()
    manifest, whole = read(path).manifest, carried(path)
    recorded = None
    if samples is not None:
        recorded = load_samples(samples, Signature(whole.signature.observed(whole.contract)))
    program, form = formed(whole, flavour, outputs)
    content = document(program, form, _metadata(manifest, program, form, flavour), _version(manifest))
    checks = _checks(content, program, form, recorded, str(file))
    try:
        put_file(file, content)
    except OSError as error:
        raise OutputError(f"{file}: cannot be written: {error.strerror}") from error
    taken, given = _names(form)
    return WrittenOnnx(file, len(content), opset(content), flavour, taken, given, tuple(checks))


def _checks(
    content: bytes, program: Program, form: Form, recorded: Sequence[Array] | None, where: str
) -> list[str]:
    """One line for each check that the file passed, or that could not be made; raises like `export_onnx`."""
    _check_document(content, program)
    special = not recurrent(content)
    oracle = questions(program, recorded, special=special)
    executor, version = in_onnxruntime(content, program, form)
    answers = checked(executor, oracle, f"{where}: the file in ONNX Runtime")
    with _beside(content) as unproven:
        again = checked(read_back(unproven, program, form), oracle, f"{where}: the file as grandopt reads it")
    lines = [
        "onnx.checker: passed",
        f"ONNX Runtime {version}: {figures(answers)}",
        f"read back by grandopt: {figures(again)}",
    ]
    if not special:
        lines.append("NaN and infinity: not asked, as ONNX Runtime's recurrent layers lose NaN")
    if form.opset is not None and opset(content) > form.opset:
        lines.append(
            f"opset: not {form.opset}, the newest that the host promises to take; an operator of the agent "
            f"is newer, or was another one then"
        )
    return lines


def _check_document(content: bytes, program: Program) -> None:
    import onnx

    try:
        onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BuildError(f"{program.name}: onnx.checker refuses the file: {first_line(error)}") from error


def _require_packages() -> None:
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            remedy = f"pip install 'grandopt[{EXTRA}]'"
            raise EngineUnavailableError(
                f"{package} is not installed; an ONNX file is written and checked with it: {remedy}",
                remedy=remedy,
            )


def _version(manifest: Manifest) -> str:
    return manifest.built_by.removeprefix("grandopt ")


def _names(form: Form) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The inputs and outputs of the file."""
    packed = () if form.packed is None else ((form.packed.taken, form.packed.given),)
    pairs = (*packed, *(() if form.passed is None else (form.passed,)))
    taken = (*(port.name for port in form.inputs), *(pair[0] for pair in pairs))
    given = (*(port.name for port in form.outputs), *(pair[1] for pair in pairs))
    extra = (*(name for name, _ in form.constants), *(name for name, _ in form.repeats))
    return taken, (*given, *extra)


def _metadata(manifest: Manifest, program: Program, form: Form, flavour: Flavour) -> dict[str, Any]:
    """What the file says of itself: where it is from, and the agent's tensors and contract by its names."""
    names = {port.spec.name: port.name for port in (*form.inputs, *form.outputs)}
    source = manifest.source
    return {
        "flavour": flavour,
        "agent": program.name,
        "artifact": manifest.digest,
        "source": {"format": source.format, "sha256": source.sha256, "weights": source.weights},
        **stated(program.signature, program.contract, names),
    }


@contextmanager
def _beside(content: bytes) -> Iterator[Path]:
    """A file of the content while it is not proven, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="grandopt-") as name:
        file = Path(name) / "agent.onnx"
        file.write_bytes(content)
        yield file
