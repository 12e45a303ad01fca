/**
 * For each thing that can go wrong, the way out of it: what a person can do on the page, and what to
 * type elsewhere. The sentence that says what happened comes from whoever saw it.
 *
 * @typedef {"retry" | "continue" | "settings" | "model" | "models" | "token" | "new-chat" | "reload"} Action
 *
 * @typedef {object} Problem
 * @property {string} code One of the server's codes, or of the page's own below.
 * @property {string} message What happened, as a sentence; what stands in backticks is code.
 * @property {string} [model] The model's name, where one was to answer.
 *
 * @typedef {object} WayOut
 * @property {Action[]} actions What the page offers, the likeliest help first.
 * @property {string} [advice] A sentence for what the message cannot know.
 * @property {string} [command] A line for a terminal.
 */

/** @type {WayOut} */
const AGAIN = { actions: ["retry"] };
/** @type {WayOut} */
const GO_ON = { actions: ["continue", "retry"] };
/** @type {WayOut} */
const RELOAD = {
  actions: ["reload"],
  advice: "The page and the server may be of different versions.",
};
/** @type {WayOut} */
const LIGHTER = {
  actions: ["continue", "retry", "settings"],
  advice: "If this keeps happening, a smaller model or a shorter context length takes less memory.",
};

/** @type {Readonly<Record<string, WayOut>>} */
export const WAYS_OUT = {
  // Without a prototype: a code may be "constructor".
  // @ts-expect-error TypeScript takes this for a property.
  __proto__: null,
  bad_http: RELOAD,
  bad_json: RELOAD,
  bad_field: { actions: ["settings", "retry"] },
  unauthorized: { actions: ["token"] },
  model_changes_not_allowed: { actions: ["model"] },
  host_not_allowed: AGAIN,
  origin_not_allowed: AGAIN,
  not_found: RELOAD,
  method_not_allowed: RELOAD,
  body_too_large: {
    actions: ["new-chat"],
    advice: "A chat is sent whole, with its pictures: begin a new one, or send smaller pictures.",
  },
  body_too_slow: AGAIN,
  unsupported_media_type: RELOAD,
  position_gone: {
    actions: ["retry"],
    advice: "Some of the answer came while this page was away, and is gone.",
  },
  run_id_in_use: AGAIN,
  model_not_allowed: { actions: ["model"] },
  too_many_runs: { actions: ["retry"], advice: "Your other chats count as well; one will end soon." },
  server_full: { actions: ["retry"], advice: "Other chats are being answered; one will end soon." },
  too_many_readers: { actions: ["retry"], advice: "Close other tabs that show this chat." },
  answer_too_large: AGAIN,
  extra_missing: AGAIN,

  ollama_unreachable: { actions: ["retry"], command: "ollama serve" },
  model_not_found: { actions: ["retry", "model", "models"], command: "ollama pull {model}" },
  ollama_refused: { actions: ["settings", "model", "retry"] },
  ollama_busy: AGAIN,
  ollama_failed: LIGHTER,
  ollama_error: LIGHTER,
  upstream_unreachable: AGAIN,
  upstream_refused: { actions: ["settings", "model", "retry"] },
  upstream_busy: AGAIN,
  upstream_failed: LIGHTER,
  upstream_error: LIGHTER,
  upstream_cut: GO_ON,
  upstream_reset: GO_ON,
  upstream_truncated: GO_ON,
  model_repeats: { actions: ["settings", "model", "retry"] },
  upstream_garbage: AGAIN,
  upstream_stalled: GO_ON,
  upstream_line_too_long: AGAIN,
  agent_failed: AGAIN,
  agent_stalled: AGAIN,
  server_shutdown: GO_ON,
  run_cancelled: AGAIN,
  owner_lost: GO_ON,
  run_log_lost: GO_ON,
  outcome_unknown: GO_ON,
  internal_error: AGAIN,

  // The page's own.
  server_away: { actions: ["continue", "retry"], command: "dripline-server" },
  run_gone: GO_ON,
  not_dripline: { actions: ["reload"] },
  not_an_event_stream: { actions: ["reload"] },
  malformed_event: { actions: ["reload", "continue"] },
  event_too_large: { actions: ["reload", "continue"] },
  page_fault: { actions: ["reload"] },
  no_models: { actions: ["retry", "models"], command: "ollama pull llama3.2" },
};

// A name may come out of an imported file, and the line is meant to be pasted into a shell.
const PLAIN_NAME = /^[\w.:/-]+$/;

/**
 * Return the way out of a problem. A newer server's code has at least another try.
 *
 * @param {Problem} problem
 * @returns {WayOut}
 */
export function wayOut({ code, model = "" }) {
  const way = WAYS_OUT[code] ?? AGAIN;
  const { command, ...rest } = way;
  if (!command?.includes("{model}")) {
    return way;
  }
  return PLAIN_NAME.test(model) ? { ...rest, command: command.replace("{model}", model) } : rest;
}
