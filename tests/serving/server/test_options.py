"""Options that cannot be served, each in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from grandopt.errors import ConfigError
from grandopt.serving.http.limits import HttpLimits
from grandopt.serving.server.listeners import listeners
from grandopt.serving.server.options import ServerOptions
from grandopt.serving.server.secrets import access, tls
from grandopt.serving.server.statistics import added

FOLDER = Path("artifacts")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"http_port": 70_000}, "--http-port must be 0 to 65535, got 70000"),
        ({"http_port": 8001}, "the ports of HTTP, gRPC and metrics must differ"),
        ({"http_port": None, "grpc_port": None}, "nothing would be served"),
        ({"workers": 0}, "--workers must be 1 to 256, got 0"),
        ({"workers": 2, "client_shm": True}, "--allow-client-shm takes one process, and --workers is 2"),
        (
            {"uds": FOLDER, "ring": FOLDER},
            "--uds and --ring are sockets of their own, got artifacts for both",
        ),
        ({"grace_s": -1.0}, "--grace must be 0 or more seconds, got -1"),
        ({"token_for_all": True}, "--token-for-all needs a token"),
        ({"tls_cert": FOLDER}, "TLS needs both --tls-cert and --tls-key"),
        ({"first": ("a",)}, "--load names what is loaded at the start with --model-control explicit"),
    ],
)
def test_options_that_do_not_go_together_are_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ServerOptions(FOLDER, **fields)


def test_options_reach_a_worker_as_they_are() -> None:
    options = ServerOptions(
        FOLDER,
        uds=Path("/run/x"),
        first=("a", "b"),
        model_control="explicit",
        limits=HttpLimits(chunks=3),
    )
    assert ServerOptions.from_json(options.to_json()) == options


@pytest.mark.parametrize("text", [b"", b"short\n", b"two words here\n", "pässword123".encode(), b"\xff" * 20])
def test_a_token_file_without_a_token_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match="a token is one line of 8 to 4096 ASCII characters"):
        access(ServerOptions(FOLDER, token_file=path))
    with pytest.raises(ConfigError, match="No such file"):
        access(ServerOptions(FOLDER, token_file=tmp_path / "none"))


def test_the_token_of_a_file_counts(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(b"correct-horse\n")
    found = access(ServerOptions(FOLDER, token_file=path, token_for_all=True))
    assert (found.token, found.for_all) == ("correct-horse", True)


def test_certificates_that_are_none_are_refused(tmp_path: Path) -> None:
    for name in ("cert", "key"):
        (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"--tls-cert .* and --tls-key .* cannot be used"):
        tls(ServerOptions(FOLDER, tls_cert=tmp_path / "cert", tls_key=tmp_path / "key"))


def test_ports_and_sockets_that_are_taken_are_refused_and_a_dead_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    options = ServerOptions(FOLDER, http_port=0, metrics_port=None, grpc_port=None, uds=path)
    made = listeners(options)
    with pytest.raises(ConfigError, match=f"{path}"):
        listeners(options)
    port = made.tcp[0].getsockname()[1]
    with pytest.raises(ConfigError, match=f"port {port} cannot be had"):
        listeners(ServerOptions(FOLDER, http_port=port, metrics_port=None))
    for one in made.unix:
        one.close()  # as it is after a server's sudden death: the file stays
    again = listeners(options)
    again.close()
    made.close()
    assert not path.exists()
    path.write_text("something", encoding="utf-8")
    with pytest.raises(ConfigError, match=f"{path}"):
        listeners(options)
    assert path.read_text(encoding="utf-8") == "something"


def test_a_socket_that_is_another_servers_by_now_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"
    options = ServerOptions(FOLDER, http_port=None, metrics_port=None, grpc_port=None, uds=path)
    first = listeners(options)
    path.unlink()
    second = listeners(options)
    first.close()
    assert path.exists()
    second.close()
    assert not path.exists()


def test_statistics_of_workers_add_up() -> None:
    def stats(count: int, latest: int, sizes: dict[int, int]) -> dict[str, object]:
        batches = [
            {"batch_size": size, "compute_infer": {"count": n, "ns": 10 * n}} for size, n in sizes.items()
        ]
        return {
            "name": "a",
            "version": "1",
            "last_inference": latest,
            "inference_count": count,
            "inference_stats": {"success": {"count": count, "ns": 100 * count}},
            "batch_stats": batches,
        }

    other = stats(1, 1, {}) | {"name": "b"}
    found = added(
        [{"model_stats": [stats(2, 50, {1: 2})]}, {"model_stats": [stats(3, 40, {1: 1, 2: 1}), other]}]
    )
    assert found["model_stats"] == [stats(5, 50, {1: 3, 2: 1}), other]
