/** Requests to the server. Knows nothing of the DOM. */

import { canChat } from "./models.js";
import { keptToken } from "./token.js";

/** @typedef {import("./models.js").Model} Model */

const NO_SERVER =
  "dripline's server does not answer. See that it is running (`make run` starts it) and that the" +
  " network is up, then try again.";
const NOT_DRIPLINE =
  "What answers at this address is not dripline's server, or is of another version. Start dripline" +
  " again and reload the page.";

/** Something between the page and the server went wrong; the message tells a person what to do. */
export class TransportError extends Error {
  /** Which of the ways: the server's code, or one of the page's own; see ways-out.js. */
  code;

  /** HTTP's; 0 where none came. */
  status;

  /**
   * @param {string} code
   * @param {string} message
   * @param {{status?: number, cause?: unknown}} [details]
   */
  constructor(code, message, { status = 0, cause } = {}) {
    super(message, { cause });
    this.code = code;
    this.status = status;
  }

  /** Whether the same can go well later: nobody answered, or whoever did was busy, or a proxy. */
  get passes() {
    return this.code === "server_away" || this.status === 429 || this.status >= 500;
  }
}

/** @param {unknown} [cause] */
export function notDripline(cause) {
  return new TransportError("not_dripline", NOT_DRIPLINE, { cause });
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
    throw notDripline();
  }
  /** @type {Model[]} */
  const models = found.models;
  return { models: models.filter(canChat), default: found.default };
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
  } catch (error) {
    throw notDripline(error);
  }
}

/**
 * @param {string} path
 * @param {RequestInit & {headers?: Record<string, string>}} options
 * @throws {TransportError} There is no server, or it refuses.
 */
export async function request(path, options) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...options.headers, ...credentials() } });
  } catch (error) {
    throw new TransportError("server_away", NO_SERVER, { cause: error });
  }
  if (!response.ok) {
    throw await refusal(response);
  }
  return response;
}

/** @returns {Record<string, string>} */
function credentials() {
  const token = keptToken();
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/**
 * Return what an error status means, with the server's own words where it has some.
 *
 * @param {Response} response
 */
async function refusal(response) {
  const { status } = response;
  const body = await response.json().catch(() => null);
  const { code, message } = Object(body?.error);
  return typeof message === "string" && message
    ? new TransportError(String(code), `${message} (HTTP ${status})`, { status })
    : new TransportError(
        "not_dripline",
        `The server answered HTTP ${status} and did not say why. Its log may say more.`,
        { status },
      );
}
