"""The TypeScript types of an agent's loader, with what its numbers mean."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from grandopt.signature import Bound, Contract, Signature, TensorSpec

ARRAYS = {
    "float32": "Float32Array",
    "float64": "Float64Array",
    "int64": "BigInt64Array",
    "int32": "Int32Array",
    "int16": "Int16Array",
    "int8": "Int8Array",
    "uint8": "Uint8Array",
    "bool": "Uint8Array",
}
"""The arrays of JavaScript in which a tensor's numbers lie, row-major."""

DECLARATIONS = """\
// {name}: an agent compiled by grandopt. Arrays are row-major, one observation after another.

export interface Inputs {{
{inputs}
}}

export interface Outputs {{
{outputs}
}}

export interface Contract {{
    readonly name: string;
    readonly inputs: readonly Tensor[];
    readonly outputs: readonly Tensor[];
    /** What a call gives as `output`, the next one takes as `input`. */
    readonly state: readonly StateTensor[];
    /** The input that is 1 where an episode begins. */
    readonly episode_start: string | null;
    readonly action: "none" | "argmax" | "binary" | "continuous";
    readonly low: readonly number[] | null;
    readonly high: readonly number[] | null;
}}

export interface Tensor {{
    readonly name: string;
    readonly dtype: string;
    /** Of one observation. */
    readonly shape: readonly number[];
}}

export interface StateTensor {{
    readonly input: string;
    readonly output: string;
    /** Before the first call: one number for all elements, or one for each. */
    readonly initial: number | readonly number[];
}}

export interface Agent {{
    readonly contract: Contract;
    /** The outputs of one observation, or of `batch` of them one after another, in new arrays. */
    run(inputs: Inputs, batch?: number): Outputs;
    /** As `run`, into arrays of yours; outputs that have none are left out. */
    runInto(inputs: Inputs, outputs: Partial<Outputs>, batch?: number): void;
{session}}}
{observation}
/** Whether this engine has vectors (SIMD128). */
export function hasSimd(): boolean;

/** Elements of one observation of a tensor. */
export function sizeOf(tensor: Tensor): number;

/** An array for a tensor, of numbers or of their texts. */
export function arrayOf(tensor: Tensor, numbers: Iterable<number | string>): Inputs[keyof Inputs];

/** The inputs that are neither recurrent state nor the start of an episode. */
export function observed(contract: Contract): Tensor[];

/** The agent: of the bytes of a module, or of the address of `agent.wasm`, beside which lies
 * `agent.scalar.wasm` for engines without vectors; by default the one beside the loader. */
export function load(
    source?: string | URL | ArrayBuffer | ArrayBufferView, options?: {{scalar?: boolean}}): Promise<Agent>;
"""

SESSION = """\
    /** A stream of calls that keeps the recurrent state, or `batch` of them side by side. */
    session(batch?: number): Session;
"""

OBSERVATION = """
/** The inputs without the state, which a session keeps. */
export type Observation = Omit<Inputs, {kept}>;

export interface Session {{
    /** The outputs of the next step, without the state. */
    step(observation: Observation): Omit<Outputs, {moved}>;
    /** An episode begins: the state is what it is before the first step. */
    reset(): void;
}}
"""


def declarations(name: str, signature: Signature, contract: Contract) -> str:
    """The text of `agent.d.ts`."""
    state = bool(contract.state)
    kept = [tensor.input for tensor in contract.state]
    if contract.episode_start is not None:
        kept.append(contract.episode_start)
    moved = [tensor.output for tensor in contract.state]
    return DECLARATIONS.format(
        name=" ".join(name.split()),
        inputs=_members(signature.inputs, contract),
        outputs=_members(signature.outputs, contract),
        session=SESSION if state else "",
        observation=OBSERVATION.format(kept=_union(kept), moved=_union(moved)) if state else "",
    )


def _members(specs: Sequence[TensorSpec], contract: Contract) -> str:
    lines = []
    for spec in specs:
        lines.append(f"    /** {'; '.join(_facts(spec, contract)).replace('*/', '* /')} */")
        lines.append(f"    {json.dumps(spec.name)}: {ARRAYS[spec.dtype]};")
    return "\n".join(lines)


def _facts(spec: TensorSpec, contract: Contract) -> Iterable[str]:
    yield f"{spec.dtype} {list(spec.shape)}"
    for word, bound in (("from", spec.low), ("to", spec.high)):
        if bound is not None:
            yield f"{word} {_bound(bound)}"
    for tensor in contract.state:
        if spec.name == tensor.input:
            yield f"recurrent state, the last call's {json.dumps(tensor.output)}"
        if spec.name == tensor.output:
            yield f"recurrent state, the next call's {json.dumps(tensor.input)}"
    if spec.name == contract.episode_start:
        yield "1 where an episode begins, else 0"
    if spec.role == "scores":
        yield "scores: the largest decides"
    if spec.role == "action":
        yield "the action"
        if contract.action == "continuous" and contract.low is not None and contract.high is not None:
            yield f"within {_bound(contract.low)} to {_bound(contract.high)}"


def _bound(bound: Bound) -> str:
    if isinstance(bound, tuple):
        return f"[{', '.join(f'{value:g}' for value in bound)}]"
    return f"{bound:g}"


def _union(names: Sequence[str]) -> str:
    return " | ".join(map(json.dumps, names))
