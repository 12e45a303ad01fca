// `ollama` for JavaScript.

import assert from "node:assert/strict";
import { Ollama } from "ollama";
import {
  all, asked, fits, hi, isVector, picture, run, schema, story, thought, told, tool, url,
} from "./operations.mjs";

const client = new Ollama({ host: url });

await run({
  list: async () => {
    const names = (await client.list()).models.map((model) => model.name);
    assert.ok(names.includes("story:latest"));
  },
  show: async () => {
    assert.ok((await client.show({ model: "story" })).capabilities.includes("completion"));
  },
  whole: async () => {
    assert.equal((await client.chat({ model: "story", messages: hi })).message.content, story);
  },
  generate: async () => {
    assert.equal((await client.generate({ model: "story", prompt: "Go" })).response, story);
  },
  "streamed generate": async () => {
    const parts = await all(await client.generate({ model: "story", prompt: "Go", stream: true }));
    assert.equal(parts.map((part) => part.response).join(""), story);
  },
  stream: async () => {
    const chunks = await all(await client.chat({ model: "story", messages: hi, stream: true }));
    assert.equal(chunks.map((chunk) => chunk.message.content).join(""), story);
  },
  tools: async () => {
    const { message } = await client.chat({ model: "caller", messages: asked, tools: [tool] });
    assert.deepEqual(message.tool_calls[0].function.arguments, { city: "Oslo" });
  },
  "tool results": async () => {
    const { message } = await client.chat({ model: "caller", messages: asked, tools: [tool] });
    const said = { role: "tool", tool_name: "get_weather", content: "rain" };
    const messages = [...asked, message, said];
    const last = await client.chat({ model: "caller", messages, tools: [tool] });
    assert.equal(last.message.content, told);
  },
  "streamed tools": async () => {
    const asking = { model: "caller", messages: asked, tools: [tool], stream: true };
    const calls = (await all(await client.chat(asking))).flatMap((c) => c.message.tool_calls ?? []);
    assert.deepEqual(calls.map((call) => call.function.arguments), [{ city: "Oslo" }]);
  },
  thinking: async () => {
    const { message } = await client.chat({ model: "thinker", messages: hi, think: true });
    assert.deepEqual([message.thinking, message.content], [thought, story]);
  },
  "streamed thinking": async () => {
    const chunks = await all(await client.chat({ model: "thinker", messages: hi, think: true, stream: true }));
    assert.equal(chunks.map((chunk) => chunk.message.thinking ?? "").join(""), thought);
  },
  JSON: async () => {
    const { message } = await client.chat({ model: "demo", messages: hi, format: "json" });
    JSON.parse(message.content);
  },
  pictures: async () => {
    const messages = [{ role: "user", content: "What is it?", images: [picture] }];
    assert.match((await client.chat({ model: "demo", messages })).message.content, /picture/);
  },
  "log probabilities": async () => {
    const { logprobs } = await client.chat({ model: "story", messages: hi, logprobs: true });
    assert.equal(logprobs.map((one) => one.token).join(""), story);
  },
  limits: async () => {
    const answer = await client.chat({ model: "story", messages: hi, options: { num_predict: 2 } });
    assert.equal(answer.done_reason, "length");
  },
  usage: async () => {
    assert.ok((await client.chat({ model: "story", messages: hi })).eval_count);
  },
  structured: async () => {
    const { message } = await client.chat({ model: "demo", messages: hi, format: schema });
    fits(JSON.parse(message.content));
  },
  embeddings: async () => {
    const { embeddings } = await client.embed({ model: "vectors", input: ["one", "two"] });
    embeddings.forEach(isVector);
  },
  "no such model": async () => {
    await assert.rejects(client.chat({ model: "nobody", messages: hi }), /not found/);
  },
  "bad request": async () => {
    await assert.rejects(client.chat({ model: "plain", messages: hi, tools: [tool] }), /support tools/);
  },
  busy: async () => {
    await assert.rejects(client.chat({ model: "busy", messages: hi }), /server busy/);
  },
  cut: async () => {
    await assert.rejects(async () => all(await client.chat({ model: "cut", messages: hi, stream: true })));
  },
  "error in the stream": async () => {
    const reading = async () => all(await client.chat({ model: "failing", messages: hi, stream: true }));
    await assert.rejects(reading, /memory/);
  },
  abort: async () => {
    const stream = await client.chat({ model: "slow", messages: hi, stream: true });
    await assert.rejects(async () => {
      for await (const _ of stream) stream.abort();
    }, /abort/i);
  },
  "load, unload, ps": async () => {
    const load = { model: "story", prompt: "" };
    assert.equal((await client.generate({ ...load, keep_alive: "5m" })).done_reason, "load");
    assert.ok((await client.ps()).models.length);
    assert.equal((await client.generate({ ...load, keep_alive: 0 })).done_reason, "unload");
  },
  pull: async () => {
    const lines = await all(await client.pull({ model: "pulled", stream: true }));
    assert.equal(lines.at(-1).status, "success");
  },
  create: async () => {
    await client.create({ model: "derived", from: "story", system: "Be brief" });
    assert.match((await client.show({ model: "derived" })).modelfile, /Be brief/);
  },
  "copy, push, delete": async () => {
    await client.copy({ source: "story", destination: "copied" });
    await client.push({ model: "copied" });
    await client.delete({ model: "copied" });
    await assert.rejects(client.show({ model: "copied" }), /not found/);
  },
});
