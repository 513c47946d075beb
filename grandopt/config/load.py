"""Where a job's settings come from: defaults < profile < file < command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import ValidationError

from grandopt import limits
from grandopt.config import yaml_file
from grandopt.config.agents import REFERENCE_AGENTS, YARDSTICKS
from grandopt.config.cache import CacheConfig
from grandopt.config.engine import Precision
from grandopt.config.engines import EngineName
from grandopt.config.names import DEFAULT_PROFILE, ProfileName, nearest
from grandopt.config.profiles import PROFILES
from grandopt.config.schema import STORE_LIMIT_MB, AgentConfig, FileConfig, FleetConfig, Job, Profile
from grandopt.errors import ConfigError

DEFAULT_FILE = Path("grandopt.yaml")


@dataclass(frozen=True)
class Overrides:
    """What the command line (or a Python caller) asks for; None means that it says nothing.

    `realtime` asks for that contract for all agents. `only` names agents of the job, and with
    `external_engines` also networks that only a benchmark measures.
    """

    profile: str | None = None
    engines: tuple[str, ...] | None = None
    precisions: tuple[str, ...] | None = None
    levels: tuple[str, ...] | None = None
    threads: int | Literal["auto"] | None = None
    budget_s: float | None = None
    trials: int | None = None
    seed: int | None = None
    output: Path | None = None
    strict: bool | None = None
    realtime: bool = False
    resume: bool = True
    storage: str | None = None
    only: tuple[str, ...] = ()
    external_engines: bool = False
    store: str | None = None
    store_keys: Path | None = None
    store_signing_key: Path | None = None


def load_file(path: Path) -> FileConfig:
    """Read a `grandopt.yaml`; relative paths in it are relative to its folder.

    Raises ConfigError naming file, line and field for a file that is missing, is not YAML, or holds an
    unknown field or a wrong value.
    """
    try:
        text = limits.text(path, limits.CONFIG_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(
            f"{limits.shortened(path)}: cannot be read ({reason}); `grandopt init` writes an example"
        ) from error
    root, data = yaml_file.parsed(text, path)
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}:1: expected fields such as 'profile:' and 'agents:', got {data!r:.60}")
    try:
        config = FileConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_first_problem(path, root, error)) from error
    return _anchored(config, path.parent)


def reference_agents(names: Sequence[str] = ()) -> dict[str, AgentConfig]:
    """The built-in default job: the reference agents, each with its own targets."""
    return {
        name: AgentConfig(
            reference=name, target_latency_ms=targets.latency_ms, target_throughput=targets.throughput
        )
        for name, targets in REFERENCE_AGENTS.items()
        if not names or name in names
    }


def agent_names(paths: Sequence[Path]) -> dict[str, Path]:
    """A distinct folder name for each checkpoint file: its stem, numbered where two files share one."""
    names: dict[str, Path] = {}
    for path in paths:
        stem = re.sub(r"[^A-Za-z0-9_.-]", "_", path.stem).lstrip(".-") or "agent"
        name, count = stem, 1
        while name in names:
            count += 1
            name = f"{stem}-{count}"
        names[name] = path
    return names


def resolve(file: FileConfig, agents: dict[str, AgentConfig], overrides: Overrides) -> Job:
    """One job with nothing left to default.

    `agents` replaces those of the file. Raises ConfigError for an unknown profile, engine, precision or
    agent name, suggesting the nearest.
    """
    profile = _profile(file, overrides)
    chosen = agents or file.agents or reference_agents()
    if overrides.only:
        chosen = _only(chosen, overrides)
    if overrides.realtime:
        chosen = {name: agent.model_copy(update={"realtime": True}) for name, agent in chosen.items()}
    threads = overrides.threads or file.threads or 1
    if isinstance(threads, int) and threads < 1:
        raise ConfigError(f"threads must be at least 1 or 'auto', got {threads}")
    seed = overrides.seed if overrides.seed is not None else file.seed or 0
    strict = overrides.strict if overrides.strict is not None else bool(file.strict)
    return Job(
        agents=chosen,
        profile=profile,
        levels=overrides.levels or file.levels or (),
        threads=threads,
        seed=seed,
        output=overrides.output or file.output or Path(),
        strict=strict,
        resume=overrides.resume,
        store_limit_mb=file.store_limit_mb or STORE_LIMIT_MB,
        storage=overrides.storage,
        fleet=_fleet(file, overrides),
    )


def _fleet(file: FileConfig, overrides: Overrides) -> FleetConfig:
    given = {
        "store": overrides.store,
        "require_signature": overrides.store_keys,
        "signing_key": overrides.store_signing_key,
    }
    fleet = file.fleet.model_copy(update={name: value for name, value in given.items() if value is not None})
    if fleet.store is None and fleet != FleetConfig():
        raise ConfigError("keys for a fleet's store are given, but no store: name it with --store")
    return fleet


def _only(agents: dict[str, AgentConfig], overrides: Overrides) -> dict[str, AgentConfig]:
    also = {name: AgentConfig(reference=name) for name in YARDSTICKS if overrides.external_engines}
    known = {**also, **agents}
    for name in overrides.only:
        if name not in known:
            raise ConfigError(f"unknown agent {name!r}{nearest(name, known)}")
    return {name: agent for name, agent in known.items() if name in overrides.only}


def _profile(file: FileConfig, overrides: Overrides) -> Profile:
    name = overrides.profile or file.profile or DEFAULT_PROFILE
    if name not in PROFILES:
        raise ConfigError(f"unknown profile {name!r}{nearest(name, get_args(ProfileName))}")
    engines = _known("engine", overrides.engines, get_args(EngineName)) or file.engines
    precisions = _known("precision", overrides.precisions, get_args(Precision)) or file.precisions
    budget = overrides.budget_s if overrides.budget_s is not None else file.budget_s
    trials = overrides.trials if overrides.trials is not None else file.trials
    if budget is not None and budget <= 0:
        raise ConfigError(f"budget must be more than 0 seconds, got {budget:g}")
    if trials is not None and trials < 0:
        raise ConfigError(f"trials must be 0 or more, got {trials}")
    changes = {"engines": engines, "precisions": precisions, "budget_s": budget, "trials": trials}
    given = {field: value for field, value in changes.items() if value is not None}
    return PROFILES[name].model_copy(update=given)


def _known(what: str, values: tuple[str, ...] | None, known: tuple[str, ...]) -> tuple[str, ...] | None:
    for value in values or ():
        if value not in known:
            raise ConfigError(f"unknown {what} {value!r}{nearest(value, known)}")
    return values or None


def _anchored(config: FileConfig, folder: Path) -> FileConfig:
    agents = {}
    for name, agent in config.agents.items():
        changes: dict[str, Any] = {}
        for field in ("checkpoint", "samples", "vecnormalize", "statistics"):
            value = getattr(agent, field)
            if isinstance(value, Path):
                changes[field] = folder / value
        agents[name] = agent.model_copy(update=changes)
    output = None if config.output is None else folder / config.output
    cache = config.cache
    if cache.folder is not None:
        cache = cache.model_copy(update={"folder": folder / cache.folder})
    fleet, places = config.fleet, {}
    for field in ("require_signature", "signing_key"):
        if getattr(fleet, field) is not None:
            places[field] = folder / getattr(fleet, field)
    if fleet.store is not None and "://" not in fleet.store:
        places["store"] = str(folder / fleet.store)
    changed = {"agents": agents, "output": output, "cache": cache, "fleet": fleet.model_copy(update=places)}
    return config.model_copy(update=changed)


def _first_problem(path: Path, root: yaml.Node | None, error: ValidationError) -> str:
    problem = error.errors()[0]
    place = [part for part in problem["loc"] if isinstance(part, int) or not _is_branch(part)]
    line = _line(root, place)
    field = ".".join(str(part) for part in place) or "file"
    if problem["type"] == "extra_forbidden":
        fields = AgentConfig.model_fields if len(place) == 3 and place[0] == "agents" else None
        if len(place) == 2 and place[0] == "cache":
            fields = CacheConfig.model_fields
        known = fields or (FileConfig.model_fields if len(place) == 1 else {})
        hint = nearest(str(place[-1]), known) if known else ""
        return f"{path}:{line}: {field}: unknown field{hint}"
    value = problem.get("input")
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "literal_error":
        return f"{path}:{line}: {field}: {value!r} is not one of {problem['ctx']['expected']}"
    shown = "" if isinstance(value, dict) or problem["type"] == "missing" else f", got {value!r:.60}"
    return f"{path}:{line}: {field}: {message[0].lower()}{message[1:]}{shown}"


def _is_branch(part: str) -> bool:
    # pydantic adds the tried member of a union ("int", "literal['auto']", "lax-or-strict[…]") to the place.
    return "[" in part or part in {"int", "float", "str", "path"}


def _line(node: yaml.Node | None, place: Sequence[int | str]) -> int:
    """The line (from 1) of the deepest node on the way to `place`."""
    line = 1 if node is None else node.start_mark.line + 1
    for part in place:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if pair is None:
                return line
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line
    return line
