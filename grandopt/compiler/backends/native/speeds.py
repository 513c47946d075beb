"""Libraries that tell how fast this machine computes and reads: one for each feature level, of `speeds.c`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path

from grandopt.compiler.backends.native.levels import IsaLevel, of_architecture
from grandopt.compiler.backends.native.toolchain import FLAGS, Compiler
from grandopt.errors import BuildError

SOURCE = "speeds.c"


def speeds_source() -> str:
    """The C text, the same for all levels."""
    return resources.files(__package__).joinpath(SOURCE).read_text(encoding="utf-8")


def runnable_levels(architecture: str, features: Collection[str]) -> tuple[IsaLevel, ...]:
    """The levels that a CPU with these features can run, the most demanding first."""
    return tuple(level for level in of_architecture(architecture) if set(level.features) <= set(features))


def compile_speeds(compiler: Compiler, levels: Sequence[IsaLevel], folder: Path) -> dict[IsaLevel, Path]:
    """A shared library in `folder` for each level, without those that are beyond the compiler.

    Raises BuildError, of the first level, where all are.
    """
    (folder / SOURCE).write_text(speeds_source(), encoding="utf-8")
    errors: list[BuildError] = []

    def compiled(level: IsaLevel) -> tuple[IsaLevel, Path] | None:
        library = f"speeds.{level.name}.so"
        flags = [*FLAGS, *level.flags, f"-DVECTOR_BYTES={4 * level.lanes}"]
        try:
            compiler.run([*flags, "-shared", SOURCE, "-o", library], folder)
        except BuildError as error:
            errors.append(error)
            return None
        return level, folder / library

    with ThreadPoolExecutor() as pool:  # each waits for its own compiler
        found = dict(pair for pair in pool.map(compiled, levels) if pair is not None)
    if not found and errors:
        raise errors[0]
    return found
