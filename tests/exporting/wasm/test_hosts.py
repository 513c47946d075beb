"""The loader, its types and the examples: what somebody writes who takes an agent to JavaScript."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from grandopt.compiler.backends.native.wasm.types import declarations
from grandopt.compiler.program import Program
from grandopt.signature import Contract, Signature, StateTensor, TensorSpec
from grandopt.workflows.exporting.wasm import write_wasm
from tests.recurrent.networks import GruCellPolicy, LstmPolicy, observations, whole
from tests.recurrent.networks import program as recurrent
from tests.small_agents import Pair, Policy, draw, expected, program

Script = Callable[[Program, str], str]


def test_a_call_takes_arrays_by_name(script: Script) -> None:
    of = program(Pair)
    inputs = draw(of, 3)
    text = f"""
        const agent = await load();
        const inputs = {{}}, outputs = {{}}, one = {{}};
        const given = {
        json.dumps(
            {
                spec.name: array.reshape(-1).tolist()
                for spec, array in zip(of.signature.inputs, inputs, strict=True)
            }
        )
    };
        for (const tensor of agent.contract.inputs) inputs[tensor.name] = arrayOf(tensor, given[tensor.name]);
        const answers = agent.run(inputs, 3);
        agent.runInto(inputs, (outputs.output_2 = new Float32Array(3), outputs), 3);
        for (const [name, array] of Object.entries(inputs)) one[name] = array.slice(0, array.length / 3);
        const alone = agent.run(one);
        console.log(JSON.stringify([answers.output_0, answers.output_1, outputs.output_2, alone.output_0],
            (_, value) => ArrayBuffer.isView(value) ? Array.from(value, Number) : value));
    """
    scores, decisions, values, alone = json.loads(script(of, text))
    wanted = [array.reshape(-1) for array in expected(of, inputs)]
    np.testing.assert_allclose(scores, wanted[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(decisions, wanted[1])
    np.testing.assert_allclose(values, wanted[2], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(alone, scores[: len(alone)], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("agent.run({})", "TypeError: state: expected Float32Array of 8, got nothing"),
        ("agent.run({state: [1, 2]})", "TypeError: state: expected Float32Array of 8, got Array of 2"),
        (
            "agent.run({state: zeros}, 2)",
            "TypeError: state: expected Float32Array of 16, got Float32Array of 8",
        ),
        ("agent.run({state: zeros}, 0)", "RangeError: a batch is 1 or more, not 0"),
        ("agent.run({state: zeros}, 1.5)", "RangeError: a batch is 1 or more, not 1.5"),
        (
            "agent.runInto({state: zeros}, {output_0: zeros})",
            "TypeError: output_0: expected Float32Array of 3, got Float32Array of 8",
        ),
        ("agent.session()", "TypeError: policy keeps no state: call run"),
        (
            "await load(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]))",
            "TypeError: not an agent of grandopt: the module has no section 'grandopt'",
        ),
    ],
)
def test_a_wrong_call_is_one_clear_error(script: Script, call: str, words: str) -> None:
    text = (
        "const agent = await load(), zeros = new Float32Array(8);\n"
        f"try {{ {call}; }} catch (error) {{ console.log(String(error)); }}\n"
        "agent.run({state: zeros});"
    )
    assert script(program(Policy), text).strip() == words


def test_the_module_without_vectors_is_taken_where_there_are_none(script: Script) -> None:
    text = """
        const {validate} = WebAssembly;
        globalThis.fetch = undefined;
        WebAssembly.validate = (bytes) => false;
        const plain = await load(), own = await load(new URL("./agent.wasm", import.meta.url));
        WebAssembly.validate = validate;
        const state = Float32Array.from({length: 8}, (_, i) => Math.sin(i));
        const vectors = await load();
        console.log(hasSimd(), String(plain.run({state}).output_0) === String(vectors.run({state}).output_0));
        console.log(String(own.run({state}).output_0) === String(vectors.run({state}).output_0));
        const {unlink} = await import("node:fs/promises");
        await unlink(new URL("./agent.scalar.wasm", import.meta.url));
        await load();
        await load(undefined, {scalar: true}).catch((error) => console.log(error.code));
    """
    assert script(program(Policy), text).split() == ["true", "true", "true", "ENOENT"]


def test_a_session_keeps_the_state(script: Script) -> None:
    of = recurrent(LstmPolicy)
    observed = observations(6, 2)
    text = f"""
        const agent = await load();
        const session = agent.session(2);
        const steps = {json.dumps(observed.reshape(6, -1).tolist())};
        for (const pass of [0, 1]) {{
            for (const step of steps)
                console.log(JSON.stringify(Object.entries(session.step({{obs: Float32Array.from(step)}}))
                    .map(([name, numbers]) => [name, Array.from(numbers)])));
            session.reset();
        }}
    """
    lines = [json.loads(line) for line in script(of, text).splitlines()]
    assert {name for line in lines for name, _ in line} == {"output_0"}
    answers = np.array([numbers for line in lines for _, numbers in line])
    assert np.array_equal(answers[:6], answers[6:]), "reset begins anew"
    wanted = whole(LstmPolicy, observed).reshape(6, -1)
    np.testing.assert_allclose(answers[:6], wanted, rtol=0, atol=2e-6)


def test_the_example_for_node_steps_an_agent_that_begins_with_numbers(
    node: str, unchecked: None, tmp_path: Path
) -> None:
    of = recurrent(GruCellPolicy).but(contract=Contract(state=(StateTensor("h", "h_next", 0.25),)))
    write_wasm(of, tmp_path / "gru")
    observed = observations(5, 1)
    text = " ".join(f"{number:.9g}" for number in observed.reshape(-1))
    command = [node, tmp_path / "gru" / "example.mjs"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=True)
    state = torch.full((1, of.signature.inputs[0].shape[0]), 0.25)
    wanted = []
    for row in observed:
        state, action = of.module(state, torch.from_numpy(row))
        wanted.append(action.detach().numpy().reshape(-1))
    np.testing.assert_allclose(
        np.array(done.stdout.split(), float), np.concatenate(wanted), rtol=1e-5, atol=1e-6
    )
    short = subprocess.run(command, input="1 2", capture_output=True, text=True, timeout=60, check=False)
    assert (short.returncode, short.stderr) == (1, "an observation has 5 numbers, there are 2\n")


HOSTILE = 'x*/ export const evil = 1; /* "\n\\'


def test_types_say_what_numbers_mean_whatever_their_names() -> None:
    signature = Signature(
        (
            TensorSpec(HOSTILE, (2,), low=-1.0, high=(1.0, 2.0)),
            TensorSpec("h", (3,)),
            TensorSpec("begins", (1,)),
        ),
        (TensorSpec("action", (2,), role="action"), TensorSpec("h2", (3,)), TensorSpec("n", (), "int64")),
    )
    contract = Contract(
        action="continuous",
        low=(-1.0, 0.0),
        high=(1.0, 5.0),
        state=(StateTensor("h", "h2"),),
        episode_start="begins",
    )
    text = declarations(f"a\n{HOSTILE}", signature, contract)
    assert f"{json.dumps(HOSTILE)}: Float32Array;" in text
    assert "float32 [2]; from -1; to [1, 2]" in text
    assert "the action; within [-1, 0] to [1, 5]" in text
    assert 'recurrent state, the next call\'s "h"' in text
    assert '"n": BigInt64Array;' in text
    assert 'Omit<Inputs, "h" | "begins">' in text
    assert 'Omit<Outputs, "h2">' in text
    assert text.splitlines()[0].startswith("// a x*/")
    assert not re.search(r"^export const evil", text, re.MULTILINE)


@pytest.mark.parametrize("kind", [Pair, LstmPolicy])
def test_types_fit_a_program_that_uses_them(kind: type[torch.nn.Module], tmp_path: Path) -> None:
    compiler = shutil.which("tsc")
    if compiler is None:
        pytest.skip("skipped: tsc is not installed (npm install --global typescript)")
    of = program(kind) if kind is Pair else recurrent(kind)
    (tmp_path / "agent.d.ts").write_text(declarations(of.name, of.signature, of.contract))
    (tmp_path / "agent.js").write_text("")
    use = 'import {load} from "./agent.js";\nconst agent = await load();\n'
    if kind is Pair:
        use += "const given = {state: new Float32Array(6), image: new Uint8Array(4)};\n"
        use += "const decision: BigInt64Array = agent.run(given).output_1;\n"
    else:
        use += "const action: Float32Array = agent.session().step({obs: new Float32Array(5)}).output_0;\n"
    (tmp_path / "use.ts").write_text(use)
    options = ["--noEmit", "--strict", "--target", "es2022", "--module", "es2022", "--lib", "es2022,dom"]
    done = subprocess.run(
        [compiler, *options, "use.ts"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "")
