"""`grandopt sign`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grandopt.cli.console import Terminal
from grandopt.cli.options import Json, Quiet, Verbose
from grandopt.errors import ConfigError


def sign(
    artifacts: Annotated[
        list[Path] | None,
        typer.Argument(metavar="ARTIFACT", help="Folders of artifacts, or a folder of such folders."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="The private key: ed25519 in PEM.")
    ] = None,
    new_key: Annotated[
        Path | None,
        typer.Option("--new-key", metavar="FILE", help="Make a key in FILE, and its public one in FILE.pub."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Sign artifacts, so that others can demand that they are what was released here.

    Writes manifest.sig into each artifact: an ed25519 signature of its manifest, which holds the digests of
    all its files. Each file is compared with its digest first. `grandopt verify`, and --require-signature of
    the commands that open artifacts, take the public key; keep the other one where only releases are made.

    \b
    Example:
      grandopt sign --new-key release.key
      grandopt sign artifacts/ --key release.key
    """
    terminal = Terminal(as_json=json, quiet=quiet, verbose=verbose)
    if new_key is not None:
        if artifacts or key is not None:
            raise ConfigError("--new-key only makes a key: name no artifacts and no --key with it")
        from grandopt.artifacts.signing.keys import PUBLIC_SUFFIX, write_new_key

        name = write_new_key(new_key)
        terminal.lines([f"key {name}", f"private {new_key}", f"public  {new_key}{PUBLIC_SUFFIX}"])
        terminal.document({"key": name, "private": str(new_key), "public": f"{new_key}{PUBLIC_SUFFIX}"})
        return
    if not artifacts or key is None:
        raise ConfigError("name artifacts and --key FILE, or make a key with --new-key FILE")
    from grandopt.artifacts.signing.keys import read_private
    from grandopt.artifacts.signing.release import found, sign_artifact

    private, paths = read_private(key), found(artifacts)
    signed = [{"path": str(path), "key": sign_artifact(path, private)} for path in paths]
    terminal.lines(f"signed {one['path']} by key {one['key'][:16]}…" for one in signed)
    terminal.document({"signed": signed})
