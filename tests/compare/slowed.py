"""A copy of a native artifact that computes the same and takes longer: its C code counts in a loop first."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

from grandopt.artifacts.artifact import Artifact, read, write
from grandopt.artifacts.manifest import Manifest
from grandopt.compiler.backends.native.build import interface_source
from grandopt.compiler.backends.native.levels import IsaLevel, levels_for
from grandopt.compiler.backends.native.toolchain import FLAGS, find_compiler
from grandopt.runtime.executors.native_interface import interface_text

ENTRY = "    const float_mode mode = enter_float_mode();\n"
"""In the C source, where every call passes once."""

SOURCE = "source.zip"


def slowed(path: Path, folder: Path, rounds: int) -> Path:
    """Write the copy into `folder`: the artifact's own source with a loop of so many rounds, compiled with
    the flags of its levels. The loop's counter is volatile, so that the compiler leaves it alone."""
    artifact = read(path)
    manifest = artifact.manifest
    levels = levels_for(manifest.machine, tuple(manifest.options["levels"]))
    files = artifact.payloads()
    compiler = find_compiler()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        with zipfile.ZipFile(io.BytesIO(artifact.payload(SOURCE))) as archive:
            archive.extractall(place)
        start, length = manifest.options["weights_offset"], manifest.options["weights_bytes"]
        library = files[f"agent.{levels[0].name}.so"]
        (place / "weights.bin").write_bytes(library[start : start + length])
        compiler.run([*FLAGS, "-c", "weights.c", "-o", "weights.o"], place)
        for level in levels:
            source = place / f"agent.{level.name}.c"
            text = source.read_text(encoding="utf-8")
            if text.count(ENTRY) != 1:
                raise ValueError(f"{source.name}: the place of the delay is there {text.count(ENTRY)} times")
            delay = f"    for (volatile int delay = 0; delay < {rounds}; delay++) {{}}\n"
            source.write_text(text.replace(ENTRY, delay + ENTRY), encoding="utf-8")
            compiler.run([*FLAGS, *level.flags, "-c", source.name, "-o", "agent.o"], place)
            (place / "interface.c").write_text(_interface(manifest, level), encoding="utf-8")
            compiler.run([*FLAGS, "-c", "interface.c", "-o", "interface.o"], place)
            compiler.run(["-shared", "agent.o", "weights.o", "interface.o", "-o", "agent.so", "-lm"], place)
            files[f"agent.{level.name}.so"] = (place / "agent.so").read_bytes()
    return _written(artifact, folder, files)


def _interface(manifest: Manifest, level: IsaLevel) -> str:
    """What the copy's library must state of itself; the delay changes nothing of it."""
    options = manifest.options
    text = interface_text(options["scratch_bytes"], level.features, manifest.parsed_signature())
    return interface_source(options["invokes"][level.name], text)


def _written(artifact: Artifact, folder: Path, files: dict[str, bytes]) -> Path:
    return write(folder, artifact.manifest, files).path
