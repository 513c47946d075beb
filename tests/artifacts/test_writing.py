"""Writing an artifact: atomic at every step, and nothing of the user's is lost."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from grandopt.artifacts.artifact import read, write
from grandopt.artifacts.manifest import Manifest
from grandopt.artifacts.writing import put_file
from grandopt.errors import OutputError

# Writes artifact after artifact into argv[1]: the version is in the name and in both payload files.
WRITER = """
import json, sys
from dataclasses import replace
from pathlib import Path
from grandopt.artifacts.artifact import read, write
from grandopt.artifacts.manifest import Manifest
template = Manifest.from_json(json.loads(sys.argv[2]))
def write_version(version):
    files = {"a.bin": f"a{version}".encode() * 5000, "b.bin": f"b{version}".encode() * 5000}
    write(Path(sys.argv[1]), replace(template, name=f"v{version}"), files)
"""

# Runs the same write again and again in forked children; the n-th child is killed at its n-th change to
# the file system, until one gets through. Prints how many there were.
KILLED_AT_EVERY_STEP = (
    WRITER
    + """
import os, signal
folder, step = Path(sys.argv[1]), 0
before = int(sys.argv[3])
while True:
    step += 1
    child = os.fork()
    if child == 0:
        seen = 0
        def kill(event, args):
            global seen
            if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"):
                seen += 1
                if seen == step:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(kill)
        write_version(before + 1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if folder.exists():
        artifact = read(folder)
        version = artifact.manifest.name[1:]
        assert version in (str(before), str(before + 1)), version
        for letter in "ab":
            assert artifact.payload(letter + ".bin") == f"{letter}{version}".encode() * 5000
    else:
        assert before == 0, "the old artifact is gone"
    if status == 0:
        assert version == str(before + 1)
        break
    if before:
        write_version(before)
print(step)
"""
)

WRITES_FOR_EVER = (
    WRITER
    + """
version = 0
while True:
    version += 1
    write_version(version)
    if version == 1:
        print("ready", flush=True)
"""
)


def _run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)


@pytest.mark.parametrize("before", [0, 1], ids=["new", "replaced"])
def test_killed_at_every_step_a_complete_artifact_remains(
    tmp_path: Path, manifest: Manifest, before: int
) -> None:
    folder = tmp_path / "gate"
    if before:
        files = {"a.bin": b"a1" * 5000, "b.bin": b"b1" * 5000}
        write(folder, replace(manifest, name="v1"), files)
    done = _run(KILLED_AT_EVERY_STEP, str(folder), json.dumps(manifest.to_json()), str(before))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gate"], "left-overs beside the artifact"
    assert len(list(folder.iterdir())) == 3, "left-overs in the artifact"


def test_killed_at_random_moments_a_complete_artifact_remains(tmp_path: Path, manifest: Manifest) -> None:
    folder = tmp_path / "gate"
    for attempt in range(12):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITES_FOR_EVER, str(folder), json.dumps(manifest.to_json())],
            stdout=subprocess.PIPE,
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(attempt * 0.0013)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        artifact = read(folder)
        version = artifact.manifest.name[1:]
        for letter in "ab":
            assert artifact.payload(f"{letter}.bin") == f"{letter}{version}".encode() * 5000


def test_a_living_writer_is_not_disturbed(tmp_path: Path, manifest: Manifest) -> None:
    errors: list[BaseException] = []

    def write_often(number: int) -> None:
        try:
            for turn in range(10):
                write(tmp_path / "gate", manifest, {"a.bin": bytes([number, turn]) * 100})
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=write_often, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert read(tmp_path / "gate").payloads()["a.bin"][1] == 9
    assert len(list((tmp_path / "gate").iterdir())) == 2
    assert len(list(tmp_path.iterdir())) == 1


def test_files_of_the_user_stay(tmp_path: Path, manifest: Manifest) -> None:
    folder = tmp_path / "gate"
    write(folder, manifest, {"a.bin": b"old", "shared.bin": b"same"})
    (folder / "README").write_text("mine")
    (folder / "log-0123456789abcdef.txt").write_text("looks like a payload, but is not one")
    artifact = write(folder, manifest, {"b.bin": b"new", "shared.bin": b"same"})
    assert artifact.payloads() == {"b.bin": b"new", "shared.bin": b"same"}
    names = {path.name for path in folder.iterdir()}
    assert {"README", "log-0123456789abcdef.txt", "manifest.json"} < names
    assert len(names) == 5


def test_an_empty_folder_and_a_link_are_filled(tmp_path: Path, manifest: Manifest) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    write(tmp_path / "link", manifest, {"a.bin": b"1"})
    write(tmp_path / "link", manifest, {"a.bin": b"2"})
    assert read(tmp_path / "empty").payload("a.bin") == b"2"
    assert (tmp_path / "link").is_symlink()


def test_what_is_not_an_artifact_is_never_overwritten(tmp_path: Path, manifest: Manifest) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter1.txt").write_text("precious")
    with pytest.raises(OutputError, match="holds something else and is not overwritten"):
        write(folder, manifest, {"a.bin": b"1"})
    (folder / "manifest.json").write_text('{"name": "a web page"}')
    with pytest.raises(OutputError, match="states no format_version"):
        write(folder, manifest, {"a.bin": b"1"})
    assert sorted(path.name for path in folder.iterdir()) == ["chapter1.txt", "manifest.json"]
    with pytest.raises(OutputError, match="is a file"):
        write(folder / "chapter1.txt", manifest, {"a.bin": b"1"})
    with pytest.raises(OutputError, match="cannot be written: "):
        write(folder / "chapter1.txt" / "deep" / "gate", manifest, {"a.bin": b"1"})
    assert (folder / "chapter1.txt").read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_place_without_room_leaves_nothing(manifest: Manifest) -> None:
    place = Path("/proc/self/gate")
    with pytest.raises(OutputError, match="/gate: cannot be written: "):
        write(place, manifest, {"a.bin": b"1"})


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".hidden", "a\0b"])
def test_payload_names_stay_in_the_folder(tmp_path: Path, manifest: Manifest, name: str) -> None:
    with pytest.raises(OutputError, match="plain file name"):
        write(tmp_path / "gate", manifest, {name: b"1"})
    assert list(tmp_path.iterdir()) == []


def test_one_file_is_put_whole_and_left_overs_of_the_dead_are_removed(tmp_path: Path) -> None:
    dead, living = tmp_path / f".{'0' * 16}.unfinished", tmp_path / f".{'1' * 16}.unfinished"
    dead.write_bytes(b"half")
    with living.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        put_file(tmp_path / "report.json", b"whole")
        assert sorted(path.name for path in tmp_path.iterdir()) == [living.name, "report.json"]
    put_file(tmp_path / "report.json", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("report.json", b"new")]


def test_many_writers_of_one_file(tmp_path: Path) -> None:
    path = tmp_path / "report.json"

    def write_often(number: int) -> None:
        for _ in range(50):
            put_file(path, bytes([number]) * 1000)
            assert len(set(path.read_bytes())) == 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write_often, range(4)))
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]
