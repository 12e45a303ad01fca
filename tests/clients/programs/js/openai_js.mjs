// `openai` for JavaScript.

import assert from "node:assert/strict";
import OpenAI from "openai";
import { asked, fits, hi, isVector, run, schema, story, thought, told, tool, url } from "./operations.mjs";

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "ollama", maxRetries: 0 });
const chat = (asking) => client.chat.completions.create(asking);

await run({
  list: async () => {
    const names = [];
    for await (const model of client.models.list()) names.push(model.id);
    assert.ok(names.includes("story:latest"));
  },
  whole: async () => {
    const answer = await chat({ model: "story", messages: hi });
    assert.equal(answer.choices[0].message.content, story);
    assert.equal((await client.responses.create({ model: "story", input: "Go" })).output_text, story);
  },
  stream: async () => {
    let text = "";
    for await (const chunk of await chat({ model: "story", messages: hi, stream: true })) {
      text += chunk.choices[0]?.delta.content ?? "";
    }
    assert.equal(text, story);
    const stream = client.responses.stream({ model: "story", input: "Go" });
    assert.equal((await stream.finalResponse()).output_text, story);
  },
  tools: async () => {
    const { message } = (await chat({ model: "caller", messages: asked, tools: [tool] })).choices[0];
    assert.deepEqual(JSON.parse(message.tool_calls[0].function.arguments), { city: "Oslo" });
    const said = { role: "tool", tool_call_id: message.tool_calls[0].id, content: "rain" };
    const messages = [...asked, message, said];
    const last = await chat({ model: "caller", messages, tools: [tool] });
    assert.equal(last.choices[0].message.content, told);
  },
  "streamed tools": async () => {
    const stream = client.chat.completions.stream({ model: "caller", messages: asked, tools: [tool] });
    const { message } = (await stream.finalChatCompletion()).choices[0];
    assert.deepEqual(JSON.parse(message.tool_calls[0].function.arguments), { city: "Oslo" });
  },
  thinking: async () => {
    const { message } = (await chat({ model: "thinker", messages: hi })).choices[0];
    assert.deepEqual([message.reasoning, message.content], [thought, story]);
  },
  structured: async () => {
    const response_format = { type: "json_schema", json_schema: { name: "person", schema } };
    const answer = await chat({ model: "demo", messages: hi, response_format });
    fits(JSON.parse(answer.choices[0].message.content));
  },
  embeddings: async () => {
    const { data } = await client.embeddings.create({ model: "vectors", input: ["one", "two"] });
    data.forEach((one) => isVector(one.embedding));
  },
  errors: async () => {
    await assert.rejects(chat({ model: "nobody", messages: hi }), OpenAI.NotFoundError);
    await assert.rejects(chat({ model: "busy", messages: hi }), /server busy/);
  },
  abort: async () => {
    const stream = await chat({ model: "slow", messages: hi, stream: true });
    for await (const _ of stream) break;
    stream.controller.abort();
  },
});
