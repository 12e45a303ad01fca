/**
 * The chat vocabulary: what a run says, each event one JSON object `{"type": ..., "data": {...}}`.
 *
 * @typedef {{action: "change_theme", color: string}} ChangeTheme The page takes a tint of "#RRGGBB".
 * @typedef {{action: "change_accent", color: string}} ChangeAccent
 * @typedef {{action: "change_text_size", size: "smaller" | "larger" | "normal"}} ChangeTextSize
 * @typedef {{action: "add_button", label: string, message: string}} AddButton
 * @typedef {{action: "remove_button", label: string}} RemoveButton
 * @typedef {{action: "undo_change", what: "last" | "all"}} UndoChange
 * @typedef {ChangeTheme | ChangeAccent | ChangeTextSize | AddButton | RemoveButton | UndoChange} UiControl
 *
 * @typedef {object} Usage Times are in seconds. What is not known is absent or null.
 * @property {number | null} [prompt_tokens]
 * @property {number | null} [completion_tokens]
 * @property {number | null} [load_time] To load the model.
 * @property {number | null} [first_token_time] From the start to the first of text or thinking.
 * @property {number | null} [total_time] From the start to the end.
 * @property {boolean | null} [prompt_cut] Whether Ollama dropped a part of the prompt because it was
 *   longer than the model's context (`num_ctx`).
 * @typedef {"completed" | "cancelled" | "failed"} EndStatus
 *
 * @typedef {{type: "ui_control", data: UiControl}
 *   | {type: "start", data: {model?: string | null, run_id?: string | null, agent?: string | null}}
 *   | {type: "status", data: {phase: string, model?: string | null, completed?: number | null,
 *       total?: number | null}}
 *   | {type: "thinking", data: {content: string, logprobs?: object[] | null}}
 *   | {type: "text_message", data: {content: string, logprobs?: object[] | null}}
 *   | {type: "tool_call", data: {id: string, name: string, arguments?: object | null,
 *       unreadable?: string | null}}
 *   | {type: "tool_result", data: {id: string, name: string, content: string, failed?: boolean | null}}
 *   | {type: "state", data: {value?: unknown}}
 *   | {type: "custom", data: {name: string, value?: unknown}}
 *   | {type: "error", data: {code: string, message?: string | null, retryable?: boolean | null}}
 *   | {type: "end", data: {status: EndStatus, reason?: string | null, usage?: Usage | null}}
 * } ChatEvent
 *
 * @typedef {{id: number, event: ChatEvent | null}} NumberedEvent The event is null where this page
 *   has no use for it.
 *
 * @typedef {"connecting" | "open" | "reconnecting" | "stopping"} Phase What goes on with a stream.
 */

import { checkObject, checkWord, parseJson } from "./json-check.js";

/**
 * The fields that the page reads of each type's data.
 *
 * @type {Readonly<Record<string, import("./json-check.js").Shape>>}
 */
const FIELDS = {
  ui_control: { action: "string" },
  start: { model: "string?" },
  status: { phase: "string", model: "string?", completed: "number?", total: "number?" },
  thinking: { content: "string" },
  text_message: { content: "string" },
  tool_call: { id: "string", name: "string", arguments: "object?" },
  tool_result: { id: "string", name: "string", content: "string", failed: "boolean?" },
  state: {},
  custom: { name: "string" },
  error: { code: "string", message: "string?", retryable: "boolean?" },
  end: { status: "string", reason: "string?", usage: "object?" },
};
/** @type {import("./json-check.js").Shape} */
const USAGE_FIELDS = {
  prompt_tokens: "number?",
  completion_tokens: "number?",
  load_time: "number?",
  first_token_time: "number?",
  total_time: "number?",
  prompt_cut: "boolean?",
};
const END_STATUSES = ["completed", "cancelled", "failed"];

const COLOR = /^#[0-9a-f]{6}$/i;
const MAX_LABEL = 80;
const MAX_MESSAGE = 500;

/**
 * Return the event of a frame's data, or null where this page has no use for it: its type or action
 * is of a newer server, or it would do to the page what is not allowed.
 *
 * @param {string} data
 * @returns {ChatEvent | null}
 * @throws {BadJson} It is not JSON, or a field has a wrong type.
 */
export function parseEvent(data) {
  const event = checkObject(parseJson(data), "event");
  const type = String(event.type);
  const fields = Object.hasOwn(FIELDS, type) ? FIELDS[type] : undefined;
  if (!fields) {
    return null;
  }
  const values = checkObject(event.data ?? {}, "data", fields);
  if (type === "ui_control" && !isAllowed(values)) {
    return null;
  }
  if (type === "end") {
    checkEnd(values);
  }
  return /** @type {ChatEvent} */ (/** @type {unknown} */ ({ type, data: values }));
}

/** @param {Record<string, unknown>} values */
function checkEnd(values) {
  checkWord(values.status, END_STATUSES, "data.status");
  checkObject(values.usage ?? {}, "data.usage", USAGE_FIELDS);
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
    case "change_accent":
      return typeof data.color === "string" && COLOR.test(data.color);
    case "add_button":
      return isShort(data.label, MAX_LABEL) && isShort(data.message, MAX_MESSAGE);
    case "change_text_size":
      return data.size === "smaller" || data.size === "larger" || data.size === "normal";
    case "remove_button":
      return isShort(data.label, MAX_LABEL);
    case "undo_change":
      return data.what === "last" || data.what === "all";
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
