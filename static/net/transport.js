/** Requests to the server. */

import { CodedError } from "../chat/coded-error.js";
import { BadJson, checkList, checkObject } from "../chat/json-check.js";
import { canChat } from "../chat/models.js";
import { keptToken } from "../store/token.js";

/** @typedef {import("../chat/models.js").Model} Model */

const NO_SERVER =
  "The dripline server isn't responding. Check that it is running (`dripline-server` starts it) and" +
  " that the network is up, then try again.";
const NOT_DRIPLINE =
  "Whatever answers at this address is not dripline's server, or is another version. Restart dripline" +
  " and reload the page.";

// Where the page is: a proxy may serve it below a path of its own.
const ROOT = new URL("../..", import.meta.url);

/** @type {import("../chat/json-check.js").Shape} */
const MODEL_FIELDS = {
  name: "string",
  size: "number?",
  family: "string?",
  description: "string?",
  capabilities: "list?",
  loaded: "boolean?",
  context_length: "number?",
};

/** Something between the page and the server went wrong; the message tells a person what to do. */
export class TransportError extends CodedError {
  /** HTTP's; 0 where none came. */
  status;

  /**
   * @param {string} code
   * @param {string} message
   * @param {{status?: number, cause?: unknown}} [details]
   */
  constructor(code, message, { status = 0, cause } = {}) {
    super(code, message, { cause });
    this.status = status;
  }

  /** Whether the same can go well later: nobody answered, or whoever did was busy, or a proxy. */
  get retryable() {
    return this.code === "server_away" || this.status === 429 || this.status >= 500;
  }
}

/** @param {unknown} [cause] */
function notDripline(cause) {
  return new TransportError("not_dripline", NOT_DRIPLINE, { cause });
}

/**
 * Return what the server says of itself: why the built-in fake stands in for Ollama, as a sentence, or
 * "" where it does not; the largest body it takes, in bytes; and whether models can be got and deleted.
 *
 * @returns {Promise<{demo: string, maxBody: number, modelChanges: boolean}>}
 */
export async function readService() {
  const shape = /** @type {const} */ ({ demo: "string?", max_body: "number?", model_changes: "boolean?" });
  const { demo, max_body: maxBody, model_changes: modelChanges } = await getJson("/", shape);
  return {
    demo: /** @type {string?} */ (demo) ?? "",
    maxBody: /** @type {number?} */ (maxBody) ?? Infinity,
    modelChanges: modelChanges === true,
  };
}

/**
 * Do something with a model, and return what the server says.
 *
 * @param {"show" | "unload" | "delete"} action
 * @param {string} model
 * @returns {Promise<Record<string, unknown>>}
 */
export async function doWithModel(action, model) {
  const response = await request(`/models/${action}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ model }),
  });
  return response.json();
}

/**
 * Return the models that can chat, and which of them the server takes by default ("": none).
 *
 * @returns {Promise<{models: Model[], default: string}>}
 */
export async function readModels() {
  const found = await getJson("/models", { models: "list", default: "string" });
  const models = /** @type {unknown[]} */ (found.models).map((model) => readModel(model));
  return { models: models.filter(canChat), default: String(found.default) };
}

/**
 * @param {unknown} model
 * @returns {Model}
 * @throws {TransportError}
 */
function readModel(model) {
  try {
    const fields = checkObject(model, "models", MODEL_FIELDS);
    checkList(fields.capabilities ?? [], "models.capabilities");
    const contextLength = fields.context_length ?? 0;
    return /** @type {Model} */ ({
      size: 0,
      loaded: false,
      ...fields,
      contextLength,
      capabilities: fields.capabilities ?? [],
    });
  } catch (error) {
    throw error instanceof BadJson ? notDripline(error) : error;
  }
}

/**
 * @param {string} path
 * @param {import("../chat/json-check.js").Shape} shape
 * @returns {Promise<Record<string, unknown>>}
 */
async function getJson(path, shape) {
  const response = await request(path, {
    headers: { Accept: "application/json" },
    // "/" is the page as well; the one must not come out of the cache for the other.
    cache: "no-store",
  });
  try {
    return checkObject(await response.json(), "", shape);
  } catch (error) {
    throw notDripline(error);
  }
}

/**
 * @param {string} path From the page's own address on.
 * @param {RequestInit & {headers?: Record<string, string>}} options
 * @throws {TransportError} There is no server, or it refuses.
 */
export async function request(path, options) {
  let response;
  try {
    response = await fetch(new URL(`.${path}`, ROOT), { ...options, headers: { ...options.headers, ...credentials() } });
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
