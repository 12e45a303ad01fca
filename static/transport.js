/** The server's side of the page: requests, and a run's events. Knows nothing of the DOM. */

import { MalformedEvent, parseEvent } from "./events.js";
import { canChat } from "./models.js";
import { EventDecoder } from "./sse.js";

/**
 * @typedef {import("./conversation.js").Message} Message
 * @typedef {import("./events.js").ChatEvent} ChatEvent
 * @typedef {import("./models.js").Model} Model
 */

const NO_SERVER =
  "dripline's server does not answer. See that it is running (`make run` starts it) and that the" +
  " network is up, then try again.";
const TRUNCATED =
  "The connection to dripline's server broke before the answer's end. See that the server is still" +
  " running, then try again.";
const NOT_DRIPLINE =
  "What answers at this address is not dripline's server, or is of another version. Start dripline" +
  " again and reload the page.";

/** Something between the page and the server went wrong; the message tells a person what to do. */
export class TransportError extends Error {
  /** Which of the ways: the server's code, or one of the page's own; see ways-out.js. */
  code;

  /**
   * @param {string} code
   * @param {string} message
   * @param {ErrorOptions} [options]
   */
  constructor(code, message, options) {
    super(message, options);
    this.code = code;
  }
}

/**
 * Return what the server says of itself: why the built-in fake stands in for Ollama, as a sentence, or
 * "" where it does not; and the largest body it takes, in bytes.
 *
 * @returns {Promise<{demo: string, maxBody: number}>}
 */
export async function readService() {
  const { demo, max_body: maxBody } = await getJson("/");
  return {
    demo: typeof demo === "string" ? demo : "",
    maxBody: typeof maxBody === "number" ? maxBody : Infinity,
  };
}

/**
 * Return the models that can chat, and which of them the server takes by default ("": none).
 *
 * @returns {Promise<{models: Model[], default: string}>}
 */
export async function readModels() {
  const found = await getJson("/models");
  if (!Array.isArray(found.models) || typeof found.default !== "string") {
    throw new TransportError("not_dripline", NOT_DRIPLINE);
  }
  /** @type {Model[]} */
  const models = found.models;
  return { models: models.filter(canChat), default: found.default };
}

/** One generation: its events, and the way to stop it. */
export class Run {
  #abort = new AbortController();
  #request;

  /**
   * @param {{messages: Message[], model: string}} request The body of `POST /chat`; model "" is the
   *   server's default.
   */
  constructor(request) {
    this.#request = request;
  }

  /** Stop it; its events then end as those of a cancelled run. The server stops Ollama. */
  stop() {
    this.#abort.abort();
  }

  /**
   * Start it, and give its events up to and with its `end`.
   *
   * @returns {AsyncGenerator<ChatEvent, void>}
   * @throws {TransportError} The server did not take it, or its events stopped before the `end`.
   */
  async *events() {
    try {
      yield* this.#events();
    } catch (error) {
      if (!this.#abort.signal.aborted) {
        throw error;
      }
      yield { type: "end", data: { status: "cancelled" } };
    }
  }

  async *#events() {
    const body = await this.#post();
    const decoder = new EventDecoder();
    const reader = body.getReader();
    try {
      for (;;) {
        const { done, value } = await read(reader);
        if (done) {
          throw new TransportError("truncated", TRUNCATED);
        }
        for (const { data } of decode(decoder, value)) {
          const event = parse(data);
          if (event) {
            yield event;
          }
          if (event?.type === "end") {
            return;
          }
        }
      }
    } finally {
      // Rejects where the connection is what broke; that has been told.
      reader.cancel().catch(() => {});
    }
  }

  /** @returns {Promise<ReadableStream<Uint8Array>>} */
  async #post() {
    const response = await request("/chat", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      // This page does not come back to a run, so nothing is to go on without it.
      body: JSON.stringify({ ...this.#request, on_disconnect: "stop" }),
      signal: this.#abort.signal,
    });
    const type = response.headers.get("Content-Type") ?? "";
    if (!/^text\/event-stream\b/i.test(type) || !response.body) {
      throw new TransportError("not_dripline", NOT_DRIPLINE);
    }
    return response.body;
  }
}

/**
 * @param {string} path
 * @returns {Promise<Record<string, unknown>>}
 */
async function getJson(path) {
  const response = await request(path, {
    headers: { Accept: "application/json" },
    // "/" is the page as well; the one must not come out of the cache for the other.
    cache: "no-store",
  });
  try {
    return Object(await response.json());
  } catch {
    throw new TransportError("not_dripline", NOT_DRIPLINE);
  }
}

/**
 * @param {string} path
 * @param {RequestInit} options
 * @throws {TransportError} There is no server, or it refuses.
 */
async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    throw new TransportError("server_away", NO_SERVER, { cause: error });
  }
  if (!response.ok) {
    throw await refusal(response);
  }
  return response;
}

/**
 * Return what an error status means, with the server's own words where it has some.
 *
 * @param {Response} response
 */
async function refusal(response) {
  const body = await response.json().catch(() => null);
  const { code, message } = Object(body?.error);
  return typeof message === "string" && message
    ? new TransportError(String(code), `${message} (HTTP ${response.status})`)
    : new TransportError(
        "not_dripline",
        `The server answered HTTP ${response.status} and did not say why. Its log may say more.`,
      );
}

/** @param {ReadableStreamDefaultReader<Uint8Array>} reader */
async function read(reader) {
  try {
    return await reader.read();
  } catch (error) {
    throw new TransportError("truncated", TRUNCATED, { cause: error });
  }
}

/**
 * @param {EventDecoder} decoder
 * @param {Uint8Array} chunk
 */
function decode(decoder, chunk) {
  try {
    return decoder.feed(chunk);
  } catch (error) {
    throw new TransportError("malformed", "The server sent an event that is too large for this page.", {
      cause: error,
    });
  }
}

/** @param {string} data */
function parse(data) {
  try {
    return parseEvent(data);
  } catch (error) {
    if (!(error instanceof MalformedEvent)) {
      throw error;
    }
    throw new TransportError(
      "malformed",
      `The server sent what this page does not understand (${error.message}). Reload the page: it` +
        " may be older than the server.",
      { cause: error },
    );
  }
}
