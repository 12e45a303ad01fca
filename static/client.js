/**
 * dripline's client for other pages and programs:
 *
 *     import { ChatClient } from "http://127.0.0.1:8000/static/client.js";
 *
 * and `import { ChatClient } from "dripline-client"` where it comes from npm.
 */

export { Answer } from "./chat/answer.js";
export { createAguiFetch, StreamLost } from "./net/agui-fetch.js";
export { ChatClient } from "./net/chat-client.js";
export { ChatStream } from "./net/chat-stream.js";
export {
  DriplineError,
  EventsDropped,
  EventTooLarge,
  MalformedEvent,
  NotAnEventStream,
  RequestRefused,
  RunFailed,
  RunGone,
  ServerTimeout,
  ServerUnreachable,
  StreamTruncated,
} from "./net/errors.js";
export { EventDecoder } from "./net/sse.js";

/**
 * @typedef {import("./chat/events.js").ChatEvent} ChatEvent
 * @typedef {import("./chat/events.js").Usage} Usage
 * @typedef {import("./net/chat-client.js").ChatFields} ChatFields
 * @typedef {import("./net/chat-client.js").ChatMessage} ChatMessage
 * @typedef {import("./net/chat-client.js").ChatOptions} ChatOptions
 * @typedef {import("./net/chat-client.js").ClientOptions} ClientOptions
 * @typedef {import("./net/chat-client.js").ModelInfo} ModelInfo
 * @typedef {import("./net/chat-client.js").StreamOptions} StreamOptions
 * @typedef {import("./net/sse.js").ServerSentEvent} ServerSentEvent
 */
