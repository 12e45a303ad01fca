// `openai` for JavaScript.

import assert from "node:assert/strict";
import OpenAI from "openai";
import {
  all, asked, fits, hi, isVector, picture, run, schema, story, thought, told, tool, url,
} from "./operations.mjs";

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "ollama", maxRetries: 0 });
const chat = (asking) => client.chat.completions.create(asking);

await run({
  list: async () => {
    const names = [];
    for await (const model of client.models.list()) names.push(model.id);
    assert.ok(names.includes("story:latest"));
  },
  show: async () => {
    assert.equal((await client.models.retrieve("story")).id, "story");
    await assert.rejects(client.models.retrieve("nobody"), OpenAI.NotFoundError);
  },
  whole: async () => {
    const answer = await chat({ model: "story", messages: hi });
    assert.equal(answer.choices[0].message.content, story);
  },
  usage: async () => {
    assert.ok((await chat({ model: "story", messages: hi })).usage.completion_tokens);
    const stream_options = { include_usage: true };
    const chunks = await all(await chat({ model: "story", messages: hi, stream: true, stream_options }));
    assert.ok(chunks.at(-1).usage.completion_tokens);
  },
  generate: async () => {
    const answer = await client.completions.create({ model: "story", prompt: "Go" });
    assert.equal(answer.choices[0].text, story);
  },
  "streamed generate": async () => {
    const parts = await all(await client.completions.create({ model: "story", prompt: "Go", stream: true }));
    assert.equal(parts.map((part) => part.choices[0].text).join(""), story);
  },
  responses: async () => {
    assert.equal((await client.responses.create({ model: "story", input: "Go" })).output_text, story);
    const stream = client.responses.stream({ model: "story", input: "Go" });
    assert.equal((await stream.finalResponse()).output_text, story);
  },
  stream: async () => {
    let text = "";
    for await (const chunk of await chat({ model: "story", messages: hi, stream: true })) {
      text += chunk.choices[0]?.delta.content ?? "";
    }
    assert.equal(text, story);
  },
  tools: async () => {
    const { message } = (await chat({ model: "caller", messages: asked, tools: [tool] })).choices[0];
    assert.deepEqual(JSON.parse(message.tool_calls[0].function.arguments), { city: "Oslo" });
  },
  "tool results": async () => {
    const { message } = (await chat({ model: "caller", messages: asked, tools: [tool] })).choices[0];
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
  "streamed thinking": async () => {
    const chunks = await all(await chat({ model: "thinker", messages: hi, stream: true }));
    assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta.reasoning ?? "").join(""), thought);
  },
  JSON: async () => {
    const answer = await chat({ model: "demo", messages: hi, response_format: { type: "json_object" } });
    JSON.parse(answer.choices[0].message.content);
  },
  pictures: async () => {
    const image_url = { url: `data:image/png;base64,${picture}` };
    const content = [{ type: "text", text: "What is it?" }, { type: "image_url", image_url }];
    const answer = await chat({ model: "demo", messages: [{ role: "user", content }] });
    assert.match(answer.choices[0].message.content, /picture/);
  },
  "log probabilities": async () => {
    const [choice] = (await chat({ model: "story", messages: hi, logprobs: true })).choices;
    assert.equal(choice.logprobs.content.map((one) => one.token).join(""), story);
  },
  limits: async () => {
    const [choice] = (await chat({ model: "story", messages: hi, max_tokens: 2 })).choices;
    assert.equal(choice.finish_reason, "length");
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
  "no such model": async () => {
    await assert.rejects(chat({ model: "nobody", messages: hi }), OpenAI.NotFoundError);
  },
  "bad request": async () => {
    await assert.rejects(chat({ model: "plain", messages: hi, tools: [tool] }), OpenAI.BadRequestError);
  },
  busy: async () => {
    await assert.rejects(chat({ model: "busy", messages: hi }), /busy/);
  },
  cut: async () => {
    await assert.rejects(async () => all(await chat({ model: "cut", messages: hi, stream: true })));
  },
  abort: async () => {
    const stream = await chat({ model: "slow", messages: hi, stream: true });
    for await (const _ of stream) break;
    stream.controller.abort();
  },
});
