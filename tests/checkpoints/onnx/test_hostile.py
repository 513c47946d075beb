"""Files that are damaged or made to hurt: one line, soon, and nothing run or filled."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from grandopt.cli.app import main
from grandopt.compiler.checkpoints import detect
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from tests.checkpoints.onnx.models import model, node, save, value
from tests.checkpoints.onnx.test_reading import WEIGHT, load, outside, refused

MANY = 10**6


def plain(*nodes: Any, constants: dict[str, Any] | None = None, opset: int = 17) -> Any:
    """From `x` [n, 4] to `y`."""
    return model(nodes, [value("x", ["n", 4])], [value("y", None)], constants, opset)


def cyclic() -> Any:
    return plain(node("Add", ["x", "b"], ["a"]), node("Add", ["a", "x"], ["b"]), node("Tanh", ["b"], ["y"]))


def twice() -> Any:
    return plain(node("Tanh", ["x"], ["a"]), node("Relu", ["x"], ["a"]), node("Tanh", ["a"], ["y"]))


def without_constant() -> Any:
    return plain(node("MatMul", ["x", "w"], ["y"]))


def name_of_two_lines() -> Any:
    return plain(node("MatMul", ["x", "w\nno error"], ["y"]))


def huge_constant() -> Any:
    filled = node("ConstantOfShape", ["s"], ["c"])
    return plain(filled, node("Add", ["x", "c"], ["y"]), constants={"s": np.array([MANY, MANY, 4])})


def huge_between() -> Any:
    return plain(node("Expand", ["x", "s"], ["y"]), constants={"s": np.array([MANY, MANY, 1, 4])})


def huge_product() -> Any:
    constants = {"a": np.ones((MANY, 1), np.float32), "b": np.ones((1, MANY), np.float32)}
    return plain(node("MatMul", ["a", "b"], ["c"]), node("Add", ["x", "c"], ["y"]), constants=constants)


def huge_claim() -> Any:
    made = plain(node("MatMul", ["x", "w"], ["y"]), constants={"w": WEIGHT})
    made.graph.initializer[0].dims[0] = MANY * MANY
    return made


def huge_input() -> Any:
    return model([node("Tanh", ["x"], ["y"])], [value("x", [1, MANY * MANY])], [value("y", None)])


def endless() -> Any:
    flags = value("on", [], TensorProto.BOOL), value("on_out", [], TensorProto.BOOL)
    body = helper.make_graph(
        [node("Identity", ["on"], ["on_out"]), node("Tanh", ["v"], ["v_out"])],
        "body", [value("i", [], TensorProto.INT64), flags[0], value("v", None)],
        [flags[1], value("v_out", None)],
    )  # fmt: skip
    constants = {"most": np.array(2**62), "true": np.array(True)}
    return plain(node("Loop", ["most", "true", "x"], ["y"], body=body), constants=constants)


def many_large() -> Any:
    """Tensors that are each within the limit."""
    names = ["x", *(f"v{at}" for at in range(8)), "y"]
    wide = node("Expand", ["x", "s"], ["v0"])
    chain = [node("Tanh", [names[at]], [names[at + 1]]) for at in range(1, 9)]
    return plain(wide, *chain, constants={"s": np.array([12 * MANY, 1, 4])})


def huge_beside() -> Any:
    """In a node that no output needs: it must not be computed, not even for comparison."""
    return plain(
        node("Tanh", ["x"], ["y"]),
        node("ConstantOfShape", ["s"], ["z"]),
        constants={"s": np.array([MANY, MANY])},
    )


def huge_one_hot() -> Any:
    constants = {"d": np.array(MANY * MANY), "v": np.array([0, 1], np.float32)}
    return plain(
        node("ArgMax", ["x"], ["i"], axis=1, keepdims=0),
        node("OneHot", ["i", "d", "v"], ["y"]),
        constants=constants,
    )


def huge_resize() -> Any:
    return plain(
        node("Resize", ["x", "", "s"], ["y"], mode="nearest"),
        constants={"s": np.array([1, 1e12], np.float32)},
    )


def split_without_end() -> Any:
    return plain(node("Split", ["x"], ["y"], axis=1, num_outputs=2**62), opset=18)


def huge_tile() -> Any:
    return plain(node("Tile", ["x", "t"], ["y"]), constants={"t": np.array([1, MANY * MANY])})


def huge_pad() -> Any:
    return plain(
        node("Pad", ["x", "p"], ["y"], mode="edge"), constants={"p": np.array([0, MANY * MANY, 0, 0])}
    )


def long_recurrence() -> Any:
    constants = {"w": np.ones((1, 4, 1), np.float32), "r": np.ones((1, 4, 1), np.float32)}
    nodes = [node("LSTM", ["x", "w", "r"], ["", "y"], hidden_size=1)]
    return model(nodes, [value("x", [MANY, "n", 1])], [value("y", None)], constants)


def many_axes() -> Any:
    constants = {"w": np.ones([1] * 60, np.float32)}
    return plain(node("Add", ["x", "w"], ["y"]), constants=constants)


def calling_itself() -> Any:
    inner = node("Again", ["v"], ["w"], domain="own")
    function = helper.make_function("own", "Again", ["v"], ["w"], [inner], [helper.make_opsetid("own", 1)])
    made = plain(node("Again", ["x"], ["y"], domain="own"))
    made.functions.append(function)
    return made


def of_another_type() -> Any:
    return plain(node("Softmax", ["x"], ["y"], axis=0.5))


def narrow_float() -> Any:
    return plain(node("Cast", ["x"], ["y"], to=17))


def strings() -> Any:
    return model(
        [node("Identity", ["x"], ["y"])], [value("x", ["n", 1], TensorProto.STRING)], [value("y", None)]
    )


HOSTILE: dict[Callable[[], Any], str] = {
    cyclic: "reads 'b', which no constant, input or earlier node gives",
    twice: "two nodes that give 'a'",
    without_constant: "reads 'w'",
    name_of_two_lines: "a name that is no text",
    huge_constant: "bytes; at most",
    huge_between: "bytes in all tensors so far",
    huge_product: "bytes; at most",
    huge_claim: "more than the file holds",
    huge_input: "elements; at most",
    many_large: "bytes in all tensors so far",
    huge_one_hot: "bytes in all tensors so far",
    huge_resize: "to a size of",
    split_without_end: "operator Split",
    huge_tile: "bytes in all tensors so far",
    huge_pad: "bytes in all tensors so far",
    long_recurrence: "takes 1000000 steps",
    many_axes: "which is none",
    endless: "steps, loops counted",
    calling_itself: "levels deep",
    of_another_type: "attribute 'axis' is a float",
    narrow_float: "operator Cast: to a dtype (number 17)",
    strings: "is of the dtype string",
    lambda: plain(node("Own", ["x"], ["y"], domain="com.example")): "operator com.example.Own",
    lambda: plain(node("NonZero", ["x"], ["y"])): "not computed here: NonZero",
    lambda: plain(node("Tanh", ["x"], ["y"]), opset=99): "is of opset 99",
    lambda: plain(node("MatMul", ["x", "w"], ["y"]), constants={"w": WEIGHT[:3]}): "operator MatMul",
    lambda: plain(node("Gather", ["x", "i"], ["y"], axis=1), constants={"i": np.array(7)}): "operator Gather",
    lambda: plain(node("Identity", ["c"], ["y"]), constants={"c": WEIGHT}): "no output depends on an input",
}


@pytest.mark.parametrize("made", HOSTILE, ids=[getattr(make, "__name__", "") for make in HOSTILE])
def test_it_is_refused_in_one_line_and_little_memory(made: Callable[[], Any], tmp_path: Path) -> None:
    file = made()
    tracemalloc.start()
    try:
        said = refused(file, tmp_path)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert HOSTILE[made] in said
    assert most < 200e6


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "link", "missing"])
def test_constants_outside_the_folder_are_not_read(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "agent"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(16) + WEIGHT.tobytes())
    (folder / "link").symlink_to(tmp_path / "secret")
    made = plain(node("MatMul", ["x", "w"], ["y"]), constants={"w": WEIGHT})
    outside(made, location)
    path = save(made, folder / "agent.onnx")
    words = "no such file" if location == "missing" else "outside the folder of the file; it is not read"
    for read in (
        lambda: detect.load("agent", AgentConfig(checkpoint=path)),
        lambda: detect.describe(path),
    ):
        with pytest.raises(CheckpointError, match=words):
            read()


def test_the_command_line_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(plain(node("Own", ["x"], ["y"], domain="com.example")), tmp_path / "agent.onnx")
    code = main(["optimize", str(path), "-o", str(tmp_path)])
    said = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert "com.example" in said[-1]


def test_what_no_output_needs_is_not_computed(tmp_path: Path) -> None:
    found = load(huge_beside(), tmp_path)
    assert found.source.details["compared_with"] == "onnx.reference: equal"
