/**
 * The chat vocabulary: what a run says, each event one JSON object `{"type": ..., "data": {...}}`.
 *
 * Knows neither the DOM nor the network.
 *
 * @typedef {{action: "change_theme", color: string}} ChangeTheme The page takes "#RRGGBB".
 * @typedef {{action: "add_button", label: string, message: string}} AddButton
 * @typedef {ChangeTheme | AddButton} UiControl
 *
 * @typedef {object} Usage Times are in seconds. What is not known is absent or null.
 * @property {number | null} [prompt_tokens]
 * @property {number | null} [completion_tokens]
 * @property {number | null} [load_time] To load the model.
 * @property {number | null} [first_token_time] From the start to the first of text or thinking.
 * @property {number | null} [total_time] From the start to the end.
 * @typedef {"completed" | "cancelled" | "failed"} EndStatus
 *
 * @typedef {{type: "ui_control", data: UiControl}
 *   | {type: "start", data: {model?: string | null}}
 *   | {type: "status", data: {phase: string, model?: string | null}}
 *   | {type: "thinking", data: {content: string}}
 *   | {type: "text_message", data: {content: string}}
 *   | {type: "tool_call", data: {id: string, name: string, arguments?: object | null}}
 *   | {type: "tool_result", data: {id: string, name: string, content: string, failed?: boolean | null}}
 *   | {type: "error", data: {code: string, message?: string | null, retryable?: boolean | null}}
 *   | {type: "end", data: {status: EndStatus, reason?: string | null, usage?: Usage | null}}
 * } ChatEvent
 */

/**
 * The fields that the page reads, and their `typeof`; "?" marks what may be absent or null.
 *
 * @type {Record<string, Record<string, string>>}
 */
const FIELDS = {
  ui_control: { action: "string" },
  start: { model: "string?" },
  status: { phase: "string", model: "string?" },
  thinking: { content: "string" },
  text_message: { content: "string" },
  tool_call: { id: "string", name: "string", arguments: "object?" },
  tool_result: { id: "string", name: "string", content: "string", failed: "boolean?" },
  error: { code: "string", message: "string?", retryable: "boolean?" },
  end: { status: "string", reason: "string?", usage: "object?" },
};
const USAGE_FIELDS = {
  prompt_tokens: "number?",
  completion_tokens: "number?",
  load_time: "number?",
  first_token_time: "number?",
  total_time: "number?",
};
const END_STATUSES = ["completed", "cancelled", "failed"];

const COLOR = /^#[0-9a-f]{6}$/i;
const MAX_LABEL = 80;
const MAX_MESSAGE = 500;

/** An event that is not what the protocol says; the message names the field. */
export class MalformedEvent extends Error {}

/**
 * Return the event of a frame's data, or null where this page has no use for it: its type or action
 * is of a newer server, or it would do to the page what is not allowed.
 *
 * @param {string} data
 * @returns {ChatEvent | null}
 * @throws {MalformedEvent} It is not JSON, or a field has a wrong type.
 */
export function parseEvent(data) {
  const event = record(parseJson(data), "event");
  const type = String(event.type);
  const fields = Object.hasOwn(FIELDS, type) ? FIELDS[type] : undefined;
  if (!fields) {
    return null;
  }
  const values = record(event.data ?? {}, "data");
  check(values, fields);
  if (type === "ui_control" && !isAllowed(values)) {
    return null;
  }
  if (type === "end") {
    checkEnd(values);
  }
  return /** @type {ChatEvent} */ (/** @type {unknown} */ ({ type, data: values }));
}

/** @param {string} data */
function parseJson(data) {
  try {
    return JSON.parse(data);
  } catch {
    throw new MalformedEvent("the event is not JSON");
  }
}

/**
 * @param {unknown} value
 * @param {string} name
 */
function record(value, name) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new MalformedEvent(`${name} is not an object`);
  }
  return /** @type {Record<string, unknown>} */ (value);
}

/**
 * @param {Record<string, unknown>} values
 * @param {Record<string, string>} fields
 */
function check(values, fields) {
  for (const [name, kind] of Object.entries(fields)) {
    const value = values[name] ?? null;
    if (value === null ? !kind.endsWith("?") : typeof value !== kind.replace("?", "")) {
      throw new MalformedEvent(`${name} should be ${kind.replace("?", "")}`);
    }
  }
}

/** @param {Record<string, unknown>} values */
function checkEnd(values) {
  if (!END_STATUSES.includes(String(values.status))) {
    throw new MalformedEvent(`status should be one of ${END_STATUSES.join(", ")}`);
  }
  check(record(values.usage ?? {}, "usage"), USAGE_FIELDS);
}

/**
 * Whether a `ui_control` may reach the page. The server has checked too, but what it checked came
 * from a model.
 *
 * @param {Record<string, unknown>} data
 */
export function isAllowed(data) {
  switch (data.action) {
    case "change_theme":
      return typeof data.color === "string" && COLOR.test(data.color);
    case "add_button":
      return isShort(data.label, MAX_LABEL) && isShort(data.message, MAX_MESSAGE);
    default:
      return false;
  }
}

/**
 * @param {unknown} text
 * @param {number} longest
 */
function isShort(text, longest) {
  // In characters as the server counts them, of which an emoji is one.
  return typeof text === "string" && text.trim() !== "" && [...text].length <= longest;
}
