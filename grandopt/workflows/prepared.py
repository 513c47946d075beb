"""The first two steps of every job: an agent is captured, and its original answers what will be asked."""

from __future__ import annotations

from grandopt.workflows.agents import Opened
from grandopt.workflows.capture import captured
from grandopt.workflows.contest import Contest
from grandopt.workflows.run import Run
from grandopt.workflows.stages import Stages


def prepared(run: Run, opened: Opened, stages: Stages) -> Contest:
    """The agent's contest, with no candidate entered yet; the steps are "capture" and "reference".

    Raises SignatureError when the declared inputs do not fit, and any other GrandoptError when the original
    itself cannot be run.
    """
    name = opened.name
    with stages.step("capture"):
        run.tell(name, "capture", f"{opened.checkpoint.source.format} checkpoint")
        program = captured(opened.checkpoint, run.store, run.job.seed, resume=run.job.resume)
        for item in program.refusals:
            run.tell(name, "capture", f"{item.stage}: {item.reason}", level="warning")
    with stages.step("reference"):
        run.tell(name, "reference", "the original in float64")
        return Contest(run, opened, program)
