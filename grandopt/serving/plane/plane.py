"""The data plane: what the protocol asks of a server, as calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter_ns
from typing import NoReturn

from grandopt.config.names import nearest
from grandopt.errors import GrandoptError
from grandopt.runtime.engine.engine import Engine
from grandopt.serving.plane.config import model_config
from grandopt.serving.plane.counts import Counts, Reason
from grandopt.serving.plane.metadata import Json, model_metadata, server_metadata
from grandopt.serving.plane.model import Model
from grandopt.serving.plane.regions import Regions
from grandopt.serving.plane.rows import RowsAnswered, infer_rows
from grandopt.serving.plane.sequences import Sequences
from grandopt.serving.plane.settings import NO_TRACE, change_logging, check_trace, logging_settings
from grandopt.serving.plane.statistics import failures_of, model_statistics
from grandopt.serving.protocol.errors import Code, ProtocolError, refused
from grandopt.serving.protocol.messages import InferRequest, InferResponse
from grandopt.serving.repository.repository import Repository
from grandopt.serving.repository.served import DIGITS, Served
from grandopt.signature import Array

MOST_ROWS = 4096
"""Rows of one request."""
RETRY_S = 1.0
"""When to try again where nothing says it better: a server that starts or stops, a model that is loaded."""


class DataPlane:
    """Everything that the protocol can ask, without a transport.

    All of it belongs to the engine's event loop, gives JSON with the protocol's names, and raises
    ProtocolError. A model is an agent of the repository; a version is its name or the beginning of its
    artifact's digest, empty for whichever is served.
    """

    def __init__(
        self,
        engine: Engine,
        repository: Repository,
        regions: Regions | None = None,
        *,
        most_rows: int = MOST_ROWS,
    ) -> None:
        self.engine, self.repository, self.regions = engine, repository, regions
        self.live = True
        """Whether the process answers at all."""
        self._stopping = False
        self._most_rows = most_rows
        self._models: dict[str, Model] = {}
        self._open: dict[str, Model] = {}
        """Those of them that take requests: none once the server stops, while figures are told to the end."""
        repository.watchers.append(self._served)
        for name in repository.served:
            self._served(name)

    @property
    def ready(self) -> bool:
        """Whether all agents that should be served are; False while the server stops."""
        return not self._stopping and self.repository.ready

    def stop(self) -> None:
        """Say that the server stops: it is not `ready` from now on, and takes no more requests."""
        self._stopping = True
        self._open.clear()

    # ---- what is asked most -------------------------------------------------------------------------------

    def infer(self, request: InferRequest) -> InferResponse | Awaitable[InferResponse]:
        """The response where it is there at once, as a small agent's is, else a future of it.

        A future may be cancelled when its client has gone; it raises ProtocolError alone.
        """
        began = perf_counter_ns()
        model = self._open.get(request.model)
        if model is None:
            self._refuse(request.model)
        batcher = model.batcher
        if (batcher or model.agent.version).executor is not model.executor:
            model = self._taken_over(model)
        if request.version and not model.served.is_called(request.version):
            self._refuse_version(model, request.version)
        return model.infer(request, began)

    def infer_rows(
        self, request: InferRequest, data: Sequence[Array], over: Callable[[], bool]
    ) -> RowsAnswered | None:
        """The answers to the first of some requests that came together, computed here and now until it is
        `over`; None where they are to be asked one by one.

        Each is `request`, which is of one row, with its own numbers: `data` has one array [n, *shape] for
        each input.
        """
        began = perf_counter_ns()
        model = self._open.get(request.model)
        if model is None:
            return None
        if model.agent.answering is not model.executor:
            model = self._taken_over(model)
        if request.version and not model.served.is_called(request.version):
            return None
        return infer_rows(model, request, data, began, over)

    # ---- what is known ------------------------------------------------------------------------------------

    def server_metadata(self) -> Json:
        """Name, version and extensions."""
        return server_metadata(self.regions is not None)

    def models(self) -> list[str]:
        """The names of the models that are served."""
        return sorted(self._models)

    def model_metadata(self, model: str, version: str = "") -> Json:
        """Inputs and outputs."""
        return model_metadata(self._model(model, version))

    def model_ready(self, model: str, version: str = "") -> bool:
        """Whether requests for it are answered; NOT_FOUND for what is not in the repository at all."""
        if model not in self._models and self.repository.reason(model) is not None:
            return False
        self._model(model, version)
        return not self._stopping

    def model_config(self, model: str, version: str = "") -> Json:
        """The configuration, as Triton's."""
        return model_config(self._model(model, version))

    def statistics(self, model: str = "", version: str = "") -> Json:
        """Counts and times of one model, or of all."""
        chosen = [self._model(model, version)] if model else [self._model(name, "") for name in self.models()]
        return {"model_stats": [model_statistics(one) for one in chosen]}

    async def all_statistics(self, model: str = "", version: str = "") -> Json:
        """The same of all processes of the server together."""
        return self.statistics(model, version)

    def failures(self) -> dict[str, dict[Reason, int]]:
        """How many requests failed, by model and by Triton's reason."""
        return {name: failures_of(self._models[name]) for name in self.models()}

    # ---- what changes -------------------------------------------------------------------------------------

    def index(self, ready: bool = False) -> list[Json]:
        """All versions in the repository with their states, or with `ready` those that are served."""
        rows = self.repository.index()
        return [dict(row._asdict()) for row in rows if not ready or row.state == "READY"]

    async def load(self, model: str, parameters: Json) -> None:
        """Serve what is in the repository now."""
        self._check_changes(parameters, {})
        await self.repository.load(model)

    async def unload(self, model: str, parameters: Json) -> None:
        """Serve it no longer; requests under way are answered first."""
        self._check_changes(parameters, {"unload_dependents": False})
        try:
            await self.repository.unload(model)
        except GrandoptError as error:
            raise refused(error) from error

    def logging_settings(self, changes: Json | None = None) -> Json:
        """What is logged, after the changes."""
        if changes:
            change_logging(changes)
        return logging_settings()

    async def set_logging(self, changes: Json) -> Json:
        """The same after changes, in all processes of the server."""
        return self.logging_settings(changes)

    def trace_settings(self, changes: Json | None = None, model: str = "") -> Json:
        """That nothing is traced."""
        if model:
            self._model(model, "")
        if changes:
            check_trace(changes)
        return dict(NO_TRACE)

    # ---- inside -------------------------------------------------------------------------------------------

    def _served(self, name: str) -> None:
        """The repository serves an agent from now on, another version of it, or no longer."""
        if self._stopping:
            return
        served, before = self.repository.served.get(name), self._models.get(name)
        if served is None:
            self._models.pop(name, None)
            self._open.pop(name, None)
        elif before is None or before.agent is not served.agent:
            sequences = Sequences(name, served.agent)
            self._keep(name, Model(served, Counts(), sequences, self.regions, self._most_rows))
        elif before.served != served:
            self._keep(name, self._version(before, served))

    def _keep(self, name: str, model: Model) -> Model:
        self._models[name] = model
        if not self._stopping:
            self._open[name] = model
        return model

    def _taken_over(self, model: Model) -> Model:
        """The model of the version that the agent answers with by now."""
        name, answering = model.served.name, model.agent.answering
        for served in (self.repository.coming.get(name), self.repository.served.get(name)):
            if served is not None and served.loaded.executor is answering:
                break
        else:  # replaced by somebody else, such as a candidate that was promoted
            version = model.agent.version
            if version.executor is not answering:
                return model  # which asks itself what did not answer for certain
            served = model.served._replace(loaded=version, digest=version.origin.digest)
        return self._keep(name, self._version(model, served))

    def _version(self, model: Model, served: Served) -> Model:
        return Model(served, model.counts, model.sequences, self.regions, self._most_rows)

    def _model(self, name: str, version: str) -> Model:
        model = self._models.get(name)
        if model is None:
            self._refuse(name)
        if model.agent.answering is not model.executor:
            model = self._taken_over(model)
        if version and not model.served.is_called(version):
            self._refuse_version(model, version)
        return model

    def _refuse(self, name: str) -> NoReturn:
        if self._stopping:
            raise ProtocolError(Code.UNAVAILABLE, "the server is stopping", RETRY_S)
        reason = self.repository.reason(name)
        if reason is not None:
            raise ProtocolError(Code.UNAVAILABLE, f"model {name!r} is not served: {reason}", RETRY_S)
        hint = nearest(name[:100], self._models) if self._models else " (none is served)"
        raise ProtocolError(Code.NOT_FOUND, f"no model {name!r:.100} is served{hint}")

    def _refuse_version(self, model: Model, version: str) -> NoReturn:
        served = model.served
        raise ProtocolError(
            Code.NOT_FOUND,
            f"model {served.name!r} has no version {version!r:.80}; served is {served.version!r}, which is "
            f"build {served.digest[:DIGITS]}",
        )

    def _check_changes(self, parameters: Json, allowed: Json) -> None:
        if self.repository.mode != "explicit":
            raise ProtocolError(
                Code.FORBIDDEN,
                f"models are not loaded on request: that takes the mode 'explicit', the repository's is "
                f"{self.repository.mode!r}",
            )
        for name, value in parameters.items():
            if name == "config" or name.startswith("file:"):
                raise ProtocolError(
                    Code.UNSUPPORTED,
                    f"parameter {name!r:.60}: an artifact is served as it was proven, and cannot be changed",
                )
            if name not in allowed or value != allowed[name]:
                raise ProtocolError(Code.INVALID, f"parameter {name!r:.60} is not known here")
