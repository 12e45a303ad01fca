// The real npm clients, driven from Python: one command a line on standard input, as JSON, and one
// answer a line on standard output.
import { createInterface } from "node:readline";

import { HttpAgent } from "@ag-ui/client";
import { AbstractChat, DefaultChatTransport } from "ai";

import { createAguiFetch } from "../../static/net/agui-fetch.js";

const unhandled = [];
process.on("unhandledRejection", (error) => unhandled.push(String(error)));
// The clients warn on standard output too.
console.log = console.info = console.debug = console.error;

/** A run of AG-UI's HttpAgent: what it was told, and what its conversation is afterwards. */
async function agui({ url, input, headers, resuming, abortAfter }) {
  const { threadId, runId, messages, state, ...parameters } = input;
  const fetch = resuming && createAguiFetch(resuming);
  const agent = new HttpAgent({
    url,
    threadId,
    headers,
    initialMessages: messages,
    initialState: state,
    ...(fetch && { fetch }),
  });
  const events = [];
  const onEvent = ({ event }) => {
    events.push(event);
    if (events.length === abortAfter) agent.abortRun();
  };
  let error = null;
  let result = null;
  try {
    ({ result } = await agent.runAgent({ runId, ...parameters }, { onEvent }));
  } catch (failure) {
    error = describe(failure);
  }
  return { events, messages: agent.messages, result, error };
}

/** What `useChat` is without React: its state, kept in plain fields. */
class Chat extends AbstractChat {
  constructor({ messages, ...init }) {
    super({
      ...init,
      state: {
        status: "ready",
        error: undefined,
        messages,
        pushMessage(message) {
          this.messages = [...this.messages, message];
        },
        popMessage() {
          this.messages = this.messages.slice(0, -1);
        },
        replaceMessage(index, message) {
          this.messages = this.messages.with(index, structuredClone(message));
        },
        snapshot: structuredClone,
      },
    });
  }
}

/** A chat of the AI SDK's: it sends, or resumes; what its messages are afterwards. */
async function chat({ api, id, messages, body, headers, resuming, does, text, abortAfter }) {
  const chunks = [];
  const data = [];
  const transport = new DefaultChatTransport({
    api,
    body,
    headers,
    ...(resuming && { fetch: createAguiFetch(resuming) }),
  });
  const read = transport.processResponseStream.bind(transport);
  transport.processResponseStream = (stream) =>
    read(stream).pipeThrough(
      new TransformStream({
        transform(chunk, controller) {
          chunks.push(chunk);
          controller.enqueue(chunk);
          if (chunks.length === abortAfter) client.stop();
        },
      }),
    );
  let finish = null;
  const client = new Chat({
    id,
    messages,
    transport,
    onData: (part) => data.push(part),
    onFinish: ({ isAbort, isDisconnect, isError, finishReason }) => {
      finish = { isAbort, isDisconnect, isError, finishReason };
    },
  });
  if (does === "resume") {
    await client.resumeStream();
  } else if (does === "continue") {
    await client.sendMessage();
  } else {
    await client.sendMessage({ text });
  }
  const { status, error } = client;
  return { chunks, data, messages: client.messages, status, error: describe(error), finish };
}

/** What `agui-fetch.js` hands on, piece by piece. */
async function fetched({ url, body, resuming, abortAfter }) {
  const abort = new AbortController();
  const pieces = [];
  let about = {};
  let error = null;
  try {
    const response = await createAguiFetch(resuming)(url, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal: abort.signal,
    });
    const { status, headers } = response;
    about = { status, runId: headers.get("X-Run-Id"), place: headers.get("Content-Location") };
    for await (const piece of response.body) {
      pieces.push(Buffer.from(piece).toString("base64"));
      if (pieces.length === abortAfter) abort.abort();
    }
  } catch (failure) {
    error = describe(failure);
  }
  return { ...about, pieces, error };
}

function describe(error) {
  if (!error) return null;
  return [error, error.cause].filter(Boolean).map(String).join(" < ");
}

const commands = { agui, chat, fetched };

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...parameters } = JSON.parse(line);
  unhandled.length = 0;
  let answer;
  try {
    answer = await commands[command](parameters);
  } catch (error) {
    answer = { fault: error.stack };
  }
  await new Promise((resolve) => setImmediate(resolve)); // for rejections that nobody handled
  process.stdout.write(`${JSON.stringify({ ...answer, unhandled })}\n`);
}
