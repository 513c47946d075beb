"""What an ONNX file becomes: batch, state, outputs, and the settings that say what it does not."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from tests.checkpoints.onnx.models import answers, lstm_policy, model, node, save, sequential, value

WEIGHT = np.arange(12, dtype=np.float32).reshape(4, 3) / 10 - 0.5


def load(made: Any, folder: Path, **settings: Any) -> Checkpoint:
    path = save(made, folder / "agent.onnx")
    return detect.load("agent", AgentConfig.model_validate({"checkpoint": path, **settings}))


def refused(made: Any, folder: Path, **settings: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(made, folder, **settings)
    text = str(caught.value)
    assert text.startswith(str(folder / "agent.onnx"))
    assert "\n" not in text
    return text


def results(checkpoint: Checkpoint, *inputs: Any) -> list[Any]:
    with torch.no_grad():
        given = checkpoint.module(*(torch.as_tensor(value) for value in inputs))
    return [item.numpy() for item in (given if isinstance(given, tuple | list) else (given,))]


def rows(*shape: int) -> Any:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("layers", [1, 2])
def test_a_recurrent_policy_with_a_batch_of_1_takes_any_batch(tmp_path: Path, layers: int) -> None:
    made = lstm_policy(layers)
    found = load(made, tmp_path)
    assert [(state.input, state.output) for state in found.contract.state] == [
        ("h_in", "h_out"),
        ("c_in", "c_out"),
    ]
    assert [spec.shape for spec in found.inputs] == [(10,), (layers, 16), (layers, 16)]
    assert found.source.details["batch"] == "1 in the file, made dynamic: each row gives the same answer"
    obs, h, c = rows(3, 10), rows(3, layers, 16), rows(3, layers, 16)
    got = results(found, obs, h, c)
    for row in range(3):
        one = answers(made, obs=obs[row : row + 1], h_in=h[row][:, None], c_in=c[row][:, None])
        np.testing.assert_allclose(got[0][row], one["actions"][0], atol=1e-6)
        np.testing.assert_allclose(got[1][row], one["h_out"][:, 0], atol=1e-6)
        np.testing.assert_allclose(got[2][row], one["c_out"][:, 0], atol=1e-6)


def test_its_program_is_captured_with_its_roles(tmp_path: Path) -> None:
    program = capture(load(lstm_policy(), tmp_path))
    assert program.exported is not None
    assert [(spec.name, spec.role) for spec in program.signature.outputs] == [
        ("actions", "action"), ("h_out", "value"), ("c_out", "value"),
    ]  # fmt: skip
    assert program.contract.action == "continuous"


@pytest.mark.parametrize("batch", [1, 12, "batch", None])
def test_any_batch_in_the_file_becomes_a_dynamic_one(tmp_path: Path, batch: Any) -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2)).eval()
    found = load(sequential(network, batch), tmp_path)
    given = torch.from_numpy(rows(5, 4))
    assert found.inputs[0].shape == (4,)
    np.testing.assert_allclose(results(found, given)[0], network(given).detach().numpy(), atol=1e-6)


def baked_shapes() -> Any:
    """Six numbers as two groups of three, swapped, and flat again, a batch of 1 written into each shape."""
    constants = {"apart": np.array([1, 2, 3]), "flat": np.array([1, 6]), "w": WEIGHT.repeat(2, axis=0)[:6]}
    nodes = [
        node("Reshape", ["x", "apart"], ["a"]),
        node("Transpose", ["a"], ["b"], perm=[0, 2, 1]),
        node("Reshape", ["b", "flat"], ["c"]),
        node("MatMul", ["c", "w"], ["y"]),
    ]
    return model(nodes, [value("x", [1, 6])], [value("y", [1, 3])], constants)


def test_a_batch_of_1_in_a_reshape_is_made_dynamic(tmp_path: Path) -> None:
    made = baked_shapes()
    found = load(made, tmp_path)
    given = rows(4, 6)
    expected = np.concatenate([answers(made, x=given[at : at + 1])["y"] for at in range(4)])
    np.testing.assert_allclose(results(found, given)[0], expected, atol=1e-6)


def test_no_batch_at_all(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Softmax", ["a"], ["y"], axis=0)]
    made = model(nodes, [value("x", [4])], [value("y", [3])], {"w": WEIGHT})
    found = load(made, tmp_path)
    given = rows(5, 4)
    assert found.source.details["batch"].startswith("none in the file")
    expected = np.stack([answers(made, x=row)["y"] for row in given])
    np.testing.assert_allclose(results(found, given)[0], expected, atol=1e-6)


def test_no_batch_where_the_first_axis_is_joined_and_cut(tmp_path: Path) -> None:
    """Such a file is followed for one row, and its operators made to take all."""
    constants = {"w": WEIGHT, "zero": np.array([0]), "two": np.array([2]), "four": np.array([4])}
    nodes = [
        node("Slice", ["x", "zero", "two"], ["a"]),
        node("Slice", ["x", "two", "four"], ["b"]),
        node("Tanh", ["b"], ["t"]),
        node("Concat", ["t", "a"], ["c"], axis=0),
        node("MatMul", ["c", "w"], ["y"]),
    ]
    made = model(nodes, [value("x", [4])], [value("y", [3])], constants)
    given = rows(5, 4)
    expected = np.stack([answers(made, x=row)["y"] for row in given])
    np.testing.assert_allclose(results(load(made, tmp_path), given)[0], expected, atol=1e-6)


def test_an_image_without_a_batch_is_refused_as_such(tmp_path: Path) -> None:
    constants = {"w": np.ones((2, 3, 3, 3), np.float32), "axis": np.array([0])}
    nodes = [
        node("Unsqueeze", ["x", "axis"], ["a"]),
        node("Conv", ["a", "w"], ["b"]),
        node("GlobalAveragePool", ["b"], ["c"]),
        node("Flatten", ["c"], ["d"], axis=0),
        node("Squeeze", ["d", "axis"], ["y"]),
    ]
    made = model(nodes, [value("x", [3, 8, 8])], [value("y", [2])], constants)
    assert "takes one observation without a batch" in refused(made, tmp_path)


def test_rows_that_depend_on_each_other_are_no_batch(tmp_path: Path) -> None:
    nodes = [node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1), node("Sub", ["x", "m"], ["y"])]
    made = model(nodes, [value("x", ["batch", 4])], [value("y", ["batch", 4])])
    assert "gives other rows" in refused(made, tmp_path)


def test_rows_of_a_fixed_number_that_depend_on_each_other_are_one_observation(tmp_path: Path) -> None:
    nodes = [node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1), node("Sub", ["x", "m"], ["y"])]
    checkpoint = load(model(nodes, [value("x", [3, 4])], [value("y", [3, 4])]), tmp_path)
    assert [spec.shape for spec in checkpoint.inputs] == [(3, 4)]
    assert checkpoint.source.details["batch"].startswith("3 fixed: no row could be taken alone")
    given = rows(5, 3, 4)
    np.testing.assert_allclose(results(checkpoint, given)[0], given - given.mean(1, keepdims=True), atol=1e-6)


def test_sizes_that_are_computed_from_shapes(tmp_path: Path) -> None:
    """What exporters write for `x.view(x.shape[0], -1) / sqrt(x.shape[1])`."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["b"], axis=0),
        node("Unsqueeze", ["b", "axis"], ["b1"]),
        node("Concat", ["b1", "rest"], ["wanted"], axis=0),
        node("Reshape", ["x", "wanted"], ["flat"]),
        node("Gather", ["s", "one"], ["n"], axis=0),
        node("Cast", ["n"], ["f"], to=TensorProto.FLOAT),
        node("Sqrt", ["f"], ["root"]),
        node("Div", ["flat", "root"], ["y"]),
    ]
    constants = {"zero": np.array(0), "one": np.array(1), "axis": np.array([0]), "rest": np.array([-1])}
    made = model(nodes, [value("x", ["batch", 4, 2])], [value("y", ["batch", 8])], constants)
    given = rows(3, 4, 2)
    np.testing.assert_allclose(results(load(made, tmp_path), given)[0], given.reshape(3, 8) / 2, atol=1e-6)


def test_a_branch_and_a_loop_that_constants_decide(tmp_path: Path) -> None:
    scalar = value("i", [], TensorProto.INT64)
    flag_in, flag_out = value("on", [], TensorProto.BOOL), value("on_out", [], TensorProto.BOOL)
    body = helper.make_graph(
        [node("Identity", ["on"], ["on_out"]), node("Add", ["v", "x"], ["v_out"])],
        "body", [scalar, flag_in, value("v", None)], [flag_out, value("v_out", None)],
    )  # fmt: skip
    yes = helper.make_graph([node("Neg", ["sum"], ["r"])], "yes", [], [value("r", None)])
    no = helper.make_graph([node("Abs", ["sum"], ["r2"])], "no", [], [value("r2", None)])
    nodes = [
        node("Loop", ["three", "true", "x"], ["sum"], body=body),
        node("If", ["true"], ["y"], then_branch=yes, else_branch=no),
    ]
    constants = {"three": np.array(3), "true": np.array(True)}
    made = model(nodes, [value("x", ["b", 4])], [value("y", ["b", 4])], constants)
    given = rows(2, 4)
    np.testing.assert_allclose(results(load(made, tmp_path), given)[0], -4 * given, atol=1e-6)


def test_a_branch_that_the_observation_decides_is_refused(tmp_path: Path) -> None:
    yes = helper.make_graph([node("Neg", ["x"], ["r"])], "yes", [], [value("r", None)])
    no = helper.make_graph([node("Abs", ["x"], ["r2"])], "no", [], [value("r2", None)])
    nodes = [
        node("ReduceMax", ["x"], ["m"], keepdims=0),
        node("Greater", ["m", "zero"], ["c"]),
        node("If", ["c"], ["y"], then_branch=yes, else_branch=no),
    ]
    made = model(nodes, [value("x", ["b", 4])], [value("y", ["b", 4])], {"zero": np.float32(0)})
    assert "operator If: input 0 (c) depends on the observation" in refused(made, tmp_path)


def test_a_function_of_the_file_is_put_in_place(tmp_path: Path) -> None:
    imports = [helper.make_opsetid("", 17)]
    function = helper.make_function(
        "own", "Twice", ["v"], ["w"], [node("Add", ["v", "v"], ["w"])], imports
    )  # fmt: skip
    made = model(
        [node("Twice", ["x"], ["y"], domain="own")], [value("x", ["b", 4])], [value("y", ["b", 4])],
        functions=[function],
    )  # fmt: skip
    made.opset_import.append(helper.make_opsetid("own", 1))
    given = rows(2, 4)
    np.testing.assert_array_equal(results(load(made, tmp_path), given)[0], 2 * given)


def ml_agents() -> Any:
    """The outputs of an ML-Agents file: constants, a sample, and the action without sampling."""
    nodes = [
        node("Constant", [], ["version_number"], value=numpy_helper.from_array(np.array([3.0], np.float32))),
        node("MatMul", ["obs_0", "w"], ["deterministic_continuous_actions"]),
        node("RandomNormalLike", ["deterministic_continuous_actions"], ["noise"]),
        node("Add", ["deterministic_continuous_actions", "noise"], ["continuous_actions"]),
    ]
    outputs = [
        value("version_number", [1]), value("continuous_actions", ["batch", 3]),
        value("deterministic_continuous_actions", ["batch", 3]),
    ]  # fmt: skip
    return model(nodes, [value("obs_0", ["batch", 4])], outputs, {"w": WEIGHT})


def test_of_an_ml_agents_file_the_deterministic_action_is_kept(tmp_path: Path) -> None:
    found = load(ml_agents(), tmp_path)
    assert found.output_names == ("deterministic_continuous_actions",)
    assert "version_number, continuous_actions" in found.source.details["left_out"]
    given = rows(2, 4)
    np.testing.assert_allclose(results(found, given)[0], given @ WEIGHT, atol=1e-6)


def test_an_output_that_is_drawn_is_refused(tmp_path: Path) -> None:
    said = refused(ml_agents(), tmp_path, outputs=["continuous_actions"])
    assert "draws random numbers (RandomNormalLike)" in said
    assert "outputs" in said


def test_outputs_are_chosen_by_name(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Tanh", ["a"], ["b"])]
    made = model(nodes, [value("x", ["n", 4])], [value("a", ["n", 3]), value("b", ["n", 3])], {"w": WEIGHT})
    given = rows(2, 4)
    found = load(made, tmp_path, outputs=["b"])
    assert found.output_names == ("b",)
    np.testing.assert_allclose(results(found, given)[0], np.tanh(given @ WEIGHT), atol=1e-6)
    assert "there is no output 'c'; the outputs are a, b" in refused(made, tmp_path, outputs=["c"])


def test_torch_says_nothing_of_a_batch_that_it_could_not_take(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    nodes = [node("Reshape", ["x", "flat"], ["row"]), node("MatMul", ["row", "w"], ["out"])]
    nodes.append(node("Reshape", ["out", "back"], ["y"]))
    constants = {"flat": np.array([4]), "back": np.array([1, 3]), "w": WEIGHT}
    lines = logging.StreamHandler()
    logs = logging.getLogger("torch._subclasses.fake_tensor")
    logs.addHandler(lines)
    try:
        found = load(model(nodes, [value("x", [1, 4])], [value("y", [1, 3])], constants), tmp_path)
    finally:
        logs.removeHandler(lines)
    given = rows(5, 4)
    np.testing.assert_allclose(results(found, given)[0], given @ WEIGHT, atol=1e-6)
    assert capfd.readouterr().err == ""


def remembering(*names: str) -> Any:
    state, following = names
    nodes = [node("Add", [state, "x"], [following]), node("Tanh", [following], ["y"])]
    return model(
        nodes,
        [value("x", ["n", 4]), value(state, ["n", 4])],
        [value("y", ["n", 4]), value(following, ["n", 4])],
    )


def test_what_may_be_state_is_asked_for(tmp_path: Path) -> None:
    made = remembering("hidden", "new")
    said = refused(made, tmp_path)
    assert "input 'hidden' may be a recurrent state" in said
    assert "whose next value is output 'y' or 'new'; say so (`state: {hidden: OUTPUT}`" in said
    found = load(made, tmp_path, state={"hidden": {"output": "new", "initial": 0.5}})
    assert [(item.input, item.output, item.initial) for item in found.contract.state] == [
        ("hidden", "new", 0.5)
    ]
    assert not load(made, tmp_path, outputs=["y"]).contract.state
    assert "'state' names the output 'old'" in refused(made, tmp_path, state={"hidden": "old"})


def test_sizes_that_the_file_leaves_open_are_asked_for(tmp_path: Path) -> None:
    made = model([node("Tanh", ["x"], ["y"])], [value("x", ["n", "t", 4])], [value("y", ["n", "t", 4])])
    said = refused(made, tmp_path)
    assert "dimension 1 of input 'x' is dynamic (t)" in said
    assert "inputs: [{name: x, shape: [...]}]" in said
    assert load(made, tmp_path, inputs=[{"name": "x", "shape": [6, 4]}]).inputs[0].shape == (6, 4)
    assert "'inputs' says [6, 5]" in refused(made, tmp_path, inputs=[{"name": "x", "shape": [6, 5]}])
    assert "'inputs' names 'z'" in refused(made, tmp_path, inputs=[{"name": "z", "shape": [6]}])


def test_constants_in_a_file_beside_it_are_read(tmp_path: Path) -> None:
    made = model(
        [node("MatMul", ["x", "w"], ["y"])], [value("x", ["n", 4])], [value("y", ["n", 3])], {"w": WEIGHT}
    )
    outside(made, "agent.data")
    (tmp_path / "agent.data").write_bytes(bytes(16) + WEIGHT.tobytes())
    given = rows(2, 4)
    np.testing.assert_allclose(results(load(made, tmp_path), given)[0], given @ WEIGHT, atol=1e-6)


def outside(made: Any, location: str) -> None:
    """Say that the first constant lies in another file, after 16 other bytes."""
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in (("location", location), ("offset", "16"), ("length", str(WEIGHT.nbytes))):
        tensor.external_data.add(key=key, value=text)


def test_it_is_described_without_running(tmp_path: Path) -> None:
    made = lstm_policy()
    helper.set_model_props(made, {"joint_names": "hip,knee"})
    described = detect.describe(save(made, tmp_path / "agent.onnx"))
    assert described["inputs"][0] == {"name": "obs", "shape": [1, 10], "dtype": "float32"}
    assert described["operators"]["LSTM"] == 1
    assert described["metadata"] == {"joint_names": "hip,knee"}
    assert described["opset"] == {"": 17}
