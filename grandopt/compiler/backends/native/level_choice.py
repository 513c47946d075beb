"""The feature levels that a user chose: whether they can be had on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from grandopt.artifacts.machine import architecture, cpu_features
from grandopt.compiler.backends.native.levels import LEVELS, IsaLevel, of_architecture
from grandopt.compiler.backends.native.toolchain import Compiler, find_compiler
from grandopt.errors import BuildError, ConfigError, EngineUnavailableError


def check_levels(names: Sequence[str]) -> None:
    """Raise ConfigError, with the value and the choices, for levels that no artifact can be made of here.

    That is one which is unknown, is of another architecture or is beyond the C compiler; and all of them
    where the CPU can run none, because nothing could be verified. Without a compiler, the builds say so.
    """
    if not names:
        return
    own = of_architecture(architecture())
    choices = f"this machine ({architecture()}) has {', '.join(level.name for level in own) or 'none'}"
    levels = {level.name: level for level in LEVELS}
    for name in names:
        if name not in levels:
            raise ConfigError(f"levels: {name!r} is unknown; {choices}")
        if levels[name] not in own:
            raise ConfigError(f"levels: {name!r} is one of {levels[name].architecture}; {choices}")
    _check_compiler([levels[name] for name in names], own)
    runnable = [level.name for level in own if cpu_features().issuperset(level.features)]
    if not set(names) & set(runnable):
        raise ConfigError(
            f"levels: this CPU can run none of {', '.join(names)}, so that nothing could be verified; it can "
            f"run {', '.join(runnable) or 'no level'}"
        )


def _check_compiler(wanted: Sequence[IsaLevel], own: Sequence[IsaLevel]) -> None:
    try:
        compiler = find_compiler()
    except EngineUnavailableError:
        return
    for level in wanted:
        if not _compiles(compiler, level):
            able = ", ".join(other.name for other in own if _compiles(compiler, other))
            raise ConfigError(
                f"levels: {level.name!r} is beyond the C compiler ({compiler.version}), which can build "
                f"{able or 'none'}"
            )


def _compiles(compiler: Compiler, level: IsaLevel) -> bool:
    with tempfile.TemporaryDirectory(prefix="grandopt-native-") as name:
        (Path(name) / "level.c").write_text("int level;\n", encoding="utf-8")
        try:
            compiler.run([*level.flags, "-c", "level.c", "-o", "level.o"], Path(name))
        except BuildError:
            return False
    return True
