"""A process that works on a study: `python -m tests.tuning.worker URL LOG [seconds-per-evaluation]`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from grandopt.tuning.objective import TrialFigures
from grandopt.tuning.result import Prune
from grandopt.tuning.space import Choice, ChoiceSpace
from grandopt.tuning.study import run

SPACE = ChoiceSpace(("a", "b", "c"), (1, 2), (1, 8))


def main(url: str, log: str, seconds: str = "0.02") -> None:
    def evaluate(choice: Choice, prune: Prune) -> TrialFigures:
        with Path(log).open("a", encoding="utf-8") as lines:
            lines.write(f"{choice.candidate} {choice.threads} {choice.batch}\n")
        time.sleep(float(seconds))
        latency = 10.0 * choice.threads * choice.batch + ord(choice.candidate)
        return TrialFigures(latency, None, 1e6 / latency, 1.0)

    run(
        SPACE,
        evaluate,
        goal="latency",
        trials=100,
        budget_s=60,
        storage_url=url,
        study_name="shared",
        seed=0,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
