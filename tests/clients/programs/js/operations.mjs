// What every client program does: runs operations, and says of each whether it was right.

import assert from "node:assert/strict";

export const url = process.env.FAKE_OLLAMA;
export const story = "Once upon a time there was a fox.";
export const thought = "Hm, let me see.";
export const told = "It rains in Oslo.";
export const question = "What is the weather in Oslo?";
export const hi = [{ role: "user", content: "Tell me a story" }];
export const asked = [{ role: "user", content: question }];
export const parameters = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
};
export const tool = {
  type: "function",
  function: { name: "get_weather", description: "The weather of a city", parameters },
};
export const schema = {
  type: "object",
  properties: {
    name: { type: "string", pattern: "^[A-Z][a-z]+$" },
    age: { type: "integer", minimum: 18, maximum: 99 },
  },
  required: ["name", "age"],
  additionalProperties: false,
};

export function fits(value) {
  assert.match(value.name, /^[A-Z][a-z]+$/);
  assert.ok(value.age >= 18 && value.age <= 99);
}

export const picture = Buffer.from(`\x89PNG\r\n\x1a\n${"0".repeat(32)}`, "latin1").toString("base64");

export async function all(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

export function isVector(vector) {
  assert.equal(vector.length, 8);
  assert.ok(Math.abs(vector.reduce((sum, one) => sum + one * one, 0) - 1) < 1e-3);
}

export async function run(operations) {
  for (const [operation, attempt] of Object.entries(operations)) {
    let problem = "";
    try {
      await attempt();
    } catch (error) {
      problem = `${error}`.slice(0, 500);
    }
    console.log(JSON.stringify({ operation, problem }).replace('{"operation":', '{"operation": '));
  }
  process.exit(0);
}
