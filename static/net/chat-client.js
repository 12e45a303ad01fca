/** A client of a dripline server, for pages and programs: it sends chats and returns their streams. */

import { newId } from "../chat/ids.js";
import { checkList, checkObject, parseJson } from "../chat/json-check.js";
import { ChatStream } from "./chat-stream.js";
import {
  DriplineError,
  EventsDropped,
  RequestRefused,
  RunGone,
  ServerTimeout,
  ServerUnreachable,
} from "./errors.js";

/**
 * @typedef {import("../chat/answer.js").Answer} Answer
 * @typedef {import("./chat-stream.js").OnLeave} OnLeave
 *
 * @typedef {object} ChatMessage Ollama's.
 * @property {string} role "user", "assistant", "system" or "tool".
 * @property {string} [content]
 * @property {string} [thinking]
 * @property {string[]} [images] Base64, or data URLs.
 * @property {object[]} [tool_calls]
 * @property {string} [tool_name]
 *
 * @typedef {object} ChatFields The optional fields of a chat request, named as they are sent. Most are
 *   Ollama's. Fields that are not listed here are sent as well.
 * @property {string} [model] Without it, the server's default model answers.
 * @property {Record<string, unknown>} [options] Such as `{temperature: 0}`.
 * @property {"json" | object} [format] "json", or a JSON schema for the answer.
 * @property {string | number} [keep_alive]
 * @property {boolean | "low" | "medium" | "high" | "max"} [think]
 * @property {object[]} [tools] In Ollama's JSON form. A call is a `tool_call` event.
 * @property {boolean} [logprobs]
 * @property {number} [top_logprobs]
 * @property {"auto" | "rules" | "tools" | "off"} [ui_control]
 * @property {"stop" | "continue"} [on_disconnect] What happens to a run that nobody reads any more:
 *   "stop" stops it at once, "continue" lets it run to its end. Without it, the run continues for the
 *   server's grace time.
 *
 * @typedef {object} StreamOptions
 * @property {AbortSignal} [signal] Aborting it leaves the stream, which then throws its reason.
 * @property {OnLeave} [onLeave] What to do if the stream is left before its end, by `break`, an
 *   exception or `signal`: "stop" the run, or "detach" from it, so that `attach` can continue it later.
 *   `chat` stops by default, `attach` detaches.
 *
 * @typedef {ChatFields & StreamOptions} ChatOptions
 *
 * @typedef {object} ModelInfo A model that the server can use.
 * @property {string} name Such as "mistral:latest".
 * @property {number} size Bytes on disk.
 * @property {string[]} capabilities Such as "completion", "tools", "thinking", "vision".
 * @property {boolean | null} loaded Whether it is in memory now; null if Ollama does not say.
 * @property {string} [family] Its architecture, such as "llama"; "agent" for an agent of the server.
 * @property {string} [description] What an agent is for.
 *
 * @typedef {Headers | Record<string, string>} HeaderFields
 * @typedef {HeaderFields | (() => HeaderFields | Promise<HeaderFields>)} HeadersOption
 *
 * @typedef {object} ClientOptions Times are in milliseconds.
 * @property {string} [token] The server's bearer token (its DRIPLINE_TOKEN).
 * @property {HeadersOption} [headers] Sent with every request. A function is called for each one, for
 *   tokens that expire.
 * @property {typeof globalThis.fetch} [fetch] What makes the requests.
 * @property {number} [attempts] How often in a row a stream tries to attach again before it gives up;
 *   10 by default. With 0, the first loss is final.
 * @property {number} [firstWait] Before the first of them, 250 by default; each further one waits up to
 *   twice as long.
 * @property {number} [longestWait] The longest wait before any of them, 10,000 by default. What a
 *   server asks for with `Retry-After` is held to that too.
 * @property {number} [silence] A connection counts as lost after this long without a byte, 60,000 by
 *   default. It must be longer than the server's `--heartbeat`.
 * @property {number} [maxEventSize] The size limit of an event, in bytes.
 * @property {(error: Error) => void} [onDrop] Called each time that a stream loses its connection,
 *   before it tries to attach again.
 */

/** Where a server listens without further options. */
export const DEFAULT_URL = "http://127.0.0.1:8000";

// Printable ASCII, without a space at either end.
const HEADER_VALUE = /^[!-~]([ -~]*[!-~])?$/;
const MAX_ERROR_BODY = 64 * 1024;
/** @type {import("../chat/json-check.js").Shape} */
const ERROR_FIELDS = { code: "string?", message: "string" };

/** A client of one dripline server. It holds no connection between its streams. */
export class ChatClient {
  /** The server's address, without a slash at its end. */
  url;
  #headers;
  #token;
  #fetch;
  #patience;
  #onDrop;

  /**
   * @param {string | URL} [url] The server's address, with a path if it is served below one. A page may
   *   give one relative to its own address.
   * @param {ClientOptions} [options]
   * @throws {TypeError} The address is not an HTTP address, or an option has a wrong value.
   */
  constructor(url = DEFAULT_URL, options = {}) {
    const { token = "", attempts = 10, firstWait = 250, longestWait = 10_000, silence = 60_000 } = options;
    this.url = absolute(url);
    if (token && !HEADER_VALUE.test(token)) {
      throw new TypeError("token: should be printable ASCII characters, without spaces or line ends around them");
    }
    for (const [name, value] of Object.entries({ attempts, firstWait, longestWait, silence })) {
      if (typeof value !== "number" || !(value >= 0)) {
        throw new TypeError(`${name}: should be 0 or more, is ${value}`);
      }
    }
    this.#token = token;
    this.#headers = options.headers;
    // Not as a method of `options`: browsers refuse that.
    this.#fetch = options.fetch ?? ((/** @type {URL} */ input, /** @type {RequestInit} */ init) => globalThis.fetch(input, init));
    this.#patience = { attempts, firstWait, longestWait, silence, maxEventSize: options.maxEventSize };
    this.#onDrop = options.onDrop ?? (() => {});
  }

  /**
   * Return the stream of an answer. The chat is sent when iterating begins.
   *
   * The run's id is chosen here, so a chat that has to be sent again, because the connection broke
   * before the answer, never starts a second run.
   *
   * @param {string | readonly ChatMessage[]} messages A prompt, or the conversation so far.
   * @param {ChatOptions} [options]
   * @returns {ChatStream}
   * @throws {TypeError} `messages` is neither, or `onLeave` is unknown.
   */
  chat(messages, { signal, onLeave = "stop", ...fields } = {}) {
    if (typeof messages === "string") {
      messages = [{ role: "user", content: messages }];
    }
    if (!Array.isArray(messages)) {
      throw new TypeError("messages: should be a prompt or a list of messages");
    }
    const body = { ...fields, messages };
    return this.#stream({ runId: newId(), lastEventId: 0, body }, { signal, onLeave });
  }

  /**
   * Return the stream of a run that this or another client has started. If the run is over and `after`
   * is its last event, the stream has no events.
   *
   * @param {string} runId From `ChatStream.runId`.
   * @param {StreamOptions & {after?: string | number}} [options] `after` is the id of the last event
   *   that you have; by default you get all events.
   * @returns {ChatStream}
   * @throws {TypeError} `after` is not an event id of dripline, or `runId` is empty.
   */
  attach(runId, { after = 0, signal, onLeave = "detach" } = {}) {
    checkRunId(runId);
    if (!/^[0-9]*$/.test(String(after))) {
      throw new TypeError(`after: should be a last event ID, a whole number, is ${after}`);
    }
    return this.#stream({ runId, lastEventId: Number(after), body: null }, { signal, onLeave });
  }

  /**
   * Stop a run; its readers get `end` "cancelled". It does nothing if the run has ended.
   *
   * @param {string} runId
   * @throws {RunGone} The server does not know the run, or no longer.
   * @throws {DriplineError} The server cannot be reached, or cannot stop it.
   */
  async stop(runId) {
    checkRunId(runId);
    try {
      await this.#brief(`/runs/${encodeURIComponent(runId)}`, { method: "DELETE" });
    } catch (error) {
      throw error instanceof RequestRefused && error.status === 404 ? new RunGone(error) : error;
    }
  }

  /**
   * Send a chat and return its whole answer.
   *
   * @param {string | readonly ChatMessage[]} messages As for `chat`.
   * @param {ChatOptions} [options]
   * @returns {Promise<Answer>}
   * @throws {RunFailed} The run ended in an error.
   * @throws {DriplineError} As iterating a stream does.
   */
  async ask(messages, options) {
    const stream = this.chat(messages, options);
    for await (const event of stream) {
      void event;
    }
    return stream.answer;
  }

  /**
   * Return the models that the server can use.
   *
   * @returns {Promise<ModelInfo[]>}
   * @throws {DriplineError} The server cannot be reached, or cannot list them.
   */
  async models() {
    const text = await this.#brief("/models", { cache: "no-store" });
    try {
      return /** @type {ModelInfo[]} */ (checkList(checkObject(parseJson(text), "").models, "models"));
    } catch (cause) {
      const message = `${this.url}/models is not a list of models. Is that address a dripline server's?`;
      throw new DriplineError("not_dripline", message, { cause });
    }
  }

  /**
   * @param {import("./chat-stream.js").Run} run
   * @param {{signal: AbortSignal | undefined, onLeave: OnLeave}} options
   */
  #stream(run, { signal, onLeave }) {
    if (onLeave !== "stop" && onLeave !== "detach") {
      throw new TypeError(`onLeave: should be "stop" or "detach", is ${onLeave}`);
    }
    const surroundings = { request: this.#request.bind(this) };
    return new ChatStream(run, { signal, onLeave, onDrop: this.#onDrop }, surroundings, this.#patience);
  }

  /**
   * Make a request that is answered at once, and return the answer's body.
   *
   * @param {string} path
   * @param {RequestInit} init
   */
  async #brief(path, init) {
    const { silence } = this.#patience;
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(new ServerTimeout(silence)), silence);
    try {
      const response = await this.#request(path, { ...init, signal: abort.signal });
      return await response.text();
    } catch (error) {
      throw error instanceof DriplineError ? error : new ServerUnreachable(this.url, error);
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * @param {string} path
   * @param {RequestInit} init
   * @returns {Promise<Response>} Its status is 2xx.
   * @throws {DriplineError} There is no server, or it refuses.
   */
  async #request(path, init) {
    const headers = await this.#headersFor(init.headers);
    let response;
    try {
      response = await this.#fetch(new URL(this.url + path), { ...init, headers });
    } catch (error) {
      throw error instanceof DriplineError ? error : new ServerUnreachable(this.url, error);
    }
    if (response.ok) {
      return response;
    }
    const refused = await refusal(response, init.method ?? "GET");
    if (refused.status !== 410) {
      throw refused;
    }
    const last = headers.get("Last-Event-ID") ?? "";
    throw new EventsDropped(last === "0" ? "" : last, response.headers.get("X-First-Event-Id") ?? "", refused);
  }

  /** @param {HeadersInit | undefined} own What the request itself needs. */
  async #headersFor(own) {
    const headers = new Headers(typeof this.#headers === "function" ? await this.#headers() : this.#headers);
    if (this.#token) {
      headers.set("Authorization", `Bearer ${this.#token}`);
    }
    new Headers(own).forEach((value, name) => headers.set(name, value));
    return headers;
  }
}

/** @param {string | URL} url */
function absolute(url) {
  let found;
  try {
    // In a page, one may be relative to the page's own address.
    found = new URL(new Request(url).url);
  } catch {
    // It may have a password in it, which is not shown.
    throw new TypeError(`url: should be an HTTP address, such as ${DEFAULT_URL}, without a user name`);
  }
  if (!/^https?:$/.test(found.protocol) || found.search || found.hash) {
    throw new TypeError(`url: should be an HTTP address, such as ${DEFAULT_URL}, without a query`);
  }
  return found.href.replace(/\/+$/, "");
}

/** @param {string} runId */
function checkRunId(runId) {
  if (typeof runId !== "string" || ["", ".", ".."].includes(runId)) {
    throw new TypeError(`runId: should be a run's id, is ${JSON.stringify(runId)}`);
  }
}

/**
 * Return the error that a response with an error status means. It need not come from dripline: a proxy
 * may have sent it.
 *
 * @param {Response} response
 * @param {string} method
 */
async function refusal(response, method) {
  const { status, headers } = response;
  if (response.redirected && method !== "GET") {
    response.body?.cancel().catch(() => {});
    // 301, 302 and 303 turn a POST into a GET, which asks for something else.
    const message = `${method} was redirected to ${response.url}; use that address if it is the right one`;
    return new RequestRefused(status, "", message, headers);
  }
  const text = await beginningOf(response);
  try {
    const { code, message } = checkObject(checkObject(parseJson(text), "").error, "error", ERROR_FIELDS);
    return new RequestRefused(status, String(code ?? ""), String(message), headers);
  } catch {
    return new RequestRefused(status, "", text.slice(0, 200).trim() || response.statusText || "no reason given", headers);
  }
}

/**
 * Return a body as text: no more of it than an error needs.
 *
 * @param {Response} response
 */
async function beginningOf(response) {
  const reader = response.body?.getReader();
  const decoder = new TextDecoder();
  let text = "";
  try {
    while (reader && text.length < MAX_ERROR_BODY) {
      const { done, value } = await reader.read();
      if (done) {
        break;
      }
      text += decoder.decode(value, { stream: true });
    }
  } catch {
    // What has come says enough.
  }
  reader?.cancel().catch(() => {});
  return text;
}
