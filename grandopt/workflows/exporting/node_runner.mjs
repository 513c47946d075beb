// Answers calls of an exported agent until standard input ends: node node_runner.mjs AGENT_JS MODULE
// A call is the batch as 32 bits, then the inputs' bytes; its answer is a byte of 1 and the outputs' bytes, or a
// byte of 0, the length of a message as 32 bits, and the message.
import {readFile} from "node:fs/promises";
import {pathToFileURL} from "node:url";

const [loader, file] = process.argv.slice(2);
const {arrayOf, load, sizeOf} = await import(pathToFileURL(loader));
const agent = await load(await readFile(file));
const {inputs, outputs} = agent.contract;
const kinds = inputs.map((tensor) => arrayOf(tensor, []).constructor);
const sizes = inputs.map((tensor, place) => sizeOf(tensor) * kinds[place].BYTES_PER_ELEMENT);
const whole = sizes.reduce((sum, size) => sum + size, 0);

function answer(batch, bytes) {
    const given = {};
    let start = 0;
    for (const [place, {name}] of inputs.entries()) {
        const end = start + sizes[place] * batch;
        given[name] = new kinds[place](new Uint8Array(bytes.subarray(start, end)).buffer);
        start = end;
    }
    try {
        const results = agent.run(given, batch);
        const parts = outputs.map(({name}) => results[name]);
        return Buffer.concat([
            Buffer.of(1), ...parts.map((part) => Buffer.from(part.buffer, part.byteOffset, part.byteLength))]);
    } catch (error) {
        const message = Buffer.from(String(error));
        const length = Buffer.alloc(4);
        length.writeUInt32LE(message.length);
        return Buffer.concat([Buffer.of(0), length, message]);
    }
}

let held = Buffer.alloc(0);
for await (const part of process.stdin) {
    held = Buffer.concat([held, part]);
    while (held.length >= 4) {
        const batch = held.readUInt32LE(0);
        const end = 4 + whole * batch;
        if (held.length < end) break;
        process.stdout.write(answer(batch, held.subarray(4, end)));
        held = held.subarray(end);
    }
}
