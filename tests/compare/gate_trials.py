"""How often the gate is wrong: many comparisons whose right answer is known, on a machine kept busy.

    python -m tests.compare.gate_trials --same 300 --slower 100

compares a reference agent's artifact with a copy of itself, and with a copy that is 10 % slower, each time as
`grandopt compare` does with its defaults, while another process burns processor time at random. Every
comparison is a line of `--log`; a run goes on where the log ends, and `--seconds` stops it in between. It
exits with 1 when more than 1 % of the equal pairs are called a regression, fewer than 95 % of the slower
copies are found, one is called an improvement, or a comparison takes more than 20 s.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from grandopt.artifacts.artifact import is_artifact, read
from grandopt.config.load import Overrides, resolve
from grandopt.config.schema import FileConfig
from grandopt.measurement.compare.comparison import Plan, compare
from grandopt.measurement.compare.sequential import Judgement
from grandopt.measurement.subject import Subject
from grandopt.verification.inputs import ring
from grandopt.workflows.gate.compare import Gate, compare_job
from tests.compare.slowed import slowed

SLOWDOWN = 0.10
NEAR = 0.003
"""How far from it the calibrated copy may lie."""

MOST_FALSE, FEWEST_FOUND, LONGEST_S = 0.01, 0.95, 20.0
Trial = dict[str, Any]


def main() -> int:
    """Run what is missing and print the figures."""
    asked = _arguments()
    asked.folder.mkdir(parents=True, exist_ok=True)
    log = asked.folder / "trials.jsonl"
    done = _read(log)
    wanted = {"same": asked.same, "slower": asked.slower}
    todo = [
        (kind, number)
        for kind, count in wanted.items()
        for number in range(sum(trial["kind"] == kind for trial in done), count)
    ]
    if todo:
        pairs = _pairs(asked.folder, asked.agent)
        random.Random(len(done)).shuffle(todo)
        end = time.monotonic() + asked.seconds
        with _busy(asked.burners, seed=len(done)), log.open("a", encoding="utf-8") as file:
            for place, (kind, number) in enumerate(todo):
                if time.monotonic() > end:
                    break
                trial = _trial(kind, number, *pairs[kind])
                file.write(json.dumps(trial) + "\n")
                file.flush()
                done.append(trial)
                print(f"{place + 1}/{len(todo)} {_line(trial)}", file=sys.stderr, flush=True)
    return _summary(done)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--same", type=int, default=300, help="comparisons of equal artifacts")
    parser.add_argument(
        "--slower", type=int, default=100, help="comparisons with a copy that is 10 %% slower"
    )
    parser.add_argument("--agent", default="decision_gate", help="the reference agent")
    parser.add_argument("--burners", type=int, default=1, help="processes that burn processor time")
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop after so many; go on later")
    parser.add_argument(
        "--folder", type=Path, default=Path(".grandopt/gate_trials"), help="log and artifacts"
    )
    return parser.parse_args()


def _read(log: Path) -> list[Trial]:
    if not log.is_file():
        return []
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def _pairs(folder: Path, agent: str) -> dict[str, tuple[Path, Path]]:
    """Baseline and candidate of each kind, built once; the machine is not yet kept busy."""
    base = folder / "base" / "artifacts" / agent
    if not is_artifact(base):
        from grandopt.workflows.optimize import optimize_job

        wanted = Overrides(
            engines=("native",), precisions=("float32",), output=folder / "base", only=(agent,)
        )
        optimize_job(resolve(FileConfig(), {}, wanted))
    if read(base).manifest.engine != "native":
        raise SystemExit(f"{agent}: no native artifact was shipped; choose another agent")
    same, slower = folder / "same", folder / "slower"
    if not is_artifact(same):
        shutil.copytree(base, same)
    if not is_artifact(slower):
        _calibrate(base, slower)
    return {"same": (base, same), "slower": (base, slower)}


def _calibrate(base: Path, target: Path) -> None:
    """Find the loop that takes as long as a tenth of a call, and write the slowed copy."""
    rounds = 50
    for _ in range(6):
        trial = slowed(base, target.with_name("calibrating"), rounds)
        found = _slowdown(base, trial)
        print(f"{rounds} rounds of the delay loop: {_change(found)}", file=sys.stderr, flush=True)
        if abs(found.change - SLOWDOWN) <= NEAR:
            trial.rename(target)
            return
        rounds = max(1, round(rounds * SLOWDOWN / max(found.change, 0.005)))
    raise SystemExit("the slowed copy could not be calibrated: this machine is too noisy")


def _slowdown(base: Path, other: Path) -> Judgement:
    inputs = ring(read(base).manifest.parsed_signature())
    # Held to the slow-down itself, so that it is not decided early.
    plan = Plan(processes=16, budget_s=60.0)
    found = compare(Subject("base", base), Subject("slower", other), inputs, {"p50": SLOWDOWN}, plan)
    judgement = found["p50"].judgement
    if judgement is None:
        raise SystemExit(f"the slowed copy could not be measured: {found['p50'].reason}")
    return judgement


def _trial(kind: str, number: int, baseline: Path, candidate: Path) -> Trial:
    begin = time.monotonic()
    report = compare_job(str(baseline), str(candidate), Gate(plan=Plan(seed=number)))
    seconds = time.monotonic() - begin
    row = next(row for row in report.agents[0].figures if row.figure == "p50")
    return {
        "kind": kind,
        "number": number,
        "outcome": report.outcome,
        "change": row.change,
        "low": row.low,
        "high": row.high,
        "noise": row.noise,
        "processes": row.processes,
        "seconds": seconds,
    }


@contextmanager
def _busy(count: int, seed: int) -> Iterator[None]:
    burners = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.compare.burner", str(seed + number)], stdin=subprocess.PIPE
        )
        for number in range(count)
    ]
    try:
        yield
    finally:
        for burner in burners:
            burner.communicate()


def _summary(done: Sequence[Trial]) -> int:
    same = [trial for trial in done if trial["kind"] == "same"]
    slower = [trial for trial in done if trial["kind"] == "slower"]
    verdicts = []
    if same:
        false = sum(trial["outcome"] == "regression" for trial in same)
        print(f"equal artifacts: {_outcomes(same)}")
        print(f"  regressions reported: {_rate(false, len(same))}; wanted at most {MOST_FALSE:.0%}")
        verdicts.append(false <= MOST_FALSE * len(same))
    if slower:
        found = sum(trial["outcome"] == "regression" for trial in slower)
        better = sum(trial["high"] < 0 for trial in slower)
        print(f"{SLOWDOWN:.0%} slower: {_outcomes(slower)}")
        print(f"  found: {_rate(found, len(slower))}; wanted at least {FEWEST_FOUND:.0%}")
        print(f"  called an improvement: {better}; wanted 0")
        verdicts += [found >= FEWEST_FOUND * len(slower), better == 0]
    if done:
        seconds = sorted(trial["seconds"] for trial in done)
        print(f"seconds each: median {seconds[len(seconds) // 2]:.1f}, longest {seconds[-1]:.1f}")
        verdicts.append(seconds[-1] <= LONGEST_S)
    return 0 if all(verdicts) else 1


def _outcomes(trials: Sequence[Trial]) -> str:
    counts = [
        f"{sum(trial['outcome'] == outcome for trial in trials)} {outcome}"
        for outcome in ("pass", "regression", "inconclusive")
    ]
    processes = sorted(trial["processes"] for trial in trials)
    changes = sorted(trial["change"] for trial in trials)
    middle, most = processes[len(processes) // 2], processes[-1]
    return (
        f"{len(trials)} comparisons: {', '.join(counts)}; change {changes[0]:+.1%} to {changes[-1]:+.1%}; "
        f"processes: median {middle}, most {most}"
    )


def _rate(count: int, total: int) -> str:
    """A count as a share, with its exact 95 % interval (Clopper and Pearson)."""
    low, high = _end(count, total, upper=False), _end(count, total, upper=True)
    return f"{count} of {total} ({count / total:.1%}; 95 % interval {low:.1%} to {high:.1%})"


def _end(count: int, total: int, *, upper: bool) -> float:
    if count == (total if upper else 0):
        return float(upper)
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        below = sum(
            math.comb(total, k) * middle**k * (1 - middle) ** (total - k)
            for k in range(count + (1 if upper else 0))
        )
        # The share at which so few (so many) would be seen with a chance of 2.5 %.
        if (below if upper else 1 - below) > 0.025:
            low, high = (middle, high) if upper else (low, middle)
        else:
            low, high = (low, middle) if upper else (middle, high)
    return (low + high) / 2


def _change(found: Judgement) -> str:
    return f"{found.change:+.2%} ({found.low:+.2%} to {found.high:+.2%})"


def _line(trial: Trial) -> str:
    return (
        f"{trial['kind']}: {trial['outcome']} {trial['change']:+.2%} ({trial['low']:+.2%} to "
        f"{trial['high']:+.2%}), {trial['processes']} processes, {trial['seconds']:.1f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
