"""`grandopt deploy`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from grandopt.cli.console import Terminal
from grandopt.cli.exit_codes import ExitCode
from grandopt.cli.options import Json, Quiet, RequireSignature, Verbose
from grandopt.errors import ConfigError

if TYPE_CHECKING:
    from grandopt.distributed.ray.deploying import Deployed

deploy = typer.Typer(help="Serve artifacts on many machines.", no_args_is_help=True, rich_markup_mode=None)


@deploy.callback()
def _commands() -> None:
    """Serve artifacts on many machines."""


@deploy.command()
def ray(
    artifacts: Annotated[
        list[Path], typer.Argument(metavar="ARTIFACTS...", help="Artifacts, or folders of them.")
    ],
    replicas: Annotated[
        str, typer.Option("--replicas", metavar="N|auto", help="How many; auto goes by queue and p99.")
    ] = "1",
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="HOST[:PORT]", help="The cluster's; this machine's without it."),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Of the application.")] = "grandopt",
    most: Annotated[int, typer.Option("--most", metavar="N", help="Replicas that auto goes up to.")] = 16,
    p99_ms: Annotated[
        float, typer.Option("--p99-ms", metavar="MS", help="With auto: above it, a replica more.")
    ] = 50.0,
    cpus: Annotated[float, typer.Option("--cpus", metavar="N", help="That a replica reserves.")] = 1.0,
    host: Annotated[str, typer.Option("--host", help="Where HTTP listens; 0.0.0.0 for all.")] = "127.0.0.1",
    http_port: Annotated[int, typer.Option("--http-port", metavar="PORT", help="Of HTTP.")] = 8000,
    no_http: Annotated[bool, typer.Option("--no-http", help="Handles alone.")] = False,
    route: Annotated[str, typer.Option("--route", metavar="PATH", help="HTTP's prefix.")] = "/",
    profile: Annotated[
        str | None, typer.Option("--profile", help="Of the engines: basic, standard, aggressive or maximum.")
    ] = None,
    by_path: Annotated[
        bool, typer.Option("--by-path", help="Nodes read the artifacts where they are, not a copy.")
    ] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Load artifacts whose engine runs code of their files.")
    ] = False,
    require_signature: RequireSignature = None,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="For all replicas to be ready.")
    ] = 180.0,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> ExitCode:
    """Serve artifacts with Ray Serve, each replica with an engine of its own.

    Every node is asked first whether it has this version and can load the artifacts. Deployed again, replicas
    are replaced one after the other, and no request is lost. HTTP is the Open Inference Protocol; programs
    on the cluster ask by grandopt.distributed.ray.client.

    \b
    Example:
      ray start --head
      grandopt deploy ray artifacts/ --replicas 2
      grandopt deploy ray artifacts/gate --replicas auto --address 10.0.0.1:6379
    """
    terminal = Terminal(as_json=json, quiet=quiet, verbose=verbose)
    from grandopt.config.names import DEFAULT_PROFILE
    from grandopt.distributed.ray.deploying import deploy as deployed_by

    if not 0 <= http_port <= 65535:
        raise ConfigError(f"--http-port must be 0 to 65535, got {http_port}")
    found = deployed_by(
        artifacts,
        name=name,
        address=address,
        replicas=parse_replicas(replicas),
        most_replicas=most,
        p99_s=p99_ms / 1e3,
        cpus=cpus,
        host=host,
        http_port=None if no_http else http_port,
        route=route,
        profile=profile or DEFAULT_PROFILE,
        by_path=by_path,
        trust=trust,
        limit_s=timeout,
        tell=terminal.note,
    )
    _show(terminal, found)
    return ExitCode.DONE


def parse_replicas(text: str) -> int | Literal["auto"]:
    """The value of --replicas; raises ConfigError for anything but a number from 1 on and auto."""
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"--replicas must be a number from 1 on, or auto; got {text!r:.40}")
    return int(text)


def _show(terminal: Terminal, found: Deployed) -> None:
    replicas = "1 replica" if found.replicas == 1 else f"{found.replicas} replicas"
    lines = [f"{found.application}: {replicas} on {found.address}, after {found.seconds:.1f} s"]
    lines += [f"ready    {agent} {digest[:12]}" for agent, digest in found.builds.items()]
    if found.url is not None:
        lines.append(f"http     {found.url}")
    terminal.lines(lines)
    terminal.document(asdict(found))
