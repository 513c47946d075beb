"""The parts of the adapter to Ray Serve that need no cluster."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from grandopt.cli.app import main
from grandopt.cli.commands.deploy import parse_replicas
from grandopt.distributed.ray import carried
from grandopt.distributed.ray.carried import all_carried
from grandopt.distributed.ray.cluster import _reached
from grandopt.distributed.ray.frames import Frame
from grandopt.distributed.ray.ingress import head_of
from grandopt.distributed.ray.recent import LEAST, WINDOW_S, RecentTimes
from grandopt.distributed.ray.scaling import QueueAndTail
from grandopt.distributed.ray.versions import Versions
from grandopt.errors import ArtifactError, ConfigError, ServingError
from grandopt.serving.http.head import read_head
from grandopt.serving.http.limits import HttpLimits
from grandopt.signature import TensorSpec
from tests.serving.artifacts import put, scaled
from tests.signing.conftest import KeyPair

MINE = Versions("3.11", "1.0", "2.60.0")


def test_frames_hold_arrays_of_any_kind() -> None:
    specs = [
        TensorSpec("a", (3,), "float32"),
        TensorSpec("b", (), "bool"),
        TensorSpec("c", (2, 2), "float64"),
    ]
    rng = np.random.default_rng(0)
    arrays = [rng.random((5, 3), np.float32), rng.random(5) > 0.5, rng.random((5, 2, 2))]
    for chosen in (slice(0, 1), slice(0, 3)):
        frame = Frame(specs[chosen])
        data = frame.packed(arrays[chosen])
        back = frame.unpacked(data, 5)
        assert all(
            np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(back, arrays[chosen], strict=True)
        )
        assert all(one.flags.aligned for one in back)
        for wrong, rows in ((data[:-1], 5), (data, 4), (data, 0)):
            with pytest.raises(ServingError, match="both sides must serve one agent"):
                frame.unpacked(wrong, rows)


def test_carried_artifacts_are_the_ones_that_were_deployed(tmp_path: Path) -> None:
    put(scaled(2.0), tmp_path / "folder" / "scaled")
    (one,) = all_carried(tmp_path / "folder")
    assert one.placed(tmp_path / "there").joinpath("manifest.json").is_file()
    (by_path,) = all_carried([tmp_path / "folder" / "scaled"], by_path=True)
    assert by_path.size == 0 < one.size
    assert by_path.placed(tmp_path / "there") == tmp_path / "folder" / "scaled"
    put(scaled(3.0), tmp_path / "folder" / "scaled")
    with pytest.raises(ArtifactError, match=r"deployed was .*; deploy again"):
        by_path.placed(tmp_path / "there")
    assert one.files is not None
    name = next(iter(one.files))
    damaged = carried.CarriedArtifact(
        one.name, one.digest, one.path, one.manifest, {**one.files, name: one.files[name][:-1] + b"?"}
    )
    with pytest.raises(ArtifactError, match="deployed was"):
        damaged.placed(tmp_path / "elsewhere")


def test_only_what_was_signed_is_carried(tmp_path: Path) -> None:
    keys, other = (KeyPair.new(tmp_path / f"{name}.key") for name in ("release", "other"))
    place = put(scaled(2.0), tmp_path / "scaled")
    with pytest.raises(ArtifactError, match="it is not signed"):
        all_carried(place, require_signature=keys.public)
    keys.sign(place)
    (one,) = all_carried(place, require_signature=keys.public)
    assert one.placed(tmp_path / "there").is_dir()
    with pytest.raises(ArtifactError, match="which is none of those in"):
        all_carried(place, require_signature=other.public)
    with pytest.raises(ConfigError, match="leave out --by-path"):
        all_carried(place, by_path=True, require_signature=keys.public)
    (payload, *_) = sorted(file for file in place.iterdir() if file.suffix not in (".json", ".sig"))
    payload.write_bytes(payload.read_bytes()[:-1] + b"?")
    with pytest.raises(ArtifactError, match="damaged"):
        all_carried(place, require_signature=keys.public)


def test_what_is_no_artifact_cannot_be_carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="no such artifact"):
        all_carried(tmp_path / "none")
    with pytest.raises(ConfigError, match="holds no artifact"):
        all_carried(tmp_path)
    put(scaled(2.0), tmp_path / "one")
    with pytest.raises(ConfigError, match="two artifacts are called 'scaled'"):
        all_carried([tmp_path, tmp_path / "one"])
    monkeypatch.setattr(carried, "MOST_BYTES", 10)
    with pytest.raises(ConfigError, match="--by-path"):
        all_carried(tmp_path)


@pytest.mark.parametrize(
    ("replicas", "calls", "waiting", "p99_s", "wanted"),
    [
        (1, 0.0, 0.0, 0.0, 1),
        (1, 7.0, 0.0, 0.0, 4),  # two calls each
        (2, 3.0, 2000.0, 0.0, 8),  # 256 rows each
        (2, 1.0, 0.0, 0.06, 3),  # the tail alone
        (3, 3.5, 0.0, 0.01, 3),  # two would be nearly full
        (3, 1.0, 0.0, 0.01, 1),
        (3, 1.0, 0.0, 0.04, 3),  # the tail is near its limit
    ],
)
def test_replicas_follow_the_queue_and_the_tail(
    replicas: int, calls: float, waiting: float, p99_s: float, wanted: int
) -> None:
    policy = QueueAndTail()
    assert policy.wanted(replicas, calls, waiting, p99_s) == wanted
    metrics = {"waiting": {"a": waiting / 2, "b": waiting / 2}, "p99_s": {"a": 0.0, "b": p99_s}}
    context = SimpleNamespace(
        current_num_replicas=replicas, total_num_requests=calls, aggregated_metrics=metrics
    )
    assert policy(context) == (wanted, {})


def test_only_the_last_seconds_count() -> None:
    now = 0.0
    times = RecentTimes(lambda: now)
    for _ in range(LEAST - 1):
        times.note(1.0)
    assert times.p99_s() == 0.0
    times.note(1.0)
    assert times.p99_s() == 1.0
    now = WINDOW_S + 1
    assert times.p99_s() == 0.0


def test_versions_are_named_on_both_sides() -> None:
    MINE.check(MINE, "the replica")
    with pytest.raises(ConfigError, match=r"node 1 has ray 2\.50\.0, here is 2\.60\.0: install the same"):
        MINE.check(MINE._replace(ray="2.50.0"), "node 1")


def test_the_proxy_request_is_read_by_our_own_parser() -> None:
    scope = {
        "method": "POST",
        "path": "/agents/v2/models/a b/infer",
        "raw_path": b"/agents/v2/models/a%20b/infer",
        "root_path": "/agents",
        "query_string": b"x=1",
        "headers": [(b"host", b"here"), (b"transfer-encoding", b"chunked"), (b"accept-encoding", b"gzip")],
    }
    head = read_head(head_of(scope, 12), HttpLimits())
    assert (head.method, head.path, dict(head.query), head.length) == (
        "POST",
        "/v2/models/a%20b/infer",
        {"x": "1"},
        12,
    )
    assert head.accepts == "gzip"


def test_an_address_at_which_nothing_listens_is_named() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        with pytest.raises(ConfigError, match=f"no Ray cluster at 127.0.0.1:{port}: .*ray start --head"):
            _reached(f"127.0.0.1:{port}")
        bound.listen()
        assert _reached(f"127.0.0.1:{port}") == f"127.0.0.1:{port}"
    for wrong in ("ray://host:1", "host:0", "host:x", ":1"):
        with pytest.raises(ConfigError, match="--address is HOST:PORT"):
            _reached(wrong)


def test_replicas_are_a_number_or_auto() -> None:
    assert (parse_replicas("auto"), parse_replicas("3")) == ("auto", 3)
    for wrong in ("0", "-1", "two", ""):
        with pytest.raises(ConfigError, match="a number from 1 on, or auto"):
            parse_replicas(wrong)


def test_without_ray_the_command_says_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["deploy", "ray", "nowhere"]) == 2
    assert capsys.readouterr().err == (
        "error: this needs ray, which is not installed: pip install 'grandopt[ray]'\n"
    )
