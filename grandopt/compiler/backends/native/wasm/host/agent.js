/* Loads an agent that grandopt compiled to WebAssembly: in a page, in a worker, in Node 18 or newer.
 * Nothing is downloaded but the module itself. Types: agent.d.ts. */

const ARRAYS = {
    float32: Float32Array, float64: Float64Array, int64: BigInt64Array, int32: Int32Array,
    int16: Int16Array, int8: Int8Array, uint8: Uint8Array, bool: Uint8Array,
};
const ALIGNMENT = 64;
const FAULTS = {1: "the batch is too large", 3: "an index is outside its table"};

/* What the modules import of it. The remainder is exact, as C's fmod. */
const math = {fmod: (x, y) => x % y};
for (const name of Object.getOwnPropertyNames(Math)) math[name] = Math[name];

/** Elements of one observation of a tensor of the contract. */
export const sizeOf = ({shape}) => shape.reduce((product, length) => product * length, 1);

/** An array for a tensor of the contract, of numbers or of their texts. */
export const arrayOf = ({dtype}, numbers) => ARRAYS[dtype].from(numbers, dtype === "int64" ? BigInt : Number);

/** The inputs that are neither recurrent state nor the start of an episode. */
export function observed({inputs, state, episode_start: start}) {
    const kept = new Set([...state.map(({input}) => input), start]);
    return inputs.filter(({name}) => !kept.has(name));
}

/* A module of one function that fills a vector. */
const VECTORS = Uint8Array.of(
    0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11);

/** Whether this engine has vectors (SIMD128). */
export const hasSimd = () => WebAssembly.validate(VECTORS);

/** The agent: of the bytes of a module, or of the address of `agent.wasm`, beside which `agent.scalar.wasm` lies
 * for engines without vectors; by default the one beside this file. */
export async function load(source = new URL("./agent.wasm", import.meta.url), {scalar = !hasSimd()} = {}) {
    const bytes = isBytes(source) ? source : await read(chosen(source, scalar));
    const module = await WebAssembly.compile(bytes);
    const [section] = WebAssembly.Module.customSections(module, "grandopt");
    if (section === undefined) throw new TypeError("not an agent of grandopt: the module has no section 'grandopt'");
    const contract = JSON.parse(new TextDecoder().decode(section));
    return new Agent(await WebAssembly.instantiate(module, {math}), contract);
}

const isBytes = (source) => source instanceof ArrayBuffer || ArrayBuffer.isView(source);

function chosen(source, scalar) {
    const base = globalThis.document?.baseURI ?? globalThis.location?.href ?? import.meta.url;
    const address = new URL(source, base);
    if (scalar) address.pathname = address.pathname.replace(/(\.scalar)?\.wasm$/, ".scalar.wasm");
    return address;
}

async function read(address) {
    if (address.protocol === "file:" && globalThis.process?.versions?.node) {
        const {readFile} = await import("node:fs/promises");
        return readFile(address);
    }
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(`${address}: ${answer.status} ${answer.statusText}`);
    return answer.arrayBuffer();
}

class Agent {
    #exports;
    #capacity = 0;
    #views = [];
    #inputs;
    #outputs;

    constructor(instance, contract) {
        this.#exports = instance.exports;
        this.contract = contract;
        const tensors = [...contract.inputs, ...contract.outputs].map((tensor) => ({
            ...tensor, size: sizeOf(tensor), view: null,
        }));
        this.#views = tensors;
        this.#inputs = tensors.slice(0, contract.inputs.length);
        this.#outputs = tensors.slice(contract.inputs.length);
        this.#reserve(1);
    }

    /** The outputs of one observation, or of `batch` of them one after another, in arrays of the caller's own. */
    run(inputs, batch = 1) {
        this.#compute(inputs, batch);
        const outputs = {};
        for (const {name, size, view} of this.#outputs) outputs[name] = view.slice(0, size * batch);
        return outputs;
    }

    /** As `run`, into arrays that the caller has; outputs that have none are left out. */
    runInto(inputs, outputs, batch = 1) {
        for (const {name, dtype, size} of this.#outputs)
            if (name in outputs) checked(name, outputs[name], dtype, size * batch);
        this.#compute(inputs, batch);
        for (const {name, size, view} of this.#outputs)
            if (name in outputs) outputs[name].set(size * batch === view.length ? view : view.subarray(0, size * batch));
    }

    /** A stream of calls that keeps the agent's recurrent state, or `batch` of them side by side. */
    session(batch = 1) {
        if (this.contract.state.length === 0) throw new TypeError(`${this.contract.name} keeps no state: call run`);
        return new Session(this, batch);
    }

    #compute(inputs, batch) {
        if (!(Number.isInteger(batch) && batch >= 1)) throw new RangeError(`a batch is 1 or more, not ${batch}`);
        if (batch > this.#capacity) this.#reserve(batch);
        for (const {name, dtype, size, view} of this.#inputs) {
            const given = inputs[name];
            checked(name, given, dtype, size * batch);
            view.set(given);
        }
        const fault = this.#exports.run(batch);
        if (fault !== 0) throw new RangeError(`${this.contract.name}: ${FAULTS[fault] ?? `fault ${fault}`}`);
    }

    /* Room for a batch behind what the module uses itself. */
    #reserve(batch) {
        const {memory, __heap_base: base, places} = this.#exports;
        let end = base.value;
        const starts = this.#views.map(({dtype, size}) => {
            const start = Math.ceil(end / ALIGNMENT) * ALIGNMENT;
            end = start + size * batch * ARRAYS[dtype].BYTES_PER_ELEMENT;
            return start;
        });
        const missing = end - memory.buffer.byteLength;
        if (missing > 0) memory.grow(Math.ceil(missing / 65536));
        const table = new Uint32Array(memory.buffer, places(), starts.length);
        for (const [place, tensor] of this.#views.entries()) {
            tensor.view = new ARRAYS[tensor.dtype](memory.buffer, starts[place], tensor.size * batch);
            table[place] = starts[place];
        }
        this.#capacity = batch;
    }
}

class Session {
    #agent;
    #batch;
    #held = {};
    #begins = true;

    constructor(agent, batch) {
        this.#agent = agent;
        this.#batch = batch;
        this.reset();
    }

    /** An episode begins: the state is what it is before the first call. */
    reset() {
        const {inputs, state} = this.#agent.contract;
        for (const {input, initial} of state) {
            const tensor = inputs.find(({name}) => name === input);
            const row = typeof initial === "number" ? Array(sizeOf(tensor)).fill(initial) : initial;
            this.#held[input] = arrayOf(tensor, Array(this.#batch).fill(row).flat());
        }
        this.#begins = true;
    }

    /** The outputs of the next step, without the state. */
    step(observation) {
        const {state, inputs, episode_start: start} = this.#agent.contract;
        const given = {...observation, ...this.#held};
        if (start !== null) {
            const tensor = inputs.find(({name}) => name === start);
            given[start] = arrayOf(tensor, Array(sizeOf(tensor) * this.#batch).fill(this.#begins));
        }
        const outputs = this.#agent.run(given, this.#batch);
        for (const {input, output} of state) {
            this.#held[input] = outputs[output];
            delete outputs[output];
        }
        this.#begins = false;
        return outputs;
    }
}

function checked(name, given, dtype, size) {
    const kind = ARRAYS[dtype];
    if (!(given instanceof kind) || given.length !== size)
        throw new TypeError(`${name}: expected ${kind.name} of ${size}, got ` +
            (given === undefined ? "nothing" : `${given?.constructor?.name} of ${given?.length}`));
}
