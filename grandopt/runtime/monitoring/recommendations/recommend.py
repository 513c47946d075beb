"""All recommendations that the figures of one look support."""

from __future__ import annotations

from collections.abc import Iterator

from grandopt.runtime.monitoring.metrics import AgentMetrics, Counters, Metrics
from grandopt.runtime.monitoring.recommendations import batching, surroundings
from grandopt.runtime.monitoring.recommendations.advice import Advice, Recommendations, Silence

ENOUGH = 1000
"""Requests that the window must have for shares and rates of it to say something."""


def recommend(metrics: Metrics | None) -> Recommendations:
    """What to change by these figures; None is "no look was taken", which says nothing of anything."""
    if metrics is None:
        return Recommendations((), ())
    advice: list[Advice | None] = [surroundings.less_memory(metrics.process)]
    silent: list[Silence] = []
    for agent in metrics.agents.values():
        # These rest on windows of rows of their own, with their own reasons to be silent.
        advice += [surroundings.drifted_inputs(agent), surroundings.closer_decisions(agent)]
        silent += _unseen(agent)
        recent = agent.recent
        if recent is None or recent.asked < ENOUGH:
            asked = 0 if recent is None else recent.asked
            had = f"{asked} requests in the last {agent.window_s:.0f} s"
            silent.append(Silence(agent.agent, f"{had}; {ENOUGH} are needed for advice on serving"))
            continue
        advice += _on_serving(agent, recent, metrics)
        if agent.cost is None:
            silent.append(Silence(agent.agent, "the cost of a batch was not measured: no advice on batches"))
    return Recommendations(tuple(item for item in advice if item is not None), tuple(silent))


def _on_serving(agent: AgentMetrics, recent: Counters, metrics: Metrics) -> Iterator[Advice | None]:
    yield batching.more_workers(agent, recent, metrics.process)
    yield batching.fewer_workers(agent, recent)
    yield batching.overloaded(agent, recent, metrics.process)
    yield surroundings.larger_cache(agent, recent)
    yield surroundings.original_serves(agent, recent)
    cost, settings = agent.cost, agent.settings
    if cost is None:
        return
    yield surroundings.cache_that_costs(agent, recent, cost)
    if settings is not None:
        lower = batching.smaller_batches(agent, recent, cost, settings)
        # Never both: where deadlines are missed behind full batches, time counts for more than throughput.
        yield lower or batching.larger_batches(agent, recent, cost, settings)
        yield batching.longer_deadlines(agent, recent, cost)
        yield batching.longer_queue(agent, recent, cost, settings)
        yield batching.direct_calls(agent, recent, cost)


def _unseen(agent: AgentMetrics) -> Iterator[Silence]:
    if agent.drift is not None and agent.drift.reason is not None:
        yield Silence(agent.agent, f"drift of the inputs: {agent.drift.reason}")
    for output in agent.margins or ():
        if output.reason is not None:
            yield Silence(agent.agent, f"margins of {output.output}: {output.reason}")
