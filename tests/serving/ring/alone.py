"""A process that serves one artifact by rings, until it is killed: alone PATH ARTIFACT [SPIN_US]."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import SimpleNamespace

from grandopt.runtime.engine.engine import Engine
from grandopt.serving.ring.options import RingOptions
from grandopt.serving.ring.server import RingServer


async def main(path: str, artifact: str, spin_us: str = "200") -> None:
    async with Engine() as engine:
        engine.load(Path(artifact), "policy")
        await RingServer(SimpleNamespace(engine=engine), path, RingOptions(spin_us=float(spin_us))).start()
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
