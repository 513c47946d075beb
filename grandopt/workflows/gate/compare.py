"""`compare`: the regression gate. Artifacts are measured again, side by side; reports are read."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from importlib import metadata
from pathlib import Path

from grandopt.config.gate import GateConfig
from grandopt.config.schema import Job
from grandopt.errors import CheckpointError, ConfigError, EngineError
from grandopt.measurement.compare.comparison import Plan, Progress
from grandopt.measurement.compare.sequential import ALPHA
from grandopt.measurement.environment import environment
from grandopt.private import told_command, told_path
from grandopt.reason import IN_TIME
from grandopt.reporting.gate.baseline import FOLDER
from grandopt.reporting.gate.result import AgentGate, GateReport, Mode, outcome_of
from grandopt.reporting.gate.view import notes
from grandopt.reporting.log import utc_now
from grandopt.reporting.report import AgentReport, load_report
from grandopt.workflows.events import Event, Listener, silent
from grandopt.workflows.gate.artifacts import Duel, duel, remeasure, threads_of
from grandopt.workflows.gate.operands import RUN_ARTIFACTS, ComparedOperand, operand, paired
from grandopt.workflows.gate.reports import check_same_machine, compare_records, shipped_agents
from grandopt.workflows.job import check_threads
from grandopt.workflows.records import moment

MakeJob = Callable[[Path], Job]


@dataclass(frozen=True)
class Gate:
    """What a candidate is held to, and how.

    `config` holds the limits. `agents` are the only ones to compare, where it names any. `threads` None means
    those that the artifacts were shipped with. `make_job` says how a checkpoint is optimized, and its output
    folder is where that happens. `new_weights` says that candidates were trained anew. `signed_only`
    refuses what nobody can have signed, checkpoints and reports; the signatures of artifacts are asked for by
    `signatures_required`.
    """

    config: GateConfig = field(default_factory=GateConfig)
    plan: Plan = field(default_factory=Plan)
    agents: tuple[str, ...] = ()
    threads: int | None = None
    trust: bool = False
    samples: Path | None = None
    instructions: bool = False
    new_weights: bool = False
    signed_only: bool = False
    make_job: MakeJob | None = None
    baselines: Path = FOLDER


def compare_job(
    baseline: str,
    candidate: str,
    gate: Gate,
    *,
    command: Sequence[str] = (),
    listener: Listener = silent,
    now: Callable[[], datetime] = utc_now,
) -> GateReport:
    """Compare two artifacts, folders of artifacts, saved baselines, checkpoints or reports, agent by agent.

    Everything is opened and checked before anything is measured. Raises an InputError for an operand that is
    missing or damaged, for two that cannot be compared (other machines, other agents, an agent that only one
    of them has), and MeasurementError for an artifact that cannot be run.
    """
    started, begin = now(), time.monotonic()
    if gate.threads is not None:
        check_threads(gate.threads)
    left, right = operand(baseline, gate.baselines), operand(candidate, gate.baselines)
    for side in (left, right):
        if gate.signed_only and side.kind != "artifacts":
            raise ConfigError(
                f"--require-signature is for artifacts, but {side.name} is a {side.kind}; leave it out"
            )
    if "report" in (left.kind, right.kind):
        mode: Mode = "reports"
        agents = _reports(_as_report(left), _as_report(right), gate)
    else:
        mode = "checkpoints" if "checkpoint" in (left.kind, right.kind) else "artifacts"
        with tempfile.TemporaryDirectory(prefix="grandopt-") as name:
            built = [
                _built(side, place, Path(name) / place, gate, listener)
                for side, place in ((left, "baseline"), (right, "candidate"))
            ]
            agents = _remeasured(built[0], built[1], gate, listener)
    return GateReport(
        mode=mode,
        outcome=outcome_of(agent.outcome for agent in agents),
        baseline=told_path(left.name),
        candidate=told_path(right.name),
        command=told_command(command),
        started=moment(started),
        finished=moment(now()),
        duration_s=time.monotonic() - begin,
        grandopt=metadata.version("grandopt"),
        environment=asdict(environment()),
        seed=gate.plan.seed,
        alpha=ALPHA,
        agents=tuple(agents),
    ).without_private()


def _remeasured(
    left: ComparedOperand, right: ComparedOperand, gate: Gate, listener: Listener
) -> list[AgentGate]:
    pairs = _pairs(left, right, gate)
    # What was built here a moment ago is no stranger's.
    trust = (gate.trust or left.kind == "checkpoint", gate.trust or right.kind == "checkpoint")
    duels = [duel(name, one, other, trust) for name, (one, other) in pairs.items()]
    plan = replace(gate.plan, threads=threads_of(duels, gate.threads))
    found = []
    for done, item in enumerate(duels):
        agent = remeasure(
            item,
            gate.config.limits_of(item.name),
            plan,
            samples=gate.samples,
            instructions=gate.instructions,
            new_weights=gate.new_weights,
            on_progress=_telling(listener, item, done, len(duels)),
        )
        found.append(agent)
        listener(Event("info", item.name, "compare", agent.outcome, done + 1, len(duels)))
        for note in notes(agent):
            listener(Event("debug", item.name, "compare", note, done + 1, len(duels)))
    return found


def _pairs(left: ComparedOperand, right: ComparedOperand, gate: Gate) -> dict[str, tuple[Path, Path]]:
    """Which artifact is compared with which; two single ones are a pair whatever their names."""
    if left.single and right.single and not gate.agents:
        (name, one), other = next(iter(left.artifacts.items())), next(iter(right.artifacts.values()))
        return {name: (one, other)}
    if left.single != right.single and not gate.agents:
        # One artifact against a folder: the folder's artifact of that name.
        name = next(iter((left if left.single else right).artifacts))
        gate = replace(gate, agents=(name,))
    names = paired(
        left.artifacts, right.artifacts, gate.agents, {"baseline": left.name, "candidate": right.name}
    )
    return {name: (left.artifacts[name], right.artifacts[name]) for name in names}


def _built(
    side: ComparedOperand, place: str, folder: Path, gate: Gate, listener: Listener
) -> ComparedOperand:
    """A checkpoint as `grandopt optimize` ships it; artifacts as they are."""
    if side.kind != "checkpoint":
        return side
    if gate.make_job is None:
        raise ConfigError(f"{side.name}: a checkpoint must be built first; name artifacts")
    from grandopt.workflows.optimize import optimize_job  # torch, which artifacts may not need

    job = gate.make_job(side.path)
    listener(Event("info", "", "build", f"{place}: optimizing {side.name}"))
    report = optimize_job(job, listener=listener)
    for agent in report.agents:
        if agent.shipped is None:
            kind = CheckpointError if agent.error_kind == "input" else EngineError
            raise kind(f"{side.name}: could not be optimized: {agent.reason}", remedy=agent.remedy)
        # The other side may have an agent of this name, built into the same place.
        shutil.copytree(job.output / RUN_ARTIFACTS / agent.name, folder / agent.name)
    # Where there was no time for a build, something slower is shipped: no regression of the agent.
    late = [agent.name for agent in report.agents if _out_of_time(agent)]
    if late:
        message = (
            f"{place}: {', '.join(late)}: not all was built and measured in time, which can change what is "
            f"shipped"
        )
        listener(Event("warning", "", "build", message))
    return replace(side, artifacts={agent.name: folder / agent.name for agent in report.agents}, single=True)


def _out_of_time(agent: AgentReport) -> bool:
    return any(row.reason_code in IN_TIME for row in agent.candidates)


def _as_report(side: ComparedOperand) -> Path:
    if side.kind == "report":
        return side.path
    if side.report is not None:
        return side.report
    raise ConfigError(
        f"{side.name}: is no report, and the other side is one; compare two reports, or two artifacts"
    )


def _reports(left: Path, right: Path, gate: Gate) -> list[AgentGate]:
    paths = (str(left), str(right))
    reports = (load_report(left), load_report(right))
    check_same_machine(*reports, paths)
    sides = [shipped_agents(report, path) for report, path in zip(reports, paths, strict=True)]
    names = paired(sides[0], sides[1], gate.agents, dict(zip(("baseline", "candidate"), paths, strict=True)))
    code = [[report.environment.get(key) for key in ("python", "libraries")] for report in reports]
    return [
        compare_records(
            name,
            sides[0][name],
            sides[1][name],
            gate.config.limits_of(name),
            paths,
            same_code=code[0] == code[1],
        )
        for name in names
    ]


def _telling(listener: Listener, item: Duel, done: int, total: int) -> Progress:
    """Progress of one agent, process by process."""

    def tell(process: int, most: int) -> None:
        message = f"process {process}, at most {most}"
        listener(Event("debug", item.name, "compare", message, done, total))

    engines = " against ".join(
        f"{side.manifest.engine} {side.manifest.precision}" for side in (item.candidate, item.baseline)
    )
    listener(Event("info", item.name, "compare", engines, done, total))
    return tell
