"""`reproduce`: an artifact is built again as its recipe says, and compared with what was recorded."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from grandopt.artifacts.artifact import Artifact
from grandopt.compiler import build
from grandopt.compiler.identity import graph_digest
from grandopt.config.schema import Job
from grandopt.errors import ArtifactError, CaptureError, EngineUnavailableError, InputError
from grandopt.measurement.measure import measure
from grandopt.measurement.subject import Subject
from grandopt.reason import Reason, ReasonCode, reason_fields
from grandopt.reporting.recipe import BuildRecipe
from grandopt.reporting.reproduction import (
    AnswersReport,
    Difference,
    RemeasuredReport,
    Reproduction,
    Verdict,
)
from grandopt.runtime.loader import load
from grandopt.workflows import records
from grandopt.workflows.building.built import ORIGINAL, BuiltCandidate
from grandopt.workflows.events import Listener, silent
from grandopt.workflows.job import STATE, Run, Stages, running
from grandopt.workflows.open_agents import open_agents
from grandopt.workflows.reproduce.answers import same_answers
from grandopt.workflows.reproduce.recorded import FoundFiles, Recorded, Substitutes, Unrecorded, found_files
from grandopt.workflows.selection.candidate_set import CandidateSet, prepare_candidates
from grandopt.workflows.selection.recipe import candidate_of, content_digests, machine, payload_digests

COMPILERS = {
    "code": "grandopt's compiler",
    "c_compiler": "C compiler",
    "c_sources": "C sources",
    "cxx": "C++ compiler",
}
"""What people read for names in `build.compilers`."""

REBUILT = "rebuilt"
RECORDED = "artifact"


@dataclass(frozen=True)
class Wanted:
    """What reproducing is to do: which files to use instead of those recorded, whether code in the recipe may
    be run, and whether to measure."""

    substitutes: Substitutes = field(default_factory=Substitutes)
    trust: bool = False
    measure: bool = True


def reproduce_all(
    agents: Sequence[Recorded | Unrecorded], wanted: Wanted, listener: Listener = silent
) -> list[Reproduction]:
    """Every agent in turn; one of which too little was recorded is the verdict "cannot"."""
    return [
        Reproduction(agent=agent.name, verdict="cannot", **reason_fields(agent.reason))
        if isinstance(agent, Unrecorded)
        else reproduce(agent, wanted, listener)
        for agent in agents
    ]


def reproduce(recorded: Recorded, wanted: Wanted, listener: Listener = silent) -> Reproduction:
    """Build one agent again with the recorded settings; nothing outside a temporary folder is written.

    What stands in the way is the verdict "cannot", with its reason. Nothing comes from a store of earlier
    builds.
    """
    try:
        found = found_files(recorded, wanted.substitutes, trust=wanted.trust)
        with tempfile.TemporaryDirectory(prefix="grandopt-") as name:
            return _reproduced(recorded, found, wanted, Path(name), listener)
    except (InputError, CaptureError, EngineUnavailableError) as error:
        return Reproduction(agent=recorded.name, verdict="cannot", **reason_fields(Reason.of(error)))


def _reproduced(
    recorded: Recorded, found: FoundFiles, wanted: Wanted, folder: Path, listener: Listener
) -> Reproduction:
    stages, recipe, built = Stages(), recorded.recipe, recorded.built
    job = Job(
        agents={recorded.name: found.config},
        profile=recorded.profile,
        threads=recipe.threads,
        seed=recipe.seed,
        output=folder,
        resume=False,
    )
    (opened,) = open_agents(job, found.samples)
    with running(job, folder / STATE / "store", listener, recipe.command) as run:
        candidate_set = prepare_candidates(run.at(0), opened, stages)
        with stages.step("build"):
            entry, artifact = _rebuilt(run, candidate_set, built)
            refused = entry.reason and replace(entry.reason, text=f"{entry.status}: {entry.reason}")
        differences = (*found.differences, *_differences(recorded, candidate_set, artifact))
        with stages.step("answers"):
            answers, no_answers = _answers(candidate_set, recorded, artifact, trust=wanted.trust)
        remeasured = None
        if wanted.measure:
            with stages.step("measure"):
                beside = recorded.artifact if answers is not None else None
                remeasured = _measured(run, candidate_set, recorded, artifact, beside=beside)
    payload, contents = payload_digests(artifact), content_digests(artifact)
    same = [name for name, sha256 in built.contents.items() if contents.get(name) == sha256]
    return Reproduction(
        agent=recorded.name,
        verdict=_verdict(built, contents, candidate_set, answers, entry),
        **reason_fields(refused),
        label=built.label,
        payload=len(same),
        renumbered=sum(payload[name] != built.payload.get(name) for name in same),
        payload_files=len(built.payload),
        differences=differences,
        answers=answers,
        no_answers=None if no_answers is None else no_answers.text,
        no_answers_code=None if no_answers is None else no_answers.code,
        remeasured=remeasured,
        stages=stages.seconds,
    )


def _rebuilt(run: Run, candidate_set: CandidateSet, built: BuildRecipe) -> tuple[BuiltCandidate, Artifact]:
    """The agent built as recorded; its original where that was kept.

    Raises EngineUnavailableError where the engine is not here, and ArtifactError where it cannot build it.
    """
    candidate = candidate_of(built)
    if candidate is None:
        return candidate_set.original, candidate_set.artifact(candidate_set.original)
    run.tell(candidate_set.program.name, "build", built.label)
    entry = candidate_set.build_now(candidate, built.threads)
    if entry.status == "unavailable":
        remedy = None if entry.reason is None else entry.reason.remedy
        raise EngineUnavailableError(f"{built.label}: {entry.reason}", remedy=remedy)
    if entry.artifact is None:
        raise ArtifactError(f"{built.label} could not be built: {entry.reason}")
    return entry, entry.artifact


def _verdict(
    built: BuildRecipe,
    contents: dict[str, str],
    candidate_set: CandidateSet,
    answers: AnswersReport | None,
    entry: BuiltCandidate,
) -> Verdict:
    if entry.status != "verified":
        return "differs"
    if contents == built.contents:
        return "reproduced"
    same_network = graph_digest(candidate_set.program) == built.agent_sha256
    all_same = answers is not None and answers.identical == answers.observations
    return "reproduced" if entry.is_original and same_network and all_same else "differs"


def _differences(recorded: Recorded, candidate_set: CandidateSet, artifact: Artifact) -> Iterator[Difference]:
    """What is otherwise than recorded: the network, the machine, its libraries, and the compilers."""
    built, then, now = recorded.built, recorded.recipe.machine, machine()
    yield from _unlike("network and weights", built.agent_sha256, graph_digest(candidate_set.program))
    for name in ("cpu_model", "architecture", "os", "kernel", "python"):
        yield from _unlike(name.replace("_", " "), getattr(then, name), getattr(now, name))
    if then.identity != now.identity:
        yield Difference(what="machine identity", then=then.identity, now=now.identity)
    for name in sorted({*then.libraries, *now.libraries}):
        yield from _unlike(name, then.libraries.get(name), now.libraries.get(name))
    compilers = build.compilers(artifact.manifest.engine)
    for name in sorted({*built.compilers, *compilers} - {*then.libraries}):
        yield from _unlike(
            COMPILERS.get(name, name), _line(built.compilers.get(name)), _line(compilers.get(name))
        )
    contents = content_digests(artifact)
    for name in sorted({*built.contents, *contents}):
        yield from _unlike(f"payload {name}", built.contents.get(name), contents.get(name))


def _unlike(what: str, then: str | None, now: str | None) -> Iterator[Difference]:
    if then != now:
        yield Difference(what=what, then=then, now=now)


def _line(text: str | None) -> str | None:
    """The first line: a compiler's version goes on with its copyright."""
    return None if text is None else text.partition("\n")[0]


def _answers(
    candidate_set: CandidateSet, recorded: Recorded, rebuilt: Artifact, *, trust: bool
) -> tuple[AnswersReport | None, Reason | None]:
    """How the artifact and the new build answer, or why that could not be compared."""
    if recorded.artifact is None:
        return None, recorded.no_artifact
    try:
        then = load(recorded.artifact.path, trust=trust)
    except ArtifactError as error:
        return None, Reason.of(error)
    with closing(then), closing(load(rebuilt.path, trust=True)) as now:
        if then.signature != now.signature:
            words = "the artifact takes other inputs, or gives other outputs"
            return None, Reason(ReasonCode.OTHER_INTERFACE, words)
        return same_answers(then, now, candidate_set.observations(1)), None


def _measured(
    run: Run, candidate_set: CandidateSet, recorded: Recorded, rebuilt: Artifact, *, beside: Artifact | None
) -> RemeasuredReport:
    """The new build measured like a final: beside its original, and beside the artifact where it runs."""
    subjects = [
        candidate_set.subject(candidate_set.original),
        Subject(REBUILT, rebuilt.path, trust=True),
    ]
    if beside is not None:
        subjects.append(Subject(RECORDED, beside.path, trust=True))
    run.tell(recorded.name, "measure", ", ".join(subject.label for subject in subjects))
    settings = run.release(rebuilt.manifest.threads)
    measurement = measure(subjects, candidate_set.observations(1), settings, run.pool)
    return RemeasuredReport(
        same_machine=recorded.recipe.machine.identity == machine().identity,
        then=recorded.figures,
        now=records.figures(measurement, REBUILT),
        speedup_then=recorded.speedup,
        speedup_now=records.ratio(measurement.ratio(ORIGINAL, REBUILT)),
        pace=None if beside is None else records.ratio(measurement.ratio(RECORDED, REBUILT)),
    )
