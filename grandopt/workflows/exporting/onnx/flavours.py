"""The forms that hosts expect: names and layouts of Isaac Lab and RSL-RL, Unity ML-Agents, Godot RL Agents.

Sources: the exporters of these projects (rsl_rl's models, ml-agents' model_serialization and networks,
godot_rl's stable_baselines_export).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from grandopt.compiler.program import Program
from grandopt.errors import ConfigError
from grandopt.signature import TensorSpec
from grandopt.workflows.exporting.onnx.form import Form, Packed, Port
from grandopt.workflows.exporting.onnx.narrowed import narrowed

Flavour = Literal["generic", "isaaclab", "mlagents", "godot"]

MLAGENTS_VERSION = 3.0
"""`version_number` of the models that ML-Agents exports since its release 2.0."""

MLAGENTS_OPSET = 15
"""Unity's documentation promises the opsets 7 to 15; newer ones may be imported."""


def formed(program: Program, flavour: Flavour, outputs: tuple[str, ...] = ()) -> tuple[Program, Form]:
    """The program with what the host takes and gives alone, and its form.

    `outputs` names the outputs that are kept, beside the recurrent state; all of them by default, or of a
    host that takes one action, the action. Raises ConfigError for an agent that the host has no place
    for, and for a name that is none.
    """
    _known(program, outputs)
    match flavour:
        case "generic":
            kept = outputs or tuple(spec.name for spec in program.signature.outputs)
            chosen = narrowed(program, kept, starts=True)
            ports = tuple(Port(spec.name, spec) for spec in chosen.signature.inputs)
            return chosen, Form(ports, tuple(Port(spec.name, spec) for spec in chosen.signature.outputs))
        case "isaaclab":
            return _isaaclab(program, outputs)
        case "mlagents":
            return _mlagents(program, outputs)
        case "godot":
            return _godot(program, outputs)


def _isaaclab(program: Program, outputs: tuple[str, ...]) -> tuple[Program, Form]:
    """`obs[, h_in[, c_in]]` → `actions[, h_out[, c_out]]`, of one row, states with their layers first.

    The batch is 1 for good, as in the files of RSL-RL's exporter: hosts size their buffers by it.
    """
    observation = _one_observation(program, "isaaclab", "obs")
    action = _action(program, "isaaclab", outputs)
    _require_numbers(program, "isaaclab", action)
    _require_zero_state(program, "isaaclab")
    states = program.contract.state
    if len(states) > 2:
        raise _no_place(program, "isaaclab", f"a state of {len(states)} tensors; the host keeps one or two")
    chosen = narrowed(program, (action,))
    inputs = {observation: Port("obs", _spec(chosen, observation))}
    given = {action: Port("actions", _spec(chosen, action))}
    for letter, state in zip("hc", states, strict=False):
        taken, next_one = _spec(chosen, state.input), _spec(chosen, state.output)
        if len(taken.shape) not in (1, 2):
            raise _no_place(
                program,
                "isaaclab",
                f"the state {state.input!r} {list(taken.shape)}, which is no [layers, units]",
            )
        inputs[state.input] = Port(f"{letter}_in", taken, "layers")
        given[state.output] = Port(f"{letter}_out", next_one, "layers")
    return chosen, replace(_in_order(chosen, inputs, given), batch=1)


def _mlagents(program: Program, outputs: tuple[str, ...]) -> tuple[Program, Form]:
    """`obs_0…[, recurrent_in]` → the deterministic action under both its names, and what the host checks."""
    action = _action(program, "mlagents", outputs)
    _require_numbers(program, "mlagents", action)
    _require_zero_state(program, "mlagents")
    chosen = narrowed(program, (action,))
    states = chosen.contract.state
    packed = None
    if states:
        packed = Packed(
            "recurrent_in",
            "recurrent_out",
            tuple(_spec(chosen, state.input) for state in states),
            tuple(_spec(chosen, state.output) for state in states),
        )
    observed, spec = chosen.signature.observed(chosen.contract), _spec(chosen, action)
    constants = (
        ("version_number", (MLAGENTS_VERSION,)),
        ("memory_size", (float(packed.width if packed else 0),)),
        ("continuous_action_output_shape", (float(spec.elements),)),
    )
    return chosen, Form(
        tuple(Port(f"obs_{place}", item) for place, item in enumerate(observed)),
        (Port("deterministic_continuous_actions", spec),),
        packed,
        constants,
        (("continuous_actions", "deterministic_continuous_actions"),),
        opset=MLAGENTS_OPSET,
    )


def _godot(program: Program, outputs: tuple[str, ...]) -> tuple[Program, Form]:
    """`obs, state_ins` → `output, state_outs`; hosts keep no state, and take scores for a discrete action."""
    observation = _one_observation(program, "godot", "obs")
    if program.contract.state:
        raise _no_place(program, "godot", "recurrent state; the host keeps none")
    action = _action(program, "godot", outputs)
    _require_numbers(program, "godot", action)
    chosen = narrowed(program, (action,))
    return chosen, Form(
        (Port("obs", _spec(chosen, observation)),),
        (Port("output", _spec(chosen, action)),),
        passed=("state_ins", "state_outs"),
    )


def _known(program: Program, outputs: tuple[str, ...]) -> None:
    names = [spec.name for spec in program.signature.outputs]
    for name in outputs:
        if name not in names:
            raise ConfigError(f"{program.name}: has no output {name!r}; it has {', '.join(names)}")


def _one_observation(program: Program, flavour: Flavour, name: str) -> str:
    observed = [spec.name for spec in program.signature.observed(program.contract)]
    if len(observed) != 1:
        words = f"{len(observed)} observations ({', '.join(observed)}); the host gives one, {name!r}"
        raise _no_place(program, flavour, words)
    return observed[0]


def _action(program: Program, flavour: Flavour, outputs: tuple[str, ...]) -> str:
    """The output that is the action: the one that was named, or is marked as such, or is the only one."""
    states = {state.output for state in program.contract.state}
    specs = [spec for spec in program.signature.outputs if spec.name not in states]
    if outputs:
        specs = [spec for spec in specs if spec.name in outputs]
    marked = [spec for spec in specs if spec.role == "action"]
    found = marked if len(marked) == 1 else specs
    if len(found) != 1:
        names = ", ".join(spec.name for spec in specs) or "none beside the state"
        raise ConfigError(
            f"{program.name}: of its outputs none is marked as the action ({names}), and --flavour {flavour} "
            f"has one; say which: --outputs NAME"
        )
    return found[0].name


def _require_numbers(program: Program, flavour: Flavour, action: str) -> None:
    """Hosts give float32 and take float32."""
    if program.contract.action in ("argmax", "binary"):
        words = f"a decision ({program.contract.action}) for its action, where the host takes numbers"
        raise _no_place(program, flavour, words)
    for spec in (*program.signature.observed(program.contract), _spec(program, action)):
        if spec.dtype != "float32":
            raise _no_place(program, flavour, f"{spec.name!r} of {spec.dtype}, where the host has float32")


def _require_zero_state(program: Program, flavour: Flavour) -> None:
    for state in program.contract.state:
        if state.initial != 0.0 and any(state.initial if isinstance(state.initial, tuple) else (1.0,)):
            raise _no_place(
                program, flavour, f"a state {state.input!r} that does not begin at 0, as the host lets it"
            )


def _in_order(program: Program, inputs: dict[str, Port], outputs: dict[str, Port]) -> Form:
    return Form(
        tuple(inputs[spec.name] for spec in program.signature.inputs),
        tuple(outputs[spec.name] for spec in program.signature.outputs),
    )


def _spec(program: Program, name: str) -> TensorSpec:
    specs = (*program.signature.inputs, *program.signature.outputs)
    return next(spec for spec in specs if spec.name == name)


def _no_place(program: Program, flavour: Flavour, words: str) -> ConfigError:
    return ConfigError(
        f"{program.name}: has {words}; --flavour {flavour} cannot be written, --flavour generic can"
    )
