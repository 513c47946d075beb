"""What a loader that requires signatures opens: copies that nobody can change, nothing before the check."""

from __future__ import annotations

import asyncio
import gc
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import grandopt
from grandopt.artifacts.artifact import read
from grandopt.artifacts.store import Store
from grandopt.errors import ArtifactError, ConfigError
from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.loader import load
from tests.contracts.backends import MEMBERS
from tests.signing.conftest import KeyPair
from tests.small_agents import Policy, draw

SEALED = "/memfd:grandopt"
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "inductor")) for name in MEMBERS]
)
def test_every_engine_answers_from_sealed_copies(tmp_path: Path, key: KeyPair, name: str) -> None:
    member = MEMBERS[name]
    for library in member.libraries:
        pytest.importorskip(library)
    made = member.built(member.program(Policy), Store(tmp_path / "store"))
    folder = key.sign(Path(shutil.copytree(made.path, tmp_path / "agent")))
    inputs = draw(member.program(Policy), 3)
    with pytest.raises(ArtifactError, match="it is not signed"):
        load(made.path, trust=True, require_signature=key.public)
    plain = load(folder, trust=True)
    wanted = plain.run(inputs)
    signed = load(folder, trust=True, require_signature=key.public)
    for file in folder.iterdir():  # whatever becomes of the folder now
        if file.suffix != ".so":  # whose code is `plain`, too
            file.write_bytes(b"\0" * file.stat().st_size)
        file.unlink()
    np.testing.assert_array_equal(signed.run(inputs)[0], wanted[0])
    np.testing.assert_array_equal(signed.run([array[:1] for array in inputs])[0], wanted[0][:1])


IN_A_PROCESS = """
import sys
from grandopt.errors import ArtifactError
from grandopt.runtime.loader import load
try:
    load(sys.argv[1], require_signature=sys.argv[2])
except ArtifactError as error:
    print(error)
print([line for line in open("/proc/self/maps") if "/memfd:" in line or sys.argv[1] in line])
print(sorted({"torch", "numpy", "grandopt_native_binding"} & set(sys.modules)))
"""


def _process(code: str, *words: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_of_a_changed_artifact_is_opened(policy: Path, key: KeyPair) -> None:
    """The binding, which would be opened first, is as it was signed; the agent's library is not."""
    file = next(policy.glob("agent*"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    said, mapped, modules = _process(IN_A_PROCESS, policy, key.public).splitlines()
    assert "damaged" in said
    assert mapped == "[]"
    assert "torch" not in modules
    assert "grandopt_native_binding" not in modules


RACED = """
import sys
import numpy as np
from grandopt.errors import ArtifactError
from grandopt.runtime.loader import load
state = np.linspace(-1, 1, 8, dtype=np.float32)
refused, answers = 0, set()
for _ in range(150):
    try:
        answers.add(load(sys.argv[1], require_signature=sys.argv[2])(state).tobytes())
    except ArtifactError:
        refused += 1
assert refused and len(answers) <= 1, (refused, len(answers))
print(refused, len(answers))
"""

CHANGING = """
import sys
from pathlib import Path
file = Path(sys.argv[1])
whole = file.read_bytes()
broken = whole[:4096] + b"\\xcc" * (len(whole) - 4096)
with file.open("r+b", buffering=0) as opened:
    while True:
        for content in (broken, whole):
            opened.seek(0)
            opened.write(content)
"""


def test_a_file_that_is_written_to_while_it_is_loaded(policy: Path, key: KeyPair) -> None:
    """In place, where a library's pages are those of the file. What is not refused answers rightly."""
    file = next(policy.glob("agent*"))
    with subprocess.Popen([sys.executable, "-c", CHANGING, str(file)]) as writer:
        try:
            _process(RACED, policy, key.public)
        finally:
            writer.kill()


def test_copies_are_given_back_with_their_agent(policy: Path, key: KeyPair) -> None:
    state = np.zeros(8, np.float32)
    first = load(policy, require_signature=key.public)
    first(state)
    before = _sealed()
    for _ in range(5):
        load(policy, require_signature=key.public)(state)
    gc.collect()
    assert _sealed() <= before
    out = np.zeros((1, 3), np.float32)
    bound = first.bind((state[None],), (out,))
    del first
    gc.collect()
    bound()  # the library that it calls is still that of the copy
    assert abs(out.sum() - 1) < 1e-5


def _sealed() -> int:
    links = [str(item.readlink()) for item in Path("/proc/self/fd").iterdir() if item.is_symlink()]
    return sum(link.startswith(SEALED) for link in links)


def test_without_a_requirement_the_library_for_signatures_is_not_imported(policy: Path) -> None:
    code = (
        "import sys; from grandopt.runtime.loader import load; load(sys.argv[1]); "
        "print({name.partition('.')[0] for name in sys.modules} & {'cryptography', 'torch', 'cffi'})"
    )
    assert _process(code, policy) == "set()\n"


def test_a_worker_process_loads_it_with_the_same_keys(policy: Path, key: KeyPair) -> None:
    executor = load(policy, require_signature=key.public)
    again = pickle.loads(pickle.dumps(executor.remake))
    again().close()
    (policy / "manifest.sig").unlink()
    with pytest.raises(ArtifactError, match="it is not signed"):
        again()


async def _serve(policy: Path, pair: Path, key: KeyPair) -> None:
    async with Engine() as engine:
        name = engine.load(policy, require_signature=key.public)
        state = np.ones(8, np.float32)
        before = await engine.infer(name, state)
        (policy / "manifest.sig").unlink()
        with pytest.raises(ArtifactError, match="it is not signed"):
            await engine.replace(name, policy, require_signature=key.public)
        with pytest.raises(ArtifactError, match="it is not signed"):
            engine.shadow(name, policy, require_signature=key.public)
        np.testing.assert_array_equal(await engine.infer(name, state), before)
        key.sign(policy)
        await engine.replace(name, policy, require_signature=key.public)
        with pytest.raises(ConfigError, match="the key cannot be read"):
            engine.load(pair, "pair", require_signature=policy / "nothing.pub")


def test_an_engine_asks_for_it_too(policy: Path, pair: Path, key: KeyPair) -> None:
    asyncio.run(_serve(policy, pair, key))


def test_a_cache_in_front_asks_for_it_too(policy: Path, key: KeyPair) -> None:
    grandopt.cached(policy, require_signature=key.public).close()
    (policy / "manifest.sig").unlink()
    with pytest.raises(ArtifactError, match="it is not signed"):
        grandopt.cached(policy, require_signature=key.public)


def test_keys_in_a_folder(policy: Path, tmp_path: Path, key: KeyPair) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    KeyPair.new(keys / "other.key")
    with pytest.raises(ArtifactError, match="none of those"):
        read(policy, keys)
    shutil.copy(key.public, keys)
    assert read(policy, keys).signer is not None
