"""How the package is put together: no import cycle, folders that one can survey, a light `--help`."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.conftest import LONGEST, TESTS

PACKAGE = Path(__file__).resolve().parents[1] / "grandopt"
MOST_MODULES = 20
"""In one folder; a newcomer can still read their names as one list."""


def modules() -> dict[str, Path]:
    """All modules by their dotted names; a package's name is that of its `__init__`."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(tree: ast.Module, known: Mapping[str, Path]) -> Iterator[str]:
    """What a module imports of the package, inside functions and under TYPE_CHECKING as well.

    The import of a package's submodule counts for the submodule alone.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                if submodule in known:
                    yield submodule
                elif node.module in known:
                    yield node.module


@functools.cache
def graph() -> dict[str, set[str]]:
    known = modules()
    return {
        name: set(imported(ast.parse(path.read_text(encoding="utf-8")), known)) - {name}
        for name, path in known.items()
    }


def cycles(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module.

    Modules that import nothing that is left, and those that nothing left imports, are in none; of the rest,
    two are in the same where each reaches the other.
    """
    left = {name: set(targets) for name, targets in edges.items()}
    while True:
        wanted = set().union(*left.values())
        ends = {name for name, targets in left.items() if not targets or name not in wanted}
        if not ends:
            break
        left = {name: targets - ends for name, targets in left.items() if name not in ends}
    reach = {name: reachable(left, name) for name in left}
    found = {tuple(sorted(other for other in left if other in reach[name] and name in reach[other]))
             for name in left if name in reach[name]}  # fmt: skip
    return [list(component) for component in sorted(found)]


def reachable(edges: Mapping[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for target in edges[waiting.pop()] - seen:
            seen.add(target)
            waiting.append(target)
    return seen


def test_no_module_imports_itself_by_a_detour() -> None:
    assert cycles(graph()) == []


def test_cycles_are_found() -> None:
    edges = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": {"e"}, "e": {"f"}, "f": {"e"}, "g": set()}
    assert cycles(edges) == [["b", "c"], ["e", "f"]]
    source = "def f():\n    from grandopt import limits\n    import grandopt.errors\n"
    assert list(imported(ast.parse(source), modules())) == ["grandopt.limits", "grandopt.errors"]


def test_nothing_inside_imports_the_package_from_outside() -> None:
    assert [name for name, targets in graph().items() if "grandopt" in targets] == []


def test_the_files_that_begin_first_are_there() -> None:
    assert [name for name in LONGEST if not (TESTS / name).is_file()] == []


@pytest.mark.parametrize("part", ["workflows", "measurement", "cli"])
def test_a_folder_can_be_read_at_a_glance(part: str) -> None:
    folders = [PACKAGE / part, *(path for path in (PACKAGE / part).rglob("*") if path.is_dir())]
    counts = {
        str(folder.relative_to(PACKAGE)): sum(path.name != "__init__.py" for path in folder.glob("*.py"))
        for folder in folders
    }
    assert {folder: count for folder, count in counts.items() if count > MOST_MODULES} == {}


def test_help_imports_neither_torch_nor_numpy() -> None:
    code = (
        "import sys\n"
        "from grandopt.cli.app import main\n"
        "sys.argv = ['grandopt', '--help']\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    heavy = {'torch', 'numpy'} & set(sys.modules)\n"
        "    sys.stderr.write(' '.join(sorted(heavy)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "optimize" in done.stdout
    assert done.stderr == ""


def test_documents_of_others_come_in_at_one_place() -> None:
    """`limits.document` bounds how deep they are nested, which json.loads leaves to the interpreter."""
    foreign = [PACKAGE / "artifacts", PACKAGE / "compiler" / "checkpoints", PACKAGE / "runtime" / "executors"]
    files = [file for folder in foreign for file in folder.rglob("*.py")] + [
        PACKAGE / "reporting" / "report.py",
        # What other machines told.
        *(PACKAGE / "workflows" / "memo" / name for name in ("findings.py", "failed_builds.py")),
        *(PACKAGE / "tuning" / "study" / name for name in ("leases.py", "shared_builds.py")),
    ]
    own = {"artifact.py": 1}  # what `write` has encoded a line before
    for file in files:
        calls = file.read_text(encoding="utf-8").count("json.load")
        assert calls == own.get(file.name, 0), f"{file}: use grandopt.limits.document"
