// Type-checked, not run: what a TypeScript program may write, and what it may not.
import {
  type Answer,
  ChatClient,
  type ChatEvent,
  type ChatMessage,
  createAguiFetch,
  DriplineError,
  EventDecoder,
  EventsDropped,
  RequestRefused,
  type ServerSentEvent,
} from "dripline-client";
import { createAguiFetch as same } from "dripline-client/agui-fetch";

const client = new ChatClient("http://127.0.0.1:8000/ai", {
  token: "secret",
  fetch: globalThis.fetch,
  headers: async () => ({ "X-Team": "sky" }),
  attempts: 3,
  onDrop: (error: Error) => console.log(error.message),
});

export function show(event: ChatEvent): string {
  switch (event.type) {
    case "text_message":
    case "thinking":
      return event.data.content;
    case "tool_call":
      return `${event.data.name}(${JSON.stringify(event.data.arguments)})`;
    case "ui_control":
      return event.data.action === "change_theme" ? event.data.color : event.data.action;
    case "end": {
      const status: "completed" | "cancelled" | "failed" = event.data.status;
      return `${status} ${event.data.usage?.completion_tokens ?? 0}`;
    }
    case "error":
      return event.data.code;
    default:
      return "";
  }
}

export async function main(signal: AbortSignal): Promise<string> {
  const messages: ChatMessage[] = [{ role: "user", content: "Why is the sky blue?" }];
  const stream = client.chat(messages, { model: "mistral", options: { temperature: 0 }, signal, onLeave: "detach" });
  try {
    for await (const event of stream) {
      console.log(stream.lastEventId, show(event));
    }
    for await (const event of client.attach(stream.runId, { after: stream.lastEventId })) {
      show(event);
    }
  } catch (error) {
    if (error instanceof EventsDropped) return error.firstEventId;
    if (error instanceof RequestRefused) return `${error.status} ${error.code}`;
    if (error instanceof DriplineError && error.retryable) return error.code;
    throw error;
  }
  await stream.stop();
  await client.stop(stream.runId);
  const answer: Answer = await client.ask("And the sea?", { think: "high", format: "json" });
  const names: string[] = (await client.models()).map((model) => model.name);
  const decoder = new EventDecoder(1024, "7");
  const events: ServerSentEvent[] = decoder.feed(new Uint8Array());
  const fetch: typeof same = createAguiFetch;
  await fetch({ attempts: 1 })("/agui", { method: "POST" });
  return answer.text + names.join() + events.length + decoder.retry;
}

// @ts-expect-error: no such field
client.chat("Hi", { modell: "mistral" });
// @ts-expect-error: no such way to leave
client.chat("Hi", { onLeave: "stopp" });
// @ts-expect-error: not one message
client.chat({ role: "user", content: "Hi" });
// @ts-expect-error: not text
new EventDecoder().feed("data: a");
// @ts-expect-error: no such type
export const wrong = (event: ChatEvent) => event.type === "text";
// @ts-expect-error: a number
new ChatClient("http://127.0.0.1:8000", { attempts: "3" });
