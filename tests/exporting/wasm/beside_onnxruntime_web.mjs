// Calls an exported agent and the same in onnxruntime-web by turns, and writes the seconds of a call of each as JSON, of
// the clock and of the processor:
// node beside_onnxruntime_web.mjs AGENT_FOLDER MODEL ROUNDS CALLS, in a folder where onnxruntime-web is installed.
import {readFile} from "node:fs/promises";
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";

const [folder, model, rounds, calls] = process.argv.slice(2);
const ort = createRequire(`${process.cwd()}/`)("onnxruntime-web");
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(await readFile(model), {executionProviders: ["wasm"]});
const {arrayOf, load, sizeOf} = await import(pathToFileURL(`${folder}/agent.js`));
const agent = await load();
const {inputs, outputs} = agent.contract;

const given = {}, tensors = {}, room = {};
for (const tensor of inputs) {
    given[tensor.name] = arrayOf(tensor, Array.from({length: sizeOf(tensor)}, (_, i) => Math.sin(i + 1)));
    tensors[tensor.name] = new ort.Tensor(tensor.dtype, given[tensor.name], [1, ...tensor.shape]);
}
for (const tensor of outputs) room[tensor.name] = arrayOf(tensor, Array(sizeOf(tensor)).fill(0));

const subjects = {
    run: () => { for (let i = 0; i < calls; ++i) agent.run(given); },
    runInto: () => { for (let i = 0; i < calls; ++i) agent.runInto(given, room); },
    "onnxruntime-web": async () => { for (let i = 0; i < calls; ++i) await session.run(tensors); },
};
const times = Object.fromEntries(Object.keys(subjects).map((name) => [name, []]));
for (let round = -2; round < rounds; ++round)
    for (const [name, subject] of Object.entries(subjects)) {
        const begin = performance.now(), used = process.cpuUsage();
        await subject();
        const {user, system} = process.cpuUsage(used), clock = performance.now() - begin;
        if (round >= 0) times[name].push([clock / calls / 1e3, (user + system) / calls / 1e6]);
    }
console.log(JSON.stringify({version: ort.env.versions.web, node: process.version, times}));
process.exit(0);
