/**
 * Conversations as JSON files, written and read. Knows neither the DOM nor the network.
 *
 * A file has the shown path as `POST /chat` takes it, which is what other programs want, and under
 * `tree` all there is. A file of several has them in `conversations`.
 */

import { newConversation, requestMessages, titleOf, Tree } from "./conversation.js";
import { newId } from "./ids.js";
import { newMessage } from "./message.js";

/**
 * @typedef {import("./message.js").Message} Message
 * @typedef {import("./store.js").Whole} Whole
 * @typedef {Record<string, unknown>} Fields
 */

const ONE = "dripline-conversation";
const SEVERAL = "dripline-conversations";
const VERSION = 1;

/** What a file says is not a conversation; the message says where and why. */
export class BadFile extends Error {}

/** @param {Whole} whole */
export function toJson(whole) {
  return JSON.stringify(fileOf(whole), null, 2);
}

/** @param {Whole[]} wholes */
export function allToJson(wholes) {
  const file = { format: SEVERAL, version: VERSION, saved_at: new Date().toISOString() };
  return JSON.stringify({ ...file, conversations: wholes.map(fileOf) }, null, 2);
}

/** @param {Whole} whole */
function fileOf({ conversation, messages }) {
  const { id: _, title, system, leaf, look, createdAt, updatedAt } = conversation;
  const path = new Tree(messages).path(leaf);
  return {
    format: ONE,
    version: VERSION,
    saved_at: new Date().toISOString(),
    title,
    model: path.findLast(({ model }) => model)?.model ?? "",
    system: system ?? "",
    options: {},
    messages: requestMessages(path, { system: "", images: true }),
    tree: { leaf, look, system, createdAt, updatedAt, messages: messages.map(recordOf) },
  };
}

/**
 * Return a message without what has a meaning in this browser alone.
 *
 * @param {Message} message
 */
function recordOf({ conversation: _c, runId: _r, lastEventId: _l, attempt: _a, ...record }) {
  return record.status === "running" ? { ...record, status: "cancelled" } : record;
}

/**
 * Return the conversations of a file, with new ids: reading a file twice gives two of each.
 *
 * @param {string} text
 * @returns {Whole[]}
 * @throws {BadFile}
 */
export function fromJson(text) {
  /** @type {unknown} */
  let json;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new BadFile(`It is not JSON: ${error instanceof Error ? error.message : error}`);
  }
  const file = fields(json, "The file");
  if (file.format === SEVERAL) {
    checkVersion(file);
    const several = list(file.conversations, "conversations");
    return several.map((one, place) => read(fields(one, `conversations[${place}]`), `conversations[${place}].`));
  }
  if (file.format !== ONE && !Array.isArray(file.messages)) {
    throw new BadFile(`It is no exported chat: its "format" is not "${ONE}" and it has no "messages".`);
  }
  return [read(file, "")];
}

/**
 * @param {Fields} file
 * @param {string} at Where it is in the file, for messages.
 * @returns {Whole}
 */
function read(file, at) {
  checkVersion(file);
  const conversation = newConversation();
  const tree = file.tree === undefined ? null : fields(file.tree, `${at}tree`);
  const messages = tree
    ? readTree(tree, conversation.id, `${at}tree.`)
    : readPath(list(file.messages, `${at}messages`), conversation.id, `${at}messages`);
  const path = messages.filter(({ role }) => role !== "system");
  const system = tree ? tree.system : file.system || messages.find(({ role }) => role === "system")?.content;
  conversation.title =
    text(file.title ?? "", `${at}title`) ||
    titleOf(path.find(({ role }) => role === "user")?.content ?? "") ||
    "Imported chat";
  conversation.system = system ? text(system, `${at}system`) : null;
  conversation.look = tree?.look ?? null;
  conversation.leaf = leafOf(tree, path);
  return { conversation, messages: path.map(({ oldId: _, ...message }) => /** @type {Message} */ (message)) };
}

/**
 * @param {Fields | null} tree
 * @param {Read[]} messages
 */
function leafOf(tree, messages) {
  const leaf = tree ? messages.find(({ oldId }) => oldId === tree.leaf) : messages.at(-1);
  return (leaf ?? messages.at(-1))?.id ?? null;
}

/** @typedef {Omit<Message, "role"> & {role: "user" | "assistant" | "system", oldId?: unknown}} Read */

/**
 * @param {unknown[]} records
 * @param {string} conversation
 * @param {string} at
 * @returns {Read[]}
 */
function readPath(records, conversation, at) {
  /** @type {string | null} */
  let parent = null;
  const now = Date.now();
  return records.flatMap((record, place) => {
    const where = `${at}[${place}]`;
    const given = fields(record, where);
    if (given.role === "tool") {
      return []; // what a tool of another program gave
    }
    const message = readMessage(given, conversation, where, ["user", "assistant", "system"]);
    message.createdAt = now + place; // their order
    if (message.role !== "system") {
      message.parent = parent;
      parent = message.id;
    }
    return [message];
  });
}

/**
 * @param {Fields} tree
 * @param {string} conversation
 * @param {string} at
 * @returns {Read[]}
 */
function readTree(tree, conversation, at) {
  /** @type {Map<unknown, Read>} */
  const found = new Map();
  const records = list(tree.messages, `${at}messages`).map((record, place) => {
    const where = `${at}messages[${place}]`;
    const given = fields(record, where);
    const id = text(given.id, `${where}.id`);
    if (found.has(id)) {
      throw new BadFile(`${where}.id: another message has the id ${JSON.stringify(id)}.`);
    }
    const message = readMessage(given, conversation, where, ["user", "assistant"]);
    found.set(id, { ...message, oldId: id });
    return { id, parent: given.parent ?? null, where };
  });
  for (const { id, parent, where } of records) {
    if (parent !== null && !found.has(parent)) {
      throw new BadFile(`${where}.parent: there is no message with the id ${JSON.stringify(parent)}.`);
    }
    /** @type {Read} */ (found.get(id)).parent = found.get(parent)?.id ?? null;
  }
  checkCircles([...found.values()], at);
  return [...found.values()];
}

/**
 * @param {Read[]} messages
 * @param {string} at
 */
function checkCircles(messages, at) {
  const parents = new Map(messages.map(({ id, parent }) => [id, parent]));
  const grounded = new Set();
  for (const { id } of messages) {
    const seen = new Set();
    for (let next = /** @type {string | null} */ (id); next && !grounded.has(next); next = parents.get(next) ?? null) {
      if (seen.has(next)) {
        throw new BadFile(`${at}messages: some are their own parents, so there is no first one.`);
      }
      seen.add(next);
    }
    seen.forEach((each) => grounded.add(each));
  }
}

/**
 * @param {Fields} given
 * @param {string} conversation
 * @param {string} where
 * @param {string[]} roles
 * @returns {Read}
 */
function readMessage(given, conversation, where, roles) {
  const role = text(given.role, `${where}.role`);
  if (!roles.includes(role)) {
    throw new BadFile(`${where}.role: should be one of ${roles.join(", ")}, is ${JSON.stringify(role)}.`);
  }
  const status = ["completed", "cancelled", "failed"].find((each) => each === given.status) ?? "completed";
  const message = newMessage({
    id: newId(),
    conversation,
    parent: null,
    role: /** @type {Message["role"]} */ (role),
    content: text(given.content ?? "", `${where}.content`),
    images: list(given.images ?? [], `${where}.images`).map((image) => base64(image, `${where}.images`)),
    thinking: text(given.thinking ?? "", `${where}.thinking`),
    reason: text(given.reason ?? "", `${where}.reason`),
    model: text(given.model ?? "", `${where}.model`),
    toolCalls: list(given.toolCalls ?? [], `${where}.toolCalls`).map((call) => toolCall(call, `${where}.toolCalls`)),
    toolResults: list(given.toolResults ?? [], `${where}.toolResults`).map((result) =>
      toolResult(result, `${where}.toolResults`),
    ),
    error: given.error ? problem(given.error, `${where}.error`) : null,
    usage: numbers(given.usage ?? {}, `${where}.usage`),
    status: /** @type {Message["status"]} */ (status),
  });
  for (const name of /** @type {const} */ (["createdAt", "endedAt", "thinkingBegan", "thinkingEnded"])) {
    const time = given[name];
    message[name] = typeof time === "number" && Number.isFinite(time) ? time : message[name];
  }
  return message;
}

/** @param {Fields} file */
function checkVersion({ version }) {
  if (version !== undefined && version !== VERSION) {
    throw new BadFile(`Its version is ${JSON.stringify(version)}; this page reads version ${VERSION}.`);
  }
}

/**
 * @param {unknown} value
 * @param {string} where
 */
function toolCall(value, where) {
  const call = fields(value, where);
  return {
    id: text(call.id ?? "", `${where}.id`),
    name: text(call.name, `${where}.name`),
    arguments: call.arguments === undefined ? {} : fields(call.arguments, `${where}.arguments`),
    at: typeof call.at === "number" ? call.at : 0,
    ...(typeof call.after === "number" && { after: call.after }),
  };
}

/**
 * @param {unknown} value
 * @param {string} where
 */
function toolResult(value, where) {
  const result = fields(value, where);
  return {
    id: text(result.id ?? "", `${where}.id`),
    name: text(result.name ?? "", `${where}.name`),
    content: text(result.content ?? "", `${where}.content`),
    failed: result.failed === true,
  };
}

/**
 * @param {unknown} value
 * @param {string} where
 */
function problem(value, where) {
  const { code, message, retryable } = fields(value, where);
  return {
    code: text(code ?? "", `${where}.code`),
    message: text(message ?? "", `${where}.message`),
    retryable: retryable === true,
  };
}

/**
 * @param {unknown} value
 * @param {string} where
 */
function numbers(value, where) {
  return Object.fromEntries(Object.entries(fields(value, where)).filter(([, each]) => typeof each === "number"));
}

/**
 * @param {unknown} value
 * @param {string} where
 * @returns {Fields}
 */
function fields(value, where) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new BadFile(`${where}: should be an object.`);
  }
  return /** @type {Fields} */ (value);
}

/**
 * @param {unknown} value
 * @param {string} where
 * @returns {unknown[]}
 */
function list(value, where) {
  if (!Array.isArray(value)) {
    throw new BadFile(`${where}: should be a list.`);
  }
  return value;
}

/**
 * @param {unknown} value
 * @param {string} where
 */
function text(value, where) {
  if (typeof value !== "string") {
    throw new BadFile(`${where}: should be a text.`);
  }
  return value;
}

/**
 * @param {unknown} value
 * @param {string} where
 */
function base64(value, where) {
  const data = text(value, where);
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(data)) {
    throw new BadFile(`${where}: should be base64, without a "data:" address around it.`);
  }
  return data;
}
