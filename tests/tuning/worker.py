"""A process that works on a study: `python -m tests.tuning.worker URL LOG [SECONDS-EACH [LEASE]]`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from grandopt.tuning.objective import TrialFigures
from grandopt.tuning.result import Prune
from grandopt.tuning.space import Choice, ChoiceSpace
from grandopt.tuning.study import run
from grandopt.tuning.study.leases import LEASE_S

SPACE = ChoiceSpace(("a", "b", "c"), (1, 2), (1, 8))


def main(url: str, log: str, seconds: str = "0.02", lease_s: str = str(LEASE_S)) -> None:
    """Prints the best choice and the number of trials that it knows in the end."""

    def evaluate(choice: Choice, prune: Prune) -> TrialFigures:
        with Path(log).open("a", encoding="utf-8") as lines:
            lines.write(f"{choice.candidate} {choice.threads} {choice.batch}\n")
        time.sleep(float(seconds))
        latency = 10.0 * choice.threads * choice.batch + ord(choice.candidate)
        return TrialFigures(latency, None, 1e6 / latency, 1.0)

    result = run(
        SPACE,
        evaluate,
        goal="latency",
        trials=100,
        budget_s=60,
        storage_url=url,
        study_name="shared",
        seed=0,
        machine={"identity": "0" * 64, "cpu": "one kind"},
        lease_s=float(lease_s),
    )
    assert result.best is not None
    print(result.best.choice.candidate, result.best.choice.threads, len(result.trials), result.stopped_by)


if __name__ == "__main__":
    main(*sys.argv[1:])
