"""Finding, checking and keeping configurations of the serving engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from grandopt.errors import OutputError
from grandopt.reporting.atomic_write import write_text_atomically
from grandopt.tuning.configuration import file
from grandopt.tuning.configuration.comparison import ConfigurationComparison, compared
from grandopt.tuning.configuration.condition import when as when
from grandopt.tuning.configuration.constraints import Constraint as Constraint
from grandopt.tuning.configuration.constraints import constraints_of
from grandopt.tuning.configuration.evaluation import Evaluation, Evaluator
from grandopt.tuning.configuration.figures import ServingFigures as ServingFigures
from grandopt.tuning.configuration.goals import OptimizationGoal as OptimizationGoal
from grandopt.tuning.configuration.goals import goals_of
from grandopt.tuning.configuration.parameter import Parameter
from grandopt.tuning.configuration.parameter import boolean as boolean
from grandopt.tuning.configuration.parameter import categorical as categorical
from grandopt.tuning.configuration.parameter import integer as integer
from grandopt.tuning.configuration.parameter import real as real
from grandopt.tuning.configuration.presets import PRESETS, Preset, preset
from grandopt.tuning.configuration.result import ConfigurationResult, ConfigurationTrial
from grandopt.tuning.configuration.rules import Conflict as Conflict
from grandopt.tuning.configuration.rules import Relation as Relation
from grandopt.tuning.configuration.rules import Rule
from grandopt.tuning.configuration.search_space import SearchSpace
from grandopt.tuning.configuration.serving import SERVING
from grandopt.tuning.configuration.space import Configuration, ConfigurationSpace


class ConfigurationManager:
    """Configurations of the serving engine, or of anything else that has settings.

    ::

        def evaluator(configuration):      # measure the service under these values
            return {"latency_p99_us": …, "throughput": …, "memory_mb": …}

        manager = grandopt.ConfigurationManager()
        found = manager.optimize_configuration(evaluator, grandopt.OptimizationGoal.MAXIMIZE_THROUGHPUT)
        manager.save(found.configuration, "serving.yaml")

    Without `parameters` the definitions are those of the serving engine; `rules` are added to them. With
    `parameters` they are those given, and `rules` between them. Raises ConfigError for definitions that
    cannot be, naming both sides. Thread safety: calls from several threads are independent of each other,
    but for `so_far`.
    """

    def __init__(self, parameters: Iterable[Parameter] | None = None, rules: Iterable[Rule] = ()) -> None:
        if parameters is None:
            self._space = ConfigurationSpace(SERVING.parameters, (*SERVING.rules, *rules))
        else:
            self._space = ConfigurationSpace(tuple(parameters), tuple(rules))
        self.so_far: ConfigurationResult | None = None
        """What the last search that was interrupted had found until then; nothing of it was confirmed."""

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The definitions by name."""
        return {parameter.name: parameter for parameter in self._space.parameters}

    @property
    def default(self) -> Configuration:
        """The default configuration: the values of all parameters that count in it."""
        return self._space.default

    @staticmethod
    def preset(name: str) -> Preset:
        """A starting point for "high-frequency", "batch", "low-memory" or "edge", with its reasons.

        Raises ConfigError for another name.
        """
        return preset(name)

    @staticmethod
    def presets() -> tuple[Preset, ...]:
        """All of them."""
        return PRESETS

    def validate(self, configuration: Mapping[str, Any] | Preset) -> Configuration:
        """The whole configuration that is meant: what is left out has its default.

        Raises ConfigError for an unknown name, a value out of its range, a value for a parameter that does
        not count, and values that do not go together; the message names both sides and the way out.
        """
        values = configuration.values if isinstance(configuration, Preset) else configuration
        return self._space.complete(values)

    def load(self, path: Path | str) -> Configuration:
        """The configuration in a YAML file; raises ConfigError naming the file and what is wrong in it."""
        return file.read(Path(path), self._space)

    def save(
        self, configuration: Mapping[str, Any] | Preset, path: Path | str, *, overwrite: bool = False
    ) -> None:
        """Write a configuration as a commented YAML file, whole or not at all.

        Raises ConfigError for one that is not valid, and OutputError for a place that cannot be written, or
        where a file is already and `overwrite` does not say that it may go.
        """
        text = file.text_of(self.validate(configuration), self._space)
        target = Path(path)
        if not overwrite and target.exists():
            raise OutputError(f"{target} is there already; give overwrite=True to replace it")
        write_text_atomically(target, text)

    def optimize_configuration(
        self,
        evaluator: Evaluator,
        goal: OptimizationGoal | str | Iterable[OptimizationGoal | str],
        *,
        parameters: Iterable[str] | None = None,
        constraints: Iterable[Constraint | str] = (),
        trials: int = 40,
        budget_s: float | None = None,
        repeats: int = 6,
        finalists: int = 2,
        storage: str | None = None,
        name: str = "configuration",
        resume: bool = True,
        start: Mapping[str, Any] | Preset | None = None,
        seed: int = 0,
        on_trial: Callable[[ConfigurationTrial], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> ConfigurationResult:
        """Search for the configuration that reaches the goal best and keeps to all constraints.

        `evaluator` measures one configuration, a dict with the values of all parameters that count, and
        returns ServingFigures or a mapping with such names; it may be asynchronous. One that raises an error
        of grandopt (or Infeasible) has refused the configuration: that is noted with its reason, and the
        search goes on. Any other exception passes through; what was found until then is in `so_far`, and in
        the storage.

        The default configuration is evaluated first, then `start` (values, or a preset), then what Optuna's
        TPE proposes: always valid, never twice. `parameters` names those that vary (without it, those
        that the evaluator lists in an attribute of that name, else all); the others keep the value that they
        have in `start`, or by default. Constraints are data, such as "latency_p99_us <= 1000". The
        search ends after `trials` configurations, when `budget_s` seconds are used up, or when none is left.

        A single measurement proves nothing: the best `finalists` are measured again in turn with the default,
        `repeats` times each, and one wins only where the interval of its ratio (95 % over all finalists) is
        above 1. Otherwise the default is the answer, and the result says so. With several goals the result
        has the Pareto set instead of a best one.

        With `storage`, a database URL such as "sqlite:///tuning.db", the study `name` is kept and continued;
        the name must stand for all that the figures depend on (agent, machine, load).

        Raises ConfigError for bad arguments, StorageError for a storage that cannot be used, and TuningError
        for a study that was made for another search, and figures that the goal or a constraint lacks.
        """
        # Optuna takes half a second to import, and nothing else here needs it.
        from grandopt.tuning.configuration.optimization import SearchSettings, search

        if parameters is None:
            parameters = getattr(evaluator, "parameters", None)
        space = SearchSpace.of(self._space, parameters, start.values if isinstance(start, Preset) else start)
        settings = SearchSettings(trials, budget_s, repeats, finalists, seed)
        with Evaluation(evaluator) as evaluation:
            return search(
                space,
                evaluation.figures,
                goals=goals_of(goal),
                constraints=constraints_of(constraints),
                settings=settings,
                storage=storage,
                name=name,
                resume=resume,
                clock=clock,
                on_trial=on_trial,
                on_stop=self._keep,
            )

    def compare(
        self,
        *configurations: Mapping[str, Any] | Preset,
        evaluator: Evaluator,
        repeats: int = 8,
        seed: int = 0,
    ) -> ConfigurationComparison:
        """Measure two or more configurations in turn, `repeats` times each, and hold each against the first.

        Each figure that all measurements have gets a ratio (above 1: better than the first) with its 95 %
        bootstrap interval, and the verdict better, worse or no difference shown. Raises ConfigError for a
        configuration that is not valid or is refused by the evaluator, and what the evaluator raises.
        """
        complete = [self.validate(configuration) for configuration in configurations]
        with Evaluation(evaluator) as evaluation:
            return compared(complete, evaluation.figures, repeats, seed)

    def _keep(self, result: ConfigurationResult) -> None:
        self.so_far = result
