// Chats with dripline-client, driven from Python: one chat a line on standard input, as JSON, and what
// came of it a line on standard output.
import { createInterface } from "node:readline";
import { ChatClient } from "dripline-client";

const unhandled = [];
process.on("unhandledRejection", (error) => unhandled.push(String(error)));

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);

/** A `fetch` that hands bodies on byte by byte. */
async function bytewise(url, init) {
  const response = await fetch(url, init);
  const split = new TransformStream({
    transform(chunk, controller) {
      for (const byte of chunk) controller.enqueue(Uint8Array.of(byte));
    },
  });
  const { status, headers } = response;
  return new Response(response.body?.pipeThrough(split) ?? null, { status, headers });
}

/** What a person's loop over the events does, beside reading. */
async function read({ url, options = {}, messages, run, fields = {}, after, does, bytes }) {
  const drops = [];
  const abort = new AbortController();
  const events = [];
  let stream = null;
  let error = null;
  try {
    const client = new ChatClient(url, {
      firstWait: 1,
      longestWait: 5,
      ...options,
      ...(bytes && { fetch: bytewise }),
      onDrop: (loss) => drops.push(String(loss)),
    });
    const given = { signal: abort.signal, ...fields };
    stream = run ? client.attach(run, given) : client.chat(messages, given);
    if (does === "abort" && after === 0) abort.abort();
    for await (const event of stream) {
      events.push(event);
      if (events.length !== after) continue;
      if (does === "break") break;
      if (does === "throw") throw new Error("the loop's own");
      if (does === "abort") abort.abort(new Error("enough"));
      if (does === "stop") await stream.stop();
      if (does === "tell") say({ run: stream.runId });
    }
  } catch (failure) {
    error = describe(failure);
  }
  await new Promise((resolve) => setImmediate(resolve)); // for rejections that nobody handled
  return {
    events,
    error,
    drops,
    run: stream?.runId,
    last: stream?.lastEventId,
    reconnects: stream?.reconnects,
    text: stream?.answer.text,
  };
}

function describe(error) {
  const { name, code, message, retryable, status, lastEventId, firstEventId, cause } = error;
  const more = { retryable, status, lastEventId, firstEventId, cause: cause && String(cause) };
  return { name, code: code ?? null, message, ...more };
}

for (let line = await lines.next(); !line.done; line = await lines.next()) {
  unhandled.length = 0;
  say({ ...(await read(JSON.parse(line.value))), unhandled });
}
