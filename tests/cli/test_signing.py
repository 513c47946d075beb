"""`grandopt sign` and `verify`, and what the other commands refuse with --require-signature."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Grandopt
from tests.serving.artifacts import put, scaled


@pytest.fixture
def release(grandopt: Grandopt, tmp_path: Path, artifact: Path) -> Path:
    """A signed artifact; the keys are release.key and release.key.pub."""
    made = grandopt("sign", "--new-key", "release.key")
    assert made.returncode == 0, made.stderr
    done = grandopt("sign", artifact, "--key", "release.key", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["signed"][0]["path"] == str(artifact)
    return artifact


def test_what_was_signed_is_verified(grandopt: Grandopt, release: Path) -> None:
    done = grandopt("verify", release, "--keys", "release.key.pub")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"verified {release} by key ")
    again = json.loads(grandopt("verify", release.parent, "--keys", ".", "--json").stdout)
    assert [one["reason"] for one in again["artifacts"]] == [None]
    assert grandopt("inspect", release, "--require-signature", "release.key.pub").returncode == 0


@pytest.mark.slow
def test_what_was_signed_is_kept_and_compared_signed(grandopt: Grandopt, release: Path) -> None:
    shutil.rmtree(release)
    put(scaled(2.0), release)
    required = ("--require-signature", "release.key.pub")
    kept = ("baseline", "save", "main", release)
    assert "it is not signed" in grandopt(*kept, *required).stderr
    assert grandopt("sign", release, "--key", "release.key").returncode == 0
    for words in (
        kept,
        ("compare", "main", release, "--limit", "p50=1000%"),
        ("plan", release, "--qps", "1e3", "--p99", "500ms"),
    ):
        done = grandopt(*words, *required)
        assert done.returncode == 0, (words, done.stderr)


@pytest.mark.slow
def test_what_was_changed_is_refused_everywhere(grandopt: Grandopt, release: Path) -> None:
    manifest = release / "manifest.json"
    manifest.write_text(manifest.read_text().replace("gate.zip", "hate.zip"))
    done = grandopt("verify", release, "--keys", "release.key.pub", "--json")
    assert done.returncode == 1
    assert "changed after it was signed" in done.stderr
    assert json.loads(done.stdout)["artifacts"][0]["key"] is None
    for words in (
        ("inspect", release),
        ("benchmark", release),
        ("benchmark", "--load", release),
        ("export", release, "out", "--to", "onnx"),
        ("plan", release, "--qps", "1e3", "--p99", "8ms"),
        ("baseline", "save", "main", release),
        ("compare", release, release),
        ("serve", release, "--once", "--http-port", "0", "--no-grpc", "--no-metrics"),
    ):
        refused = grandopt(*words, "--require-signature", "release.key.pub")
        assert refused.returncode == 2, (words, refused.stderr)
        assert refused.stderr.count("\n") == 1
        assert "changed after it was signed" in refused.stderr


def test_nobody_signs_what_is_only_compared_as_a_checkpoint_or_a_report(
    grandopt: Grandopt, release: Path, tmp_path: Path
) -> None:
    for name, kind in (("agent.pth", "checkpoint"), ("monday.json", "report")):
        (tmp_path / name).write_bytes(b"{}")
        done = grandopt("compare", release, name, "--require-signature", "release.key.pub")
        assert done.returncode == 2
        assert done.stderr == (
            f"error: --require-signature is for artifacts, but {name} is a {kind}; leave it out\n"
        )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sign",), "name artifacts and --key FILE, or make a key with --new-key FILE"),
        (("sign", "absent", "--key", "release.key"), "absent: neither an artifact nor a folder"),
        (("sign", "--new-key", "release.key"), "release.key: is there already"),
        (("sign", "--new-key", "other.key", "--key", "release.key"), "--new-key only makes a key"),
        (("sign", ".", "--key", "absent.key"), "absent.key: the key cannot be read: No such file"),
        (("sign", ".", "--key", "release.key.pub"), "no private key in PEM"),
        (("verify", ".", "--keys", "release.key"), "holds a private key; name the public one"),
        (("verify", "."), "missing option '--keys'"),
        (("serve", ".", "--require-signature", "absent"), "absent: the key cannot be read"),
        (
            ("benchmark", "agent.pth", "--require-signature", "release.key.pub"),
            "only artifacts are signed",
        ),
        (("inspect", "agent.pth", "--require-signature", "release.key.pub"), "is for artifacts"),
    ],
)
def test_bad_input_is_one_line(
    grandopt: Grandopt, release: Path, words: tuple[str, ...], message: str
) -> None:
    done = grandopt(*words)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert done.stdout == ""
