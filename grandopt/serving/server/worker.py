"""One of several processes of a server; a program of its own, started by the supervisor.

It reads one line of JSON with what to serve, writes one with what it serves or why it does not, and stops at
a signal, or when its standard input ends: then the supervisor has died.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from pathlib import Path

from grandopt.errors import GrandoptError
from grandopt.serving.addresses import bound
from grandopt.serving.server.listeners import Listeners
from grandopt.serving.server.options import ServerOptions
from grandopt.serving.server.process import run, serving
from grandopt.serving.server.siblings import Siblings
from grandopt.serving.server.summary import Summary


def main() -> int:
    """The worker's exit code: 0 after a stop, 1 where it could not start."""
    given = json.loads(sys.stdin.buffer.readline())
    options = ServerOptions.from_json(given["options"])
    answer = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no answer

    def started(summary: Summary) -> None:
        _tell(answer, summary.to_json())

    async def serve() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_reader(0, stop.set)
        made = Listeners()
        if options.http_port is not None:
            made.tcp += bound(options.host, options.http_port, shared=True)
        if options.metrics_port is not None:
            made.metrics_tcp += bound(options.host, options.metrics_port, shared=True)
        if options.grpc_port is not None:
            made.grpc_tcp += bound(options.host, options.grpc_port, shared=True)
        made.unix += [socket.socket(fileno=number) for number in given["unix"]]
        slot = given["slot"]
        siblings = Siblings(Path(given["folder"]), slot)
        await serving(options, made, started, siblings=siblings, ring=slot == 0, stop=stop)

    try:
        run(serve())
    except GrandoptError as error:
        _tell(answer, {"error": str(error)})
        return 1
    return 0


def _tell(answer: int, data: object) -> None:
    os.write(answer, json.dumps(data).encode() + b"\n")


if __name__ == "__main__":
    raise SystemExit(main())
