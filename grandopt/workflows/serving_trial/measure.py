"""The parent's side: a fresh process for each configuration."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from grandopt.reason import Reason, ReasonCode, reason_of
from grandopt.tuning.configuration.figures import ServingFigures
from grandopt.tuning.result import Infeasible
from grandopt.workflows.serving_trial.task import ServingTask

WORKER = "grandopt.workflows.serving_trial.worker"
STARTING_S = 60.0
"""What loading may take, beside the load itself."""


def serve(task: ServingTask, *, worker: str = WORKER, starting_s: float = STARTING_S) -> ServingFigures:
    """The figures of the artifact served under the task's configuration, in a process of its own.

    Raises Infeasible where the engine refuses the configuration, the figures cannot be taken, or the process
    ends or takes too long. The process is gone when this returns, also by an interrupt.
    """
    with tempfile.TemporaryDirectory(prefix="grandopt-") as name:
        told, said = Path(name, "task.json"), Path(name, "answer.json")
        told.write_text(json.dumps(task.to_json()), encoding="utf-8")
        limit = starting_s + 3 * (task.load.warmup_s + task.load.seconds)
        try:
            done = subprocess.run(
                [sys.executable, "-m", worker, str(told), str(said)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            text = f"the process that serves it was not done after {limit:.0f} s"
            raise Infeasible(Reason(ReasonCode.NOT_MEASURED_IN_TIME, text)) from error
        if not said.exists():
            raise Infeasible(Reason(ReasonCode.CRASHED, _ended(done)))
        answer: dict[str, Any] = json.loads(said.read_text(encoding="utf-8"))
    reason = reason_of(answer)
    if reason is not None:
        raise Infeasible(reason)
    return ServingFigures.of(answer["figures"])


def _ended(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    said = f": {lines[-1]}" if lines else ""
    if done.returncode < 0:
        return f"the process that serves it was ended by {signal.Signals(-done.returncode).name}{said}"
    return f"the process that serves it ended with {done.returncode}{said}"
