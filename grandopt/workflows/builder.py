"""The build process: `python -m grandopt.workflows.builder`, started and spoken to by `builders.py`.

It stays for many builds, so that torch and the engines are imported once. What ends it (a crash of a
compiler, the kernel's out-of-memory killer, the parent's patience) costs one candidate and not the run.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from grandopt.artifacts.store import Store
from grandopt.errors import GrandoptError
from grandopt.measurement.worker import serve
from grandopt.workflows.entry import Contestant, enter
from grandopt.workflows.handover import taken_over

OOM_SCORE = Path("/proc/self/oom_score_adj")


def main() -> None:
    """Build until standard input ends."""
    with contextlib.suppress(OSError):  # another system than Linux
        OOM_SCORE.write_text("1000", encoding="ascii")  # before the parent, which has the results
    warnings.simplefilter("ignore")  # nobody reads them here; what went wrong is in the answer
    serve(answer)


def answer(job: Mapping[str, Any]) -> dict[str, Any]:
    """Build and verify one candidate; the artifact and the verdict are in the store afterwards."""
    try:
        agent = _agent(job["folder"])
        candidate = agent.candidates[job["label"]]
        entry = enter(agent, candidate, _store(job["store"], job["limit_bytes"]), job["threads"])
    except MemoryError:
        return {"status": "failed", "reason": "ran out of memory while it was built"}
    except GrandoptError as error:
        return {"status": "failed", "reason": str(error)}
    return {"status": entry.status, "reason": entry.reason}


@lru_cache(maxsize=1)
def _agent(folder: str) -> Contestant:
    return taken_over(Path(folder))


@lru_cache(maxsize=1)
def _store(root: str, limit_bytes: int | None) -> Store:
    return Store(Path(root), limit_bytes)


if __name__ == "__main__":
    main()
