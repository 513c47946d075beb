"""TLS of a whole server: one certificate, and at each port what is spoken there."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import grpc

from grandopt.serving.grpc.coding import decode
from grandopt.serving.grpc.inference_schema import INFERENCE
from tests.serving.certificate import signed_by_itself
from tests.serving.server.processes import address, served


def test_http_and_grpc_have_one_certificate_and_a_protocol_each(artifacts: Path, tmp_path: Path) -> None:
    certificate, key = signed_by_itself(tmp_path)
    words = ("--tls-cert", str(certificate), "--tls-key", str(key))
    with served(artifacts, *words, light=False) as (told, _):
        context = ssl.create_default_context(cafile=certificate)
        context.set_alpn_protocols(["h2", "http/1.1"])
        spoken = {}
        for what in ("http", "grpc"):
            with (
                socket.create_connection(address(told, what), 10) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1") as one,
            ):
                spoken[what] = one.selected_alpn_protocol()
                if what == "http":
                    one.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    assert one.recv(100).startswith(b"HTTP/1.1 200 ")
        assert spoken == {"http": None, "grpc": "h2"}
        context.set_alpn_protocols(["http/1.1"])
        with (
            socket.create_connection(address(told, "grpc"), 10) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as one,
        ):
            assert one.selected_alpn_protocol() is None
            assert one.recv(100) == b"", "who does not choose HTTP/2 is not spoken to"
        trusted = grpc.ssl_channel_credentials(certificate.read_bytes())
        with grpc.secure_channel("{}:{}".format(*address(told, "grpc")), trusted) as channel:
            data = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=10)
        assert decode(INFERENCE, "ServerLiveResponse", data) == {"live": True}
