/**
 * Conversations as JSON files, written and read.
 *
 * A file has the shown path as `POST /chat` takes it, which is what other programs want, and under
 * `tree` all there is. A file of several has them in `conversations`.
 */

import { newConversation, requestMessages, titleOf, Tree } from "../conversation.js";
import { idOf } from "../ids.js";
import { BadJson, checkList, checkObject, checkText, checkWord, parseJson } from "../json-check.js";
import { newMessage } from "../message.js";

/**
 * @typedef {import("../message.js").Message} Message
 * @typedef {import("../conversation.js").Whole} Whole
 * @typedef {import("../json-check.js").Fields} Fields
 */

const ONE = "dripline-conversation";
const SEVERAL = "dripline-conversations";
const VERSION = 1;
const STATUSES = /** @type {const} */ (["completed", "cancelled", "failed"]);

/** @typedef {import("../json-check.js").Shape} Shape */
/** @type {Shape} */
const FILE = { title: "string?", version: "number?" };
/** @type {Shape} */
const MESSAGE = {
  role: "string",
  content: "string?",
  images: "list?",
  alts: "list?",
  files: "list?",
  thinking: "string?",
  reason: "string?",
  model: "string?",
  toolCalls: "list?",
  toolResults: "list?",
  error: "object?",
  usage: "object?",
};
/** @type {Shape} */
const KEPT_FILE = { name: "string", text: "string", pages: "number?" };
/** @type {Shape} */
const TOOL_CALL = { id: "string?", name: "string", arguments: "object?" };
/** @type {Shape} */
const TOOL_RESULT = { id: "string?", name: "string?", content: "string?" };
/** @type {Shape} */
const PROBLEM = { code: "string?", message: "string?" };

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
  const { id, title, system, options, leaf, look, createdAt, updatedAt } = conversation;
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
    tree: { id, leaf, look, system, options, createdAt, updatedAt, messages: messages.map(recordOf) },
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
 * Return the conversations of a file. Reading it again gives the same ids, so that doubles are known.
 *
 * @param {string} text
 * @returns {Whole[]}
 * @throws {BadJson}
 */
export function fromJson(text) {
  const file = checkObject(parseJson(text), "The file");
  if (file.format === SEVERAL) {
    checkVersion(file);
    const several = checkList(file.conversations, "conversations");
    return several.map((one, place) => read(checkObject(one, `conversations[${place}]`), `conversations[${place}]`));
  }
  if (file.format !== ONE && !Array.isArray(file.messages)) {
    throw new BadJson(`It is no exported chat: its "format" is not "${ONE}" and it has no "messages".`);
  }
  return [read(file, "")];
}

/**
 * @param {Fields} file
 * @param {string} at Where it is in the file, for messages.
 * @returns {Whole}
 */
function read(file, at) {
  checkVersion(checkObject(file, at, FILE));
  const conversation = newConversation({ id: idOf(JSON.stringify([file.title, file.system, file.messages])) });
  const tree = file.tree === undefined ? null : checkObject(file.tree, within(at, "tree"));
  if (tree) {
    conversation.id = isId(tree.id) ? tree.id : idOf(JSON.stringify(tree));
    conversation.createdAt = numberOf(tree.createdAt) || conversation.createdAt;
    conversation.updatedAt = numberOf(tree.updatedAt) || conversation.createdAt;
  }
  const messages = tree
    ? readTree(tree, conversation.id, within(at, "tree"))
    : readPath(checkList(file.messages, within(at, "messages")), conversation.id, within(at, "messages"));
  const path = messages.filter(({ role }) => role !== "system");
  const system = tree ? tree.system : file.system || messages.find(({ role }) => role === "system")?.content;
  conversation.title =
    textOf(file.title) ||
    titleOf(path.find(({ role }) => role === "user")?.content ?? "") ||
    "Imported chat";
  conversation.system = system ? checkText(system, within(at, "system")) : null;
  conversation.model = textOf(file.model);
  conversation.options = texts(tree?.options ?? {}, within(at, "tree.options"));
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
    const given = checkObject(record, where, MESSAGE);
    if (given.role === "tool") {
      return []; // what a tool of another program gave
    }
    const message = readMessage(given, conversation, where, ["user", "assistant", "system"]);
    message.id = `${conversation}-${place}`;
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
  const records = checkList(tree.messages, `${at}.messages`).map((record, place) => {
    const where = `${at}.messages[${place}]`;
    const given = checkObject(record, where, { ...MESSAGE, id: "string" });
    const id = textOf(given.id);
    if (found.has(id)) {
      throw new BadJson(`${where}.id: another message has the id ${JSON.stringify(id)}.`);
    }
    const message = readMessage(given, conversation, where, ["user", "assistant"]);
    message.id = isId(tree.id) && isId(id) ? id : `${conversation}-${place}`;
    found.set(id, { ...message, oldId: id });
    return { id, parent: given.parent ?? null, where };
  });
  for (const { id, parent, where } of records) {
    if (parent !== null && !found.has(parent)) {
      throw new BadJson(`${where}.parent: there is no message with the id ${JSON.stringify(parent)}.`);
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
        throw new BadJson(`${at}.messages: some are their own parents, so there is no first one.`);
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
 * @param {Read["role"][]} roles
 * @returns {Read}
 */
function readMessage(given, conversation, where, roles) {
  const role = checkWord(given.role, roles, `${where}.role`);
  const status = STATUSES.find((each) => each === given.status) ?? "completed";
  /** @template T @param {string} name @param {(value: unknown, where: string) => T} read */
  const listOf = (name, read) =>
    /** @type {unknown[]} */ (given[name] ?? []).map((one) => read(one, `${where}.${name}`));
  const message = newMessage({
    conversation,
    parent: null,
    role: /** @type {Message["role"]} */ (role),
    content: textOf(given.content),
    images: listOf("images", base64),
    alts: listOf("alts", checkText),
    files: listOf("files", keptFile),
    thinking: textOf(given.thinking),
    reason: textOf(given.reason),
    model: textOf(given.model),
    toolCalls: listOf("toolCalls", toolCall),
    toolResults: listOf("toolResults", toolResult),
    error: given.error ? problem(given.error, `${where}.error`) : null,
    usage: numbers(given.usage ?? {}, `${where}.usage`),
    status,
  });
  for (const name of /** @type {const} */ (["createdAt", "endedAt", "thinkingBegan", "thinkingEnded"])) {
    message[name] = numberOf(given[name]) || message[name];
  }
  return message;
}

/**
 * @param {string} at
 * @param {string} name
 */
function within(at, name) {
  return at ? `${at}.${name}` : name;
}

/** @param {Fields} file */
function checkVersion({ version }) {
  if (version !== undefined && version !== VERSION) {
    throw new BadJson(`Its version is ${JSON.stringify(version)}; this page reads version ${VERSION}.`);
  }
}

/**
 * @param {unknown} value
 * @param {string} where
 */
function toolCall(value, where) {
  const call = checkObject(value, where, TOOL_CALL);
  return {
    id: textOf(call.id),
    name: textOf(call.name),
    arguments: /** @type {object} */ (call.arguments ?? {}),
    at: numberOf(call.at),
    ...(typeof call.after === "number" && { after: call.after }),
  };
}

/**
 * @param {unknown} value
 * @param {string} where
 */
function keptFile(value, where) {
  const { name, text, pages } = checkObject(value, where, KEPT_FILE);
  return { name: textOf(name), text: textOf(text), ...(typeof pages === "number" && { pages }) };
}

/**
 * @param {unknown} value
 * @param {string} where
 */
function toolResult(value, where) {
  const { id, name, content, failed } = checkObject(value, where, TOOL_RESULT);
  return { id: textOf(id), name: textOf(name), content: textOf(content), failed: failed === true };
}

/**
 * @param {unknown} value
 * @param {string} where
 */
function problem(value, where) {
  const { code, message, retryable } = checkObject(value, where, PROBLEM);
  return { code: textOf(code), message: textOf(message), retryable: retryable === true };
}

/**
 * @param {unknown} value
 * @param {string} where
 * @returns {Record<string, string>}
 */
function texts(value, where) {
  const entries = Object.entries(checkObject(value, where));
  return Object.fromEntries(entries.map(([name, text]) => [name, checkText(text, `${where}.${name}`)]));
}

/**
 * @param {unknown} value
 * @param {string} where
 */
function numbers(value, where) {
  return Object.fromEntries(Object.entries(checkObject(value, where)).filter(([, each]) => typeof each === "number"));
}

/**
 * @param {unknown} value
 * @param {string} where
 */
function base64(value, where) {
  const data = checkText(value, where);
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(data)) {
    throw new BadJson(`${where}: should be base64, without a "data:" address around it.`);
  }
  return data;
}

/**
 * Whether something may be an id here: a file may have any.
 *
 * @param {unknown} id
 * @returns {id is string}
 */
function isId(id) {
  return typeof id === "string" && /^[\w-]{8,80}$/.test(id);
}

/** @param {unknown} field A text that has been checked, or was left out. */
function textOf(field) {
  return typeof field === "string" ? field : "";
}

/** @param {unknown} field */
function numberOf(field) {
  return typeof field === "number" && Number.isFinite(field) ? field : 0;
}
