"""Ray's errors as ours: the one point where they are translated."""

from __future__ import annotations

import asyncio

from grandopt.errors import EngineClosed, GrandoptError, Overloaded, ServingError, WorkerLost, named_line

RETRY_S = 0.1


def translated(error: BaseException, agent: str) -> BaseException:
    """What to tell a caller of `agent` whose call through a handle raised `error`.

    WorkerLost where the replica or its node ended, Overloaded where its queue is full, EngineClosed where the
    application is gone; what the replica raised on purpose as it is, ServingError for the rest.
    """
    from ray import exceptions
    from ray.serve import exceptions as serving

    if isinstance(error, exceptions.RayTaskError):
        cause = error.cause
        if isinstance(cause, GrandoptError):
            return cause
        return ServingError(f"{agent}: the replica failed: {named_line(cause)}")
    if isinstance(error, GrandoptError | asyncio.CancelledError):
        return error
    lost = (
        exceptions.RayActorError,
        exceptions.WorkerCrashedError,
        exceptions.NodeDiedError,
        exceptions.ObjectLostError,
        exceptions.OutOfMemoryError,
    )
    if isinstance(error, lost):
        return WorkerLost(f"{agent}: the replica ended before it answered; ask again")
    if isinstance(error, serving.BackPressureError):
        return Overloaded(f"{agent}: too many calls wait for its replicas", RETRY_S)
    if isinstance(error, serving.DeploymentUnavailableError):
        return EngineClosed(f"{agent}: its deployment is not available; deploy it again")
    return ServingError(f"{agent}: Ray gave no answer: {named_line(error)}")
