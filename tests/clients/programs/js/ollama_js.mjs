// `ollama` for JavaScript.

import assert from "node:assert/strict";
import { Ollama } from "ollama";
import { asked, fits, hi, isVector, run, schema, story, thought, told, tool, url } from "./operations.mjs";

const client = new Ollama({ host: url });

async function all(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

await run({
  list: async () => {
    const names = (await client.list()).models.map((model) => model.name);
    assert.ok(names.includes("story:latest"));
    assert.ok((await client.show({ model: "story" })).capabilities.includes("completion"));
  },
  whole: async () => {
    assert.equal((await client.chat({ model: "story", messages: hi })).message.content, story);
    assert.equal((await client.generate({ model: "story", prompt: "Go" })).response, story);
  },
  stream: async () => {
    const chunks = await all(await client.chat({ model: "story", messages: hi, stream: true }));
    assert.equal(chunks.map((chunk) => chunk.message.content).join(""), story);
    const parts = await all(await client.generate({ model: "story", prompt: "Go", stream: true }));
    assert.equal(parts.map((part) => part.response).join(""), story);
  },
  tools: async () => {
    const { message } = await client.chat({ model: "caller", messages: asked, tools: [tool] });
    assert.deepEqual(message.tool_calls[0].function.arguments, { city: "Oslo" });
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
  structured: async () => {
    const { message } = await client.chat({ model: "demo", messages: hi, format: schema });
    fits(JSON.parse(message.content));
  },
  embeddings: async () => {
    const { embeddings } = await client.embed({ model: "vectors", input: ["one", "two"] });
    embeddings.forEach(isVector);
  },
  errors: async () => {
    await assert.rejects(client.chat({ model: "nobody", messages: hi }), /not found/);
    await assert.rejects(client.chat({ model: "busy", messages: hi }), /server busy/);
  },
  abort: async () => {
    const stream = await client.chat({ model: "slow", messages: hi, stream: true });
    await assert.rejects(async () => {
      for await (const _ of stream) stream.abort();
    }, /abort/i);
  },
  library: async () => {
    const lines = await all(await client.pull({ model: "pulled", stream: true }));
    assert.equal(lines.at(-1).status, "success");
    await client.create({ model: "derived", from: "story", system: "Be brief" });
    await client.copy({ source: "derived", destination: "copied" });
    await client.delete({ model: "derived" });
    await client.delete({ model: "copied" });
    await client.ps();
  },
});
