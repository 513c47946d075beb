"""`python -m tests.serving.clients.process`: the agents of `agents.py` behind real transports.

Prints its addresses as one line of JSON, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from grandopt.serving.grpc.options import GrpcOptions
from grandopt.serving.grpc.server import GrpcServer
from grandopt.serving.http.protocol_routes.protocol import protocol_routes
from grandopt.serving.http.server import HttpOptions, HttpServer
from grandopt.serving.protocol.access import Access
from grandopt.serving.shared_memory.regions import SharedRegions
from tests.serving.clients.agents import all_served

START_S = 60


async def serve(settings: dict[str, Any]) -> None:
    regions = SharedRegions() if settings.pop("shared_memory", False) else None
    access = Access(**settings.pop("access", {}))
    with tempfile.TemporaryDirectory() as folder:
        async with all_served(Path(folder), regions) as plane:
            grpc = GrpcServer(plane, GrpcOptions(port=0, access=access, **settings))
            http = HttpServer(plane, HttpOptions(port=0, access=access), protocol_routes(plane))
            await grpc.start()
            await http.start()
            print(json.dumps({"grpc": grpc.addresses[0], "http": http.addresses[0]}), flush=True)
            await asyncio.to_thread(sys.stdin.read)
            await http.stop(1.0)
            await grpc.stop(1.0)


@contextmanager
def serving(**settings: Any) -> Iterator[tuple[dict[str, str], subprocess.Popen[str]]]:
    """A process of its own that serves: its addresses, and itself.

    `settings` are fields of GrpcOptions, `shared_memory` and `access`. It has to be alive at the end.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, json.dumps(settings)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            yield json.loads(line), process
            assert process.poll() is None, process.communicate()[1]
            _, said = process.communicate(timeout=START_S)
            assert process.returncode == 0
            assert not said, said[-4000:]
        finally:
            process.kill()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(json.loads(sys.argv[1])))
