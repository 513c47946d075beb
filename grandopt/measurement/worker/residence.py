"""Several subjects held and called in one process, and what of its memory is resident."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np

from grandopt.measurement.wire.arrays import load_inputs, save_outputs
from grandopt.measurement.wire.residence import HoldResidence, ResidentMemory
from grandopt.measurement.worker.opening import loaded


def hold(request: HoldResidence) -> ResidentMemory:
    """Load all subjects, call each row by row in turns, and look at the memory while they are held."""
    with ExitStack() as stack:
        executors = []
        for subject in request.subjects:
            executor = loaded(subject, request.threads)
            stack.callback(executor.close)
            executors.append(executor)
        given = [load_inputs(paths) for paths in request.inputs]
        results: list[list[Any]] = [[] for _ in executors]
        rows = max(len(inputs[0]) for inputs in given)
        for turn in range(request.passes):
            for row in range(rows):
                for executor, inputs, kept in zip(executors, given, results, strict=True):
                    if row < len(inputs[0]):
                        answer = executor.run([array[row : row + 1] for array in inputs])
                        if turn == 0:
                            kept.append(answer)
        outputs = tuple(
            save_outputs(
                [np.concatenate(parts) for parts in zip(*kept, strict=True)],
                request.folder,
                f"output-{place}",
            )
            for place, kept in enumerate(results)
        )
        import psutil  # only now: it is no part of what the agents need

        held = psutil.Process().memory_full_info()
    return ResidentMemory(outputs, held.rss, held.pss, held.uss)
