// `ai` with `ai-sdk-ollama`.

import assert from "node:assert/strict";
import { embedMany, generateObject, generateText, jsonSchema, streamText, tool as makeTool } from "ai";
import { createOllama } from "ai-sdk-ollama";
import { fits, hi, isVector, parameters, picture, question, run, schema, story, url } from "./operations.mjs";

const ollama = createOllama({ baseURL: url });
const tools = {
  get_weather: makeTool({ description: "The weather", inputSchema: jsonSchema(parameters) }),
};
const once = { maxRetries: 0 };

await run({
  whole: async () => {
    const { text } = await generateText({ model: ollama("story"), messages: hi, ...once });
    assert.equal(text, story);
  },
  stream: async () => {
    const { textStream } = streamText({ model: ollama("story"), messages: hi, ...once });
    let text = "";
    for await (const part of textStream) text += part;
    assert.equal(text, story);
  },
  tools: async () => {
    const { toolCalls } = await generateText({
      model: ollama("caller"), prompt: question, tools, ...once,
    });
    assert.deepEqual(toolCalls[0].input, { city: "Oslo" });
  },
  "streamed tools": async () => {
    const { toolCalls } = streamText({ model: ollama("caller"), prompt: question, tools, ...once });
    assert.deepEqual((await toolCalls)[0].input, { city: "Oslo" });
  },
  thinking: async () => {
    const model = ollama("thinker", { think: true });
    const { reasoningText, text } = await generateText({ model, messages: hi, ...once });
    assert.deepEqual([reasoningText, text], ["Hm, let me see.", story]);
  },
  pictures: async () => {
    const content = [{ type: "text", text: "What is it?" }, { type: "image", image: picture }];
    const messages = [{ role: "user", content }];
    const { text } = await generateText({ model: ollama("demo"), messages, ...once });
    assert.match(text, /picture/);
  },
  usage: async () => {
    const { usage } = await generateText({ model: ollama("story"), messages: hi, ...once });
    assert.ok(usage.outputTokens);
  },
  limits: async () => {
    const asking = { model: ollama("story"), messages: hi, maxOutputTokens: 2, ...once };
    assert.equal((await generateText(asking)).finishReason, "length");
  },
  structured: async () => {
    const { object } = await generateObject({
      model: ollama("demo"), schema: jsonSchema(schema), messages: hi, ...once,
    });
    fits(object);
  },
  embeddings: async () => {
    const model = ollama.embedding("vectors");
    const { embeddings } = await embedMany({ model, values: ["one", "two"], ...once });
    embeddings.forEach(isVector);
  },
  "no such model": async () => {
    await assert.rejects(generateText({ model: ollama("nobody"), messages: hi, ...once }));
  },
  "bad request": async () => {
    await assert.rejects(generateText({ model: ollama("plain"), prompt: question, tools, ...once }));
  },
  busy: async () => {
    await assert.rejects(generateText({ model: ollama("busy"), messages: hi, ...once }));
  },
  abort: async () => {
    const controller = new AbortController();
    const { textStream } = streamText({
      model: ollama("slow"), messages: hi, abortSignal: controller.signal, ...once,
    });
    try {
      for await (const _ of textStream) controller.abort();
    } catch {
      // the client's own way of saying that it was aborted
    }
  },
});
