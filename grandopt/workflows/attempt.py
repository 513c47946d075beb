"""One agent's turn: what goes wrong for it is its record, and the others go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from grandopt.errors import GrandoptError, InputError
from grandopt.reporting.report import AgentReport
from grandopt.workflows import records
from grandopt.workflows.agents import Opened
from grandopt.workflows.run import Run

Work = Callable[[Run, Opened], AgentReport]


def attempts(run: Run, opened: Sequence[Opened], work: Work) -> Iterator[AgentReport]:
    """The record of each agent in turn; a GrandoptError becomes a "failed" one with its reason."""
    for place, agent in enumerate(opened):
        yield _attempt(run.at(place), agent, work)


def _attempt(run: Run, agent: Opened, work: Work) -> AgentReport:
    try:
        return work(run, agent)
    except GrandoptError as error:
        run.tell(agent.name, "failed", str(error), level="error")
        return records.failed(
            agent.name,
            error,
            bad_input=isinstance(error, InputError),
            config=agent.config,
            profile=run.job.profile,
        )
