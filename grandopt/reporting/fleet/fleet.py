"""A fleet: what each kind of machine ships of each agent, from the records of all of them.

A kind of machine is an identity (see `measurement.environment`): architecture, processor, its features,
cores, quota and governor. Times are told within a kind alone; of two kinds only their speed-ups, each against
the original on the same machine, stand beside each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from grandopt.reporting.fleet.gains import Gain, gains
from grandopt.reporting.fleet.versions import VersionChange, version_changes
from grandopt.reporting.history.records import AgentRecord, Record

SERVED = "served"
"""The kind of a record that a server told of an artifact, which is of no run."""
UNKNOWN = "unknown processor"


@dataclass(frozen=True)
class Source:
    """Where records were read, and which."""

    place: str
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Unread:
    """What could not be read, and why, in one line."""

    place: str
    reason: str


@dataclass(frozen=True)
class MachineKind:
    """All machines of one identity, which is "" where it was not told; `places` their sources."""

    identity: str
    cpu_model: str
    runs: int
    newest: str
    places: tuple[str, ...]
    versions: tuple[str, ...]

    @property
    def key(self) -> str:
        """What its records share: see `kind_of`."""
        return self.identity or f"?{self.cpu_model}"


@dataclass(frozen=True)
class Shipping:
    """What the newest run of an agent on a kind of machine came to."""

    kind: MachineKind
    record: Record

    @property
    def agent(self) -> AgentRecord:
        """The agent in that run."""
        return self.record.agent


@dataclass(frozen=True)
class FleetAgent:
    """One agent on every kind of machine that ran it, in the order of the kinds' names."""

    name: str
    shippings: tuple[Shipping, ...]
    absent: tuple[MachineKind, ...]


@dataclass(frozen=True)
class Fleet:
    """The whole of it."""

    kinds: tuple[MachineKind, ...]
    agents: tuple[FleetAgent, ...]
    changes: tuple[VersionChange, ...]
    gains: tuple[Gain, ...]
    sources: tuple[str, ...]
    unread: tuple[Unread, ...]


def fleet(sources: Sequence[Source], unread: Sequence[Unread] = ()) -> Fleet:
    """The records of all sources, each run once however often it was told."""
    records = _once(record for source in sources for record in source.records)
    places: dict[str, list[str]] = {}
    for source in sources:
        for identity in dict.fromkeys(kind_of(record) for record in source.records):
            places.setdefault(identity, []).append(source.place)
    kinds = tuple(
        sorted(
            (_kind(identity, records, found) for identity, found in places.items()),
            key=lambda kind: (kind.cpu_model, kind.identity),
        )
    )
    names = sorted({record.agent.agent for record in records})
    return Fleet(
        kinds=kinds,
        agents=tuple(_agent(name, kinds, records) for name in names),
        changes=version_changes(records),
        gains=gains(records),
        sources=tuple(source.place for source in sources),
        unread=tuple(unread),
    )


def kind_of(record: Record) -> str:
    """The key of the kind of machine: machines that told no identity are at least told apart by processor."""
    return record.run.machine or f"?{record.run.cpu_model or UNKNOWN}"


def newest(records: Iterable[Record]) -> Record:
    """The record of the last run that shipped something, else of the last."""
    ordered = sorted(records, key=_rank)
    return ordered[-1]


def _rank(record: Record) -> tuple[bool, bool, str]:
    """What was shipped counts before what was only measured, and what a run told before what a server did."""
    return (record.run.kind in ("optimize", SERVED), record.run.kind != SERVED, record.run.started)


def _once(records: Iterable[Record]) -> tuple[Record, ...]:
    """A report and the history beside it tell the same run."""
    found: dict[tuple[object, ...], Record] = {}
    for record in records:
        run, agent = record.run, record.agent
        key = (
            kind_of(record),
            run.kind,
            run.started,
            run.duration_s,
            agent.agent,
            agent.digest,
            agent.p50_us,
        )
        found.setdefault(key, record)
    return tuple(sorted(found.values(), key=lambda record: record.run.started))


def _kind(identity: str, records: Sequence[Record], places: Sequence[str]) -> MachineKind:
    own = [record for record in records if kind_of(record) == identity]
    runs = {(record.run.kind, record.run.started, record.run.duration_s) for record in own}
    return MachineKind(
        identity="" if identity.startswith("?") else identity,
        cpu_model=own[-1].run.cpu_model or UNKNOWN,
        runs=len(runs),
        newest=max(record.run.started for record in own),
        places=tuple(dict.fromkeys(places)),
        versions=tuple(dict.fromkeys(record.run.grandopt for record in own)),
    )


def _agent(name: str, kinds: Sequence[MachineKind], records: Sequence[Record]) -> FleetAgent:
    own: dict[str, list[Record]] = {}
    for record in records:
        if record.agent.agent == name:
            own.setdefault(kind_of(record), []).append(record)
    return FleetAgent(
        name,
        tuple(Shipping(kind, newest(own[kind.key])) for kind in kinds if kind.key in own),
        tuple(kind for kind in kinds if kind.key not in own),
    )
