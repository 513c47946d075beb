"""`grandopt serve`."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from grandopt.cli.console import Terminal
from grandopt.cli.exit_codes import ExitCode
from grandopt.cli.options import Json, Quiet, RequireSignature, Verbose

if TYPE_CHECKING:
    from grandopt.serving.server.summary import Summary


def serve(
    folder: Annotated[
        Path, typer.Argument(metavar="ARTIFACTS", help="The folder of artifacts, or one artifact.")
    ],
    host: Annotated[str, typer.Option("--host", help="Where to listen; 0.0.0.0 for all.")] = "127.0.0.1",
    http_port: Annotated[int, typer.Option("--http-port", metavar="PORT", help="Of HTTP; 0 for any.")] = 8000,
    grpc_port: Annotated[int, typer.Option("--grpc-port", metavar="PORT", help="Of gRPC; 0 for any.")] = 8001,
    metrics_port: Annotated[
        int, typer.Option("--metrics-port", metavar="PORT", help="Of /metrics alone; 0 for any.")
    ] = 8002,
    no_http: Annotated[bool, typer.Option("--no-http", help="No HTTP at a port.")] = False,
    no_grpc: Annotated[bool, typer.Option("--no-grpc", help="No gRPC.")] = False,
    no_metrics: Annotated[bool, typer.Option("--no-metrics", help="No port of /metrics alone.")] = False,
    uds: Annotated[
        Path | None, typer.Option("--uds", metavar="PATH", help="HTTP at a Unix socket, too.")
    ] = None,
    ring: Annotated[
        Path | None, typer.Option("--ring", metavar="PATH", help="Rings in shared memory, asked for here.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", metavar="N", help="Processes.")] = 1,
    profile: Annotated[
        str | None, typer.Option("--profile", help="Of the engine: basic, standard, aggressive or maximum.")
    ] = None,
    model_control: Annotated[
        Literal["none", "poll", "explicit"],
        typer.Option("--model-control", help="Load once; follow the folder; load when asked to."),
    ] = "none",
    load: Annotated[
        list[str] | None, typer.Option("--load", metavar="AGENT", help="With explicit: loaded at the start.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help="The token that changes need.")
    ] = None,
    token_for_all: Annotated[bool, typer.Option("--token-for-all", help="All calls need the token.")] = False,
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", metavar="FILE", help="PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="PEM.")] = None,
    grace: Annotated[
        float, typer.Option("--grace", metavar="SECONDS", help="For requests under way at a stop.")
    ] = 10.0,
    allow_client_shm: Annotated[
        bool, typer.Option("--allow-client-shm", help="Clients may register shared memory.")
    ] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Load artifacts whose engine runs code of their files.")
    ] = False,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", metavar="FILE", help="Keep answers as the section cache of this YAML says."),
    ] = None,
    require_signature: RequireSignature = None,
    once: Annotated[
        bool, typer.Option("--once", help="Start, say what would be served and where, and stop.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> ExitCode:
    """Serve artifacts by the Open Inference Protocol, over HTTP, gRPC, Unix sockets and shared memory.

    Clients of Triton, KServe and MLServer can ask it; / shows a dashboard, /metrics is for Prometheus. It
    stops at SIGTERM or Ctrl-C: requests under way are answered first. Without a token only programs on this
    machine may change what is served.

    \b
    Example:
      grandopt serve artifacts/
      grandopt serve artifacts/ --workers 4 --uds /run/gate.sock --model-control poll
      grandopt serve artifacts/gate --host 0.0.0.0 --token-file token --token-for-all
    """
    terminal = Terminal(as_json=json, quiet=quiet, verbose=verbose)
    from grandopt.serving.server.extra import require

    require("uvloop", "httptools", "orjson")
    gc.disable()  # what a server imports leaves next to no garbage, and looking for it takes a while
    from grandopt.config.names import DEFAULT_PROFILE
    from grandopt.serving.server.options import ServerOptions
    from grandopt.serving.server.process import serve_here

    gc.enable()

    options = ServerOptions(
        folder=folder,
        host=host,
        http_port=None if no_http else http_port,
        grpc_port=None if no_grpc else grpc_port,
        metrics_port=None if no_metrics else metrics_port,
        uds=uds,
        ring=ring,
        workers=workers,
        profile=profile or DEFAULT_PROFILE,
        model_control=model_control,
        first=tuple(load or ()),
        token_file=token_file,
        token_for_all=token_for_all,
        tls_cert=tls_cert,
        tls_key=tls_key,
        grace_s=grace,
        client_shm=allow_client_shm,
        trust=trust,
        cache_file=cache,
    )

    def started(summary: Summary) -> None:
        _show(terminal, summary)

    if workers == 1:
        serve_here(options, started, once=once)
    else:
        from grandopt.serving.server.supervisor import serve_with_workers

        serve_with_workers(options, started, once=once)
    return ExitCode.DONE


def _show(terminal: Terminal, summary: Summary) -> None:
    """What is served where, and what is not and why."""
    lines = [f"{what:<8} {' '.join(places)}" for what, places in summary.addresses.items()]
    for row in summary.models:
        reason = f": {row['reason']}" if row["reason"] else ""
        lines.append(f"{row['state'].lower():<8} {row['name']} {row['version']}{reason}")
    terminal.lines(lines)
    terminal.document(summary.to_json())
