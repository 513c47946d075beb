// Reads observations as numbers from stdin until it ends; prints the outputs of each step, one per line:
//   node example.mjs < numbers.txt
import {arrayOf, load, observed, sizeOf} from "./agent.js";

const agent = await load();
const {contract} = agent;
const session = contract.state.length > 0 ? agent.session() : {step: (observation) => agent.run(observation)};

let text = "";
process.stdin.setEncoding("utf8");
for await (const part of process.stdin) text += part;
const words = text.split(/\s+/).filter((word) => word !== "");
const whole = observed(contract).reduce((sum, tensor) => sum + sizeOf(tensor), 0);
if (words.length === 0 || words.length % whole !== 0) {
    console.error(`an observation has ${whole} numbers, there are ${words.length}`);
    process.exit(1);
}
let read = 0;
while (read < words.length) {
    const observation = {};
    for (const tensor of observed(contract))
        observation[tensor.name] = arrayOf(tensor, words.slice(read, (read += sizeOf(tensor))));
    for (const output of Object.values(session.step(observation)))
        for (const number of output) console.log(String(number));
}
