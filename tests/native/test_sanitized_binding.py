"""The binding under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from grandopt.artifacts.artifact import write
from grandopt.artifacts.store import Store
from grandopt.compiler.backends.native import binding as binding_of
from grandopt.compiler.backends.native.binding import compile_binding
from grandopt.compiler.backends.native.toolchain import find_compiler
from grandopt.compiler.build import Candidate, build
from grandopt.errors import BuildError
from grandopt.runtime.executors.native import BINDING
from tests.native.conftest import BEST
from tests.small_agents import Pair, program

SANITIZE = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")

CALLS = """
import array, gc, sys, threading, warnings, weakref
import numpy as np
import grandopt
policy = grandopt.load(sys.argv[1])
agent, base = policy._run.__self__, type(policy).__mro__[1]
bare = base()
bare.attach(agent, lambda _, *args, **keywords: type(policy).__mro__[2].__call__(policy, *args, **keywords))

def pair(batch):
    shape = () if batch is None else (batch,)
    return np.ones((*shape, 6), np.float32), np.ones((*shape, 2, 2), np.uint8)

def refused(call, *args, **keywords):
    try:
        call(*args, **keywords)
    except (grandopt.GrandoptError, TypeError):
        return
    raise AssertionError(args)

held = []
for turn in range(300):
    for batch in (None, 1, 2, 3, 200):
        outputs = (policy, bare)[turn % 2](*pair(batch))
        match turn % 6:
            case 0: held.append(outputs)
            case 1: held.append([memoryview(output) for output in outputs])
            case 2: held.append([weakref.ref(output) for output in outputs])
            case 3: [output.resize(1000, refcheck=False) for output in outputs]
            case 4: held.clear()
    state, image = pair(2)
    for call in (policy, bare):
        call(state.tolist(), image)
        call({"state": state, "image": image})
        for wrong in ((), (state,), (state, image, image), (state[:0], image), (state, image[:1])):
            refused(call, *wrong)
        refused(call, state, image=image)
    refused(policy.run_each, (state, image[:1]))
    refused(policy.run_each, (state[:0], image[:0]))
    held.append(policy.run_each(pair(9)))
    outputs = policy.run((state, image))
    bound = policy.bind([state, image], list(outputs))
    bound()
    refused(bound, 1)
    refused(bound, x=1)
    refused(policy.bind, (state, image), (outputs[0],) * 3)
    refused(policy.bind, (state, state), outputs)
    refused(policy.bind, (state,), outputs)
    refused(policy.bind, (state, image), outputs[:2])
    lone = policy.bind(
        (array.array("f", [1.0] * 6), memoryview(bytes(4)).cast("B", (2, 2))),
        (array.array("f", [0.0] * 5), np.zeros((), np.int64), array.array("f", [0.0])),
    )
    del state, image, outputs
    bound(), lone()

class Own(np.ndarray):
    pass
for _ in range(100):
    state, image = pair(1)
    own = state.view(Own)
    own.bound = policy.bind((own, image), policy.run((state, image)))
    own.bound()
del own
gc.collect()

def work():
    for batch in (1, 2, 20_000) * 5:
        inputs = pair(batch)
        policy(*inputs), policy.bind(inputs, policy.run(inputs))()
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
gone = weakref.ref(policy)
agent = base = bare = bound = lone = policy = None
held.clear()
print("done", gone() is None)
"""


@pytest.mark.slow
def test_calls_of_every_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = find_compiler()
    runtime = subprocess.run(
        [*compiler.command, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(runtime).is_absolute():
        pytest.skip("the compiler has no libasan.so to load first")
    artifact = build(program(Pair), Candidate("float32", BEST), Store(tmp_path / "store"))
    monkeypatch.setattr(binding_of, "FLAGS", (*binding_of.FLAGS, *SANITIZE))
    try:
        sanitized = compile_binding.__wrapped__(compiler)
    except BuildError as error:
        pytest.skip(f"the compiler has no sanitizers: {error}")
    checked = write(tmp_path / "checked", artifact.manifest, {**artifact.payloads(), BINDING: sanitized})
    # Leaks are looked for through ptrace, which containers forbid; test_call.py counts references.
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONMALLOC": "malloc",
    }
    done = subprocess.run(
        [sys.executable, "-c", CALLS, checked.path],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "done True\n"), done.stderr[-3000:]
