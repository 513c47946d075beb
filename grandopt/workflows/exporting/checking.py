"""Whether what was exported is still the agent: it is asked what `optimize` asks a float32 candidate."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from grandopt.compiler.backends.float64 import reference
from grandopt.compiler.program import Program, evaluate
from grandopt.config.schema import Limits
from grandopt.errors import VerificationError
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.executors.tensor import TensorExecutor
from grandopt.signature import Array
from grandopt.verification.drift import with_episodes
from grandopt.verification.episodes import episodes, with_states
from grandopt.verification.inputs import cases
from grandopt.verification.oracle import Oracle
from grandopt.verification.result import Verification
from grandopt.verification.verify import verify

UNUSED = Limits(relative_l2=1.0, agreement=1.0)
"""Limits of reduced precision; what is asked for here is float32."""


def original(program: Program) -> Executor:
    """The program itself, run by torch in the precision that it has."""
    single = len(program.signature.outputs) == 1

    def forward(*inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        outputs = evaluate(program.module, inputs)
        owned = tuple(output.clone(memory_format=torch.contiguous_format) for output in outputs)
        return owned[0] if single else owned

    return TensorExecutor(program.signature, program.contract, forward)


def questions(
    program: Program, recorded: Sequence[Array] | None = None, *, seed: int = 0, special: bool = True
) -> Oracle:
    """What an export of the program is asked, with the answers of its float64 reference.

    `recorded` holds one array [N, *shape] per observed input; without it, inputs are drawn within the bounds
    that the artifact states. An agent with state is also stepped through episodes. Without `special`, no
    NaN and no infinity is asked about. Raises VerificationError as `Oracle.prepare` does.
    """
    signature, contract = program.signature, program.contract
    yardstick, exact = original(program), reference(program)
    samples = None if recorded is None else with_states(yardstick, recorded)
    asked = cases(signature, samples=samples, seed=seed)
    oracle = Oracle.prepare(
        exact,
        yardstick,
        [case for case in asked if special or case.kind != "special"],
        contract,
        seed,
        declared=contract.action != "none" or any(spec.role != "value" for spec in signature.outputs),
    )
    steps = episodes(signature, contract, samples=recorded, seed=seed)
    return with_episodes(oracle, exact, yardstick, steps, seed)


def checked(exported: Executor, oracle: Oracle, what: str) -> Verification:
    """The verdict on an export by the float32 rule of verification.

    Raises VerificationError, which begins with `what`, where it is not the same agent.
    """
    found = verify(exported, oracle, precision="float32", limits=UNUSED)
    if not found.passed:
        raise VerificationError(f"{what} is not the same agent: {found.reason}")
    return found


def figures(found: Verification) -> str:
    """What a passed verification asked, and the largest error that it found."""
    asked = f"{found.cases} calls" + (f" and {found.steps} steps" if found.steps else "")
    errors = [check for check in found.outputs if check.norm == "max_abs"]
    if not errors:
        return f"{asked}, every decision the same where float32 and float64 agree on it"
    worst = max(errors, key=lambda check: check.error / check.limit if check.limit else 0.0)
    return f"{asked}, largest error {worst.error:.2g} where {worst.limit:.2g} is allowed ({worst.name})"
