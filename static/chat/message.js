/**
 * A message: what it holds, and what a run's events add to it.
 *
 * @typedef {import("./events.js").ChatEvent} ChatEvent
 * @typedef {"running" | "completed" | "cancelled" | "failed"} Status
 * @typedef {{id: string, name: string, arguments?: object | null, at: number, after?: number}} ToolCall
 *   `at` is where in the content it came, `after` how many results had come before it.
 * @typedef {{id: string, name: string, content: string, failed?: boolean | null}} ToolResult
 * @typedef {{code: string, message: string, retryable: boolean}} Problem `message` tells a person
 *   what happened; what stands in backticks is code.
 *
 * @typedef {object} Message One turn of either side, plain data that can be kept and sent.
 * @property {string} id
 * @property {string} conversation The conversation's id.
 * @property {string | null} parent The message before it; null for a conversation's first.
 * @property {"user" | "assistant"} role
 * @property {string} content
 * @property {string[]} images Base64, as Ollama takes them.
 * @property {string[]} [alts] What is to be seen on each picture, in words.
 * @property {import("./attachments.js").KeptFile[]} [files] Sent as text, before the content.
 * @property {string} thinking
 * @property {ToolCall[]} toolCalls
 * @property {ToolResult[]} toolResults
 * @property {import("./events.js").UiControl[]} uiControls What it did to the page.
 * @property {Status} status A user's message is "completed".
 * @property {string} reason Why the model stopped, as Ollama says: "stop", "length", ...
 * @property {Problem | null} error
 * @property {import("./events.js").Usage} usage
 * @property {string} model
 * @property {boolean} [isDemo] Whether the built-in fake made it instead of Ollama.
 * @property {string} runId The run that makes it; "" where none did.
 * @property {number} lastEventId The last of the run's events that is in it.
 * @property {number} attempt How many runs have gone into it: Continue adds one.
 * @property {number} createdAt Milliseconds since 1970, as are all times here.
 * @property {number} endedAt 0 while it has not ended.
 * @property {number} thinkingBegan 0 where there is no thinking.
 * @property {number} thinkingEnded 0 while it has not.
 */

import { newId } from "./ids.js";

/**
 * Return a message with nothing in it but what is given.
 *
 * @param {Partial<Message> & Pick<Message, "conversation" | "parent" | "role">} given
 * @returns {Message}
 */
export function newMessage(given) {
  return {
    id: newId(),
    content: "",
    images: [],
    thinking: "",
    toolCalls: [],
    toolResults: [],
    uiControls: [],
    status: "completed",
    reason: "",
    error: null,
    usage: {},
    model: "",
    runId: "",
    lastEventId: 0,
    attempt: 0,
    createdAt: Date.now(),
    endedAt: 0,
    thinkingBegan: 0,
    thinkingEnded: 0,
    ...given,
  };
}

/** Have a run of its own fill it, from the run's first event on. */
export function beginRun(/** @type {Message} */ message) {
  message.runId = newId();
  message.lastEventId = 0;
  message.attempt += 1;
  message.status = "running";
  message.reason = "";
  message.error = null;
  message.endedAt = 0;
}

/**
 * Take the run's next event.
 *
 * @param {Message} message
 * @param {number} id The event's.
 * @param {ChatEvent | null} event Null where this page has no use for it.
 * @param {number} now
 */
export function addEvent(message, id, event, now) {
  message.lastEventId = id;
  switch (event?.type) {
    case "ui_control":
      message.uiControls.push(event.data);
      break;
    case "start":
    case "status":
      message.model = event.data.model || message.model;
      break;
    case "thinking":
      message.thinkingBegan ||= now;
      message.thinkingEnded = 0;
      message.thinking += event.data.content;
      break;
    case "text_message":
      endThinking(message, now);
      message.content += event.data.content;
      break;
    case "tool_call":
      endThinking(message, now);
      message.toolCalls.push({
        ...event.data,
        at: message.content.length,
        after: message.toolResults.length,
      });
      break;
    case "tool_result":
      message.toolResults.push(event.data);
      break;
    case "error":
      message.error = {
        code: event.data.code,
        message: event.data.message || `The answer failed (${event.data.code}).`,
        retryable: event.data.retryable ?? false,
      };
      break;
    case "end":
      message.reason = event.data.reason ?? "";
      message.usage = event.data.usage ?? {};
      end(message, event.data.status, now);
      break;
  }
}

/**
 * Say why no more will come: the run's own `end` was not heard.
 *
 * @param {Message} message
 * @param {Problem} problem
 * @param {number} now
 */
export function fail(message, problem, now) {
  message.error = problem;
  end(message, "failed", now);
}

/**
 * @param {Message} message
 * @param {Status} status
 * @param {number} now
 */
export function end(message, status, now) {
  endThinking(message, now);
  message.status = status;
  message.endedAt = now;
}

/**
 * @param {Message} message
 * @param {number} now
 */
function endThinking(message, now) {
  if (message.thinkingBegan) {
    message.thinkingEnded ||= now;
  }
}

/** @param {Message} message */
export function isRunning({ status }) {
  return status === "running";
}

/** Whether anything of the model's has come. */
export function hasBegun(/** @type {Message} */ { content, thinking, toolCalls }) {
  return content !== "" || thinking !== "" || toolCalls.length > 0;
}

/** Whether the model can be asked to go on where it stopped. */
export function canContinue(/** @type {Message} */ { role, status, reason, content }) {
  const cut = status === "cancelled" || status === "failed" || reason === "length";
  return role === "assistant" && cut && content !== "";
}

/**
 * Whether one copy of a message has come further than another. Two tabs that follow one run both keep
 * what they have; the copy that knows less must not take the other's place.
 *
 * @param {Message} one
 * @param {Message} other
 */
export function isFurther(one, other) {
  if (one.attempt !== other.attempt) {
    return one.attempt > other.attempt;
  }
  if (one.lastEventId !== other.lastEventId) {
    return one.lastEventId > other.lastEventId;
  }
  return isRunning(other) && !isRunning(one);
}
