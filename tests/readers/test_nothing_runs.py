"""Archives that would run code, write files or never end: refused by name before anything in them is run."""

from __future__ import annotations

import functools
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from grandopt import limits
from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.torchscript import archive as torchscript_archive
from grandopt.compiler.checkpoints.torchscript import code as torchscript_code
from grandopt.compiler.checkpoints.vetting import first_call, operators
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError, UntrustedError
from tests.readers.seeds import reader

SHARED = Path(__file__).parents[2].parent / "shared"
X = [{"name": "x", "shape": [3]}]


class Touch:
    """Runs code when unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


def _refused(path: Path, match: str, **fields: Any) -> None:
    for read in (
        lambda: detect.describe(path),
        lambda: detect.load("agent", AgentConfig.model_validate({"checkpoint": path, **fields})),
    ):
        with pytest.raises(UntrustedError, match=match):
            read()


def _rewritten(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
    return path


@functools.cache
def _exported() -> bytes:
    """A program in a file, exported once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.pt2"
        reader("program.pt2").make(path)
        return path.read_bytes()


def _program(folder: Path) -> Path:
    path = folder / "program.pt2"
    path.write_bytes(_exported())
    return path


def _inner(members: dict[str, bytes], end: str) -> str:
    return next(name for name in members if name.endswith(end))


NEEDLESS = """
    data/sample_inputs/model.PT DATA/weights/weight_0 data/constants/OPAQUE_OBJ_0 models/model.jsox
    data/constants/custom_obj_0 data/aotinductor/model/wrapper.so models/other.json data/weights/model.PT
    xl_model_weights/model_param_config data/mtia/x
"""


@pytest.mark.parametrize("name", NEEDLESS.split())
def test_a_program_holds_only_members_that_it_needs(tmp_path: Path, name: str) -> None:
    marker = tmp_path / "ran"

    def change(members: dict[str, bytes]) -> None:
        root = _inner(members, "archive_format").removesuffix("archive_format")
        members[root + name] = pickle.dumps(Touch(marker))

    path = _rewritten(_program(tmp_path), change)
    with pytest.raises(CheckpointError, match=r"none that a program needs|two members are named"):
        detect.describe(path)
    assert not marker.exists()


def _edit(path: Path, edit: Callable[[Any], None]) -> Path:
    def change(members: dict[str, bytes]) -> None:
        name = _inner(members, "models/model.json")
        document = json.loads(members[name])
        edit(document)
        members[name] = json.dumps(document).encode()

    return _rewritten(path, change)


def _first_node(document: Any) -> Any:
    return document["graph_module"]["graph"]["nodes"][0]


@pytest.mark.parametrize(
    "target",
    ["torch.ops.aten.from_file.default", "torch.ops.aten.save", "torch.ops.load_library", "torch.os.system",
     "torch.ops.aten.relu.__class__", "_operator.call", "torch.ops.inductor._alloc_from_pool.default",
     "builtins.eval", "torch.ops.aten.set_.source_Tensor", "#os:system"],
)  # fmt: skip
def test_a_program_calls_only_operators_that_compute(tmp_path: Path, target: str) -> None:
    path = _edit(_program(tmp_path), lambda document: _first_node(document).update(target=target))
    _refused(path, "the operator")


@pytest.mark.parametrize("text", ["x, y=print('ran')", "x\nimport os", "if", "", "a.b"])
def test_names_in_a_program_are_names(tmp_path: Path, text: str) -> None:
    """torch writes them into Python code that it runs."""

    def edit(document: Any) -> None:
        _first_node(document)["name"] = text
        document["graph_module"]["module_call_graph"][0]["signature"]["forward_arg_names"] = [text]

    _refused(_edit(_program(tmp_path), edit), "the name")


@pytest.mark.parametrize("kind", ["collections.defaultdict", "collections.deque", "collections.namedtuple"])
def test_the_layout_of_inputs_imports_no_module(tmp_path: Path, kind: str) -> None:
    context = json.dumps(
        {"default_factory_module": "os", "default_factory_name": "system", "dict_context": []}
    )
    layout = json.dumps([1, {"type": kind, "context": context, "children_spec": []}])

    def edit(document: Any) -> None:
        document["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = layout

    _refused(_edit(_program(tmp_path), edit), "the layout")


def _archive(folder: Path, **texts: tuple[str, str]) -> Path:
    """A small archive with one piece of its code replaced by another."""

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = 3
            self.layer = nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.layer(x) * self.factor
            return result

    path = folder / "small.pt"
    torch.jit.script(Small().eval()).save(str(path))

    def change(members: dict[str, bytes]) -> None:
        for before, after in texts.values():
            changed = 0
            for name in [name for name in members if name.endswith(".py")]:
                changed += before.encode() in members[name]
                members[name] = members[name].replace(before.encode(), after.encode())
            assert changed, before

    return _rewritten(path, change)


def test_a_small_archive_is_read(tmp_path: Path) -> None:
    path = _archive(tmp_path)
    detect.load("agent", AgentConfig.model_validate({"checkpoint": path, "inputs": X}))


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("return torch.mul", 'torch.save(x, "ran")\n    return torch.mul', "aten::save"),
        ("return torch.mul", 'x.save("ran")\n    return torch.mul', "'save'"),
        ("return torch.mul", 'y = torch.from_file("ran", True, 4)\n    return torch.mul', "aten::from_file"),
        ("return torch.mul", "y = ops.prims.device_put(x)\n    return torch.mul", "prims::device_put"),
        ("return torch.mul", "f = torch.save\n    return torch.mul", "aten::save"),
        ("return torch.mul", "y = math.factorial(9)\n    return torch.mul", "'factorial'"),
        ("return torch.mul", "# y\n    return torch.mul", "'#' in it"),
        ("return torch.mul", "'y'\n    return torch.mul", "does not write"),
        ("x: Tensor) ->", 'x: Tensor, y: Tensor=torch.from_file("r", True, 4)) ->', "where a class or a"),
        ("factor : int", 'factor : Final[int] = torch.save(1, "ran")', "where a class or a function"),
        ("layer : __torch__", "odd : __torch__.torch.classes.rpc.X\n  layer : __torch__", "classes.rpc"),
    ],
)  # fmt: skip
def test_an_archive_calls_only_operators_that_compute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str, named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    _refused(_archive(tmp_path, it=(before, after)), named, inputs=X)
    assert not (tmp_path / "ran").exists()


def test_what_runs_on_opening_packs_weights_and_nothing_else() -> None:
    opening = "class S(Module):\n  def __setstate__(self: __torch__.S, state: Tensor) -> NoneType:\n    "
    for body, named in (
        ("while True:\n      pass", "loops in '__setstate__'"),
        ("x = torch.zeros([9])", "torch.zeros"),
        ("(self).other()\n  def other(self: __torch__.S) -> NoneType:\n    y = torch.ones([9])", "other"),
    ):
        with pytest.raises(torchscript_code.StrangeCodeError, match=named):
            torchscript_code.require_plain([opening + body + "\n"])
    assert not torchscript_code.require_plain([opening + "y = ops.quantized.linear_prepack(state, None)\n"])


def test_a_loop_without_end_is_described_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Loop(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            i = 0
            while i >= 0:
                i = (i + 1) % 1000
            return x

    path = tmp_path / "loop.pt"
    torch.jit.script(Loop().eval()).save(str(path))
    assert detect.describe(path)["inputs"] == ["x"]
    with pytest.raises(UntrustedError, match="may be for ever"):
        detect.load("agent", AgentConfig.model_validate({"checkpoint": path, "inputs": X}))
    monkeypatch.setattr(limits, "FIRST_CALL_S", 0.2)
    release = __import__("threading").Event()
    with pytest.raises(CheckpointError, match=r"did not end within 0.2 s"):
        first_call.first_call(lambda: release.wait(60), path, trust=False)
    release.set()


ARCHIVES = sorted((SHARED / "policies").glob("*.pt")) + sorted((SHARED / "checkpoints").rglob("*.pt"))


@pytest.mark.skipif(not ARCHIVES, reason="../shared/policies not found")
def test_archives_that_people_deploy_need_no_trust() -> None:
    opened = 0
    for path in ARCHIVES:
        if detect.detect(path) == "torchscript":
            torchscript_archive.vetted(path.read_bytes(), str(path), to_run=True)
            opened += 1
    assert opened >= 8


def test_no_allowed_operator_takes_a_file_or_the_storage_of_another() -> None:
    called = [
        schema
        for schema in torch._C._jit_get_all_schemas()
        if not schema.name.startswith("prim::") and operators.allowed(*schema.name.split("::"))
    ]
    assert len(called) > 1000
    wrong = [
        str(schema)
        for schema in called
        for argument in schema.arguments
        if (argument.name in ("filename", "path") and str(argument.type) == "str")
        or str(argument.type) in ("Storage", "Stream")
    ]
    assert not wrong


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "cases").exists(), reason="../shared/cases not found")
@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
def test_the_shared_cases_run_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cases-work").mkdir()
    for words in (["pt2_make.py", "cases-work/pt2"], ["ts_write.py"], ["pt2_file.py"]):
        script = SHARED / "cases" / words[0]
        subprocess.run(
            [sys.executable, str(script), *words[1:]], check=True, capture_output=True, timeout=300
        )
    refused = []
    for path in sorted(tmp_path.rglob("*.pt*")):
        if not path.is_file() or path.name == "good.pt2":
            continue
        try:
            detect.load("agent", AgentConfig.model_validate({"checkpoint": path} | _inputs(path)))
        except UntrustedError:
            refused.append(path.name)
    assert refused == ["aoti.pt2", "case.pt2", "fromfile.pt2", "opaque.pt2", "suffix.pt2", "ts_forward.pt",
                       "ts_loop.pt", "ts_setstate.pt"]  # fmt: skip
    assert not list(tmp_path.rglob("RAN*"))


def _inputs(path: Path) -> dict[str, Any]:
    return {} if path.suffix == ".pt2" else {"inputs": [{"name": "x", "shape": [4]}]}


@pytest.mark.parametrize("command", ["inspect", "optimize"])
@pytest.mark.parametrize("kind", ["missing", "bytes", "program", "member", "archive"])
def test_refusing_takes_no_torch(tmp_path: Path, command: str, kind: str) -> None:
    """Importing torch takes seconds and 200 MB; a file that is refused is not worth them."""
    path = tmp_path / "missing.pt"
    match kind:
        case "bytes":
            path.write_bytes(b"not a checkpoint at all")
        case "program":
            target = "torch.ops.aten.from_file.default"
            path = _edit(_program(tmp_path), lambda document: _first_node(document).update(target=target))
        case "member":
            path = _rewritten(
                _program(tmp_path), lambda members: members.update({"x/wrapper.so": b"\x7fELF"})
            )
        case "archive":
            path = _archive(tmp_path, it=("return torch.mul", 'torch.save(x, "ran")\n    return torch.mul'))
    code = (
        "import sys; from grandopt.cli.app import main; code = main(sys.argv[1:]); "
        "print(code, 'torch' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, command, str(path)],
        cwd=tmp_path, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.stdout.split() == ["2", "False"], found.stderr
    assert found.stderr.startswith("error: ")
    assert found.stderr.count("\n") == 1
