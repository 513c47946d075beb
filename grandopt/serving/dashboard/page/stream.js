// The server's events. Read by fetch, because an EventSource cannot send a token.

const LONGEST_WAIT = 10000;

export class Unauthorized extends Error {}

async function follow(headers, tell, alive) {
  const answer = await fetch("/events", { headers, cache: "no-store" });
  if (answer.status === 401 || answer.status === 403) throw new Unauthorized(answer.statusText);
  if (!answer.ok) throw new Error(await refusal(answer));
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("the server has ended the connection");
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n");
      const name = lines.find((line) => line.startsWith("event: "));
      const data = lines.filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
      if (name && data) { alive(); tell(name.slice(7), JSON.parse(data)); }
    }
  }
}

// The server's own words for a refusal.
export async function refusal(answer) {
  const text = await answer.text();
  try {
    return JSON.parse(text).error || `status ${answer.status}`;
  } catch {
    return `status ${answer.status}`;
  }
}

// Follows for as long as the page is open; `lost` hears why it cannot at present, `token` is asked for one.
export async function followAlways(token, tell, lost) {
  let wait = 1000;
  for (;;) {
    const value = token();
    try {
      await follow(value ? { authorization: `Bearer ${value}` } : {}, tell, () => { wait = 1000; });
    } catch (error) {
      if (error instanceof Unauthorized) await lost(null);
      else {
        lost(error.message);
        await new Promise((go) => setTimeout(go, wait));
        wait = Math.min(2 * wait, LONGEST_WAIT);
      }
    }
  }
}
