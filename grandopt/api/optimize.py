"""The Python side of `optimize`: a module in memory becomes a proven artifact."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from grandopt.api.lazily import Once
from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.module.memory import declared, from_module
from grandopt.config.load import Overrides, agent_names, resolve
from grandopt.config.names import check_agent_name
from grandopt.config.schema import FileConfig
from grandopt.errors import ConfigError, GrandoptError, InputError
from grandopt.reporting.report import AgentReport, Report
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.loader import load
from grandopt.signature import Array, Signature
from grandopt.workflows.events import Listener, silent
from grandopt.workflows.open_agents import OpenedAgent, opened_with
from grandopt.workflows.optimize import optimize_opened


@dataclass(frozen=True)
class Optimized:
    """What `optimize` did to a module: its record, the whole report, and where the artifact lies.

    It is called like the policy that it is: `result(observation)`. The artifact is loaded at the first call,
    once for all threads; `load` gives another one.
    """

    agent: AgentReport
    report: Report
    path: Path
    _policy: Once[Executor] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_policy", Once(self.load))

    @property
    def policy(self) -> Executor:
        """The shipped artifact, loaded when it is first asked for."""
        return self._policy.value

    @property
    def signature(self) -> Signature:
        """What a call takes and gives."""
        return self.policy.signature

    def __call__(self, *observation: Any) -> Any:
        """The action, or the outputs as a tuple, as `grandopt.load(result.path)` gives them."""
        return self.policy(*observation)

    def run_into(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """Like a call, into the caller's arrays (see `Executor.run_into`)."""
        self.policy.run_into(inputs, outputs)

    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> Callable[[], None]:
        """A call without arguments on the same arrays (see `Executor.bind`)."""
        return self.policy.bind(inputs, outputs)

    def load(self) -> Executor:
        """The shipped artifact, ready to be called; it was made by this process, so it is trusted."""
        return load(self.path, trust=True)


def optimize(
    model: torch.nn.Module | Path | str,
    example_input: Any = None,
    *,
    name: str | None = None,
    state: Mapping[str, Any] | None = None,
    outputs: Sequence[str] = (),
    stepwise: bool = False,
    fix: Mapping[str, Any] | None = None,
    profile: str | None = None,
    output: Path | str = ".",
    samples: Path | str | None = None,
    engines: Sequence[str] | None = None,
    precisions: Sequence[str] | None = None,
    levels: Sequence[str] | None = None,
    realtime: bool = False,
    threads: int | Literal["auto"] = 1,
    budget_s: float | None = None,
    trials: int | None = None,
    seed: int = 0,
    resume: bool = True,
    listener: Listener = silent,
) -> Optimized:
    """Optimize a module, or the agent in a file; write `artifacts/<name>`, report and log below `output`.

    `example_input` is one batch (an array or tensor [B, *shape], a tuple of them for several inputs, or a
    mapping by input name); its values are not used, only names, shapes and dtypes. `samples` names a .npz
    file of recorded observations. `levels` are the CPU feature levels that native code is built for. With
    `realtime` only builds under the real-time contract are candidates. The
    module itself is not changed. A file, such as `policy.onnx`, says itself what it takes: it goes without
    `example_input`, and is known by its own name unless `name` is given.
    `state` declares a recurrent state: `{"h": "h_next"}` says that the output `h_next` is the next call's
    input `h`; `StateConfig` lists what else can be said. `outputs` names the outputs in order (without it the
    state is given last). `stepwise` makes a network over sequences [B, T, …] take one step at a time. `fix`
    gives arguments of a ScriptModule that are no tensors their value.

    Raises an InputError for arguments that do not fit, and GrandoptError with the reason when the agent
    could not be done; an agent for which nothing was faster is not an error (`agent.status` is "original
    kept").
    """
    name = _named(name, model)
    path = Path(f"<memory:{name}>") if isinstance(model, torch.nn.Module) else Path(model)
    agent_config = declared(path, state=state, outputs=outputs, stepwise=stepwise, fix=fix)
    if isinstance(model, torch.nn.Module):
        checkpoint = from_module(
            name, model, example_input, state=state, outputs=outputs, stepwise=stepwise, fix=fix
        )
    elif example_input is None:
        checkpoint = detect.load(name, agent_config)
    else:
        raise ConfigError(f"{path}: the file says what its agent takes; leave 'example_input' out")
    job = resolve(
        FileConfig(),
        {name: agent_config},
        Overrides(
            profile=profile,
            engines=tuple(engines) if engines else None,
            precisions=tuple(precisions) if precisions else None,
            levels=tuple(levels) if levels else None,
            realtime=realtime,
            threads=threads,
            budget_s=budget_s,
            trials=trials,
            seed=seed,
            output=Path(output),
            resume=resume,
        ),
    )
    bare = OpenedAgent(name, job.agents[name], checkpoint)
    opened = opened_with(bare, None if samples is None else Path(samples))
    report = optimize_opened(job, [opened], command=("grandopt.optimize", name), listener=listener)
    agent = report.agents[0]
    if agent.shipped is None or agent.shipped.artifact is None:
        kind = InputError if agent.error_kind == "input" else GrandoptError
        raise kind(f"{name}: {agent.reason}", remedy=agent.remedy)
    return Optimized(agent, report, job.output / agent.shipped.artifact)


def _named(name: str | None, model: torch.nn.Module | Path | str) -> str:
    """The agent's name; raises ConfigError for one that is no folder's."""
    if name is None:
        return "agent" if isinstance(model, torch.nn.Module) else next(iter(agent_names([Path(model)])))
    try:
        return check_agent_name(name)
    except ValueError as error:
        raise ConfigError(str(error)) from error
