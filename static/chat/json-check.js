/**
 * Checks JSON that comes from elsewhere: from the server, or from a file that somebody chose.
 *
 * @typedef {"string" | "number" | "boolean" | "object" | "list"} Kind
 * @typedef {Record<string, unknown>} Fields
 * @typedef {Readonly<Record<string, Kind | `${Kind}?`>>} Shape The fields that are read, by name, and
 *   what each is. "?" marks a field that may be absent or null. Further fields are ignored, so that
 *   the other side can grow.
 */

/** @type {Readonly<Record<Kind, string>>} */
const NAMES = {
  string: "a text",
  number: "a number",
  boolean: "true or false",
  object: "an object",
  list: "a list",
};

/** JSON that is not what was agreed; the message begins with the place: `messages[2].content: ...`. */
export class BadJson extends Error {}

/**
 * Read JSON.
 *
 * @param {string} text
 * @returns {unknown}
 * @throws {BadJson}
 */
export function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new BadJson(`It is not JSON: ${error instanceof Error ? error.message : error}`);
  }
}

/**
 * Return a value as an object whose fields have been checked.
 *
 * @param {unknown} value
 * @param {string} where The value's place, for messages; "" is the outermost one's.
 * @param {Shape} [shape]
 * @returns {Fields}
 * @throws {BadJson}
 */
export function checkObject(value, where, shape = {}) {
  const fields = /** @type {Fields} */ (check(value, "object", where || "It"));
  // Runs for each event of a stream: no list of entries is made.
  for (const name in shape) {
    const kind = /** @type {string} */ (shape[name]);
    const isOptional = kind.endsWith("?");
    const field = fields[name] ?? null;
    if (field !== null || !isOptional) {
      const wanted = /** @type {Kind} */ (isOptional ? kind.slice(0, -1) : kind);
      if (!isOf(field, wanted)) {
        check(field, wanted, where ? `${where}.${name}` : name);
      }
    }
  }
  return fields;
}

/**
 * Return a value as a list.
 *
 * @param {unknown} value
 * @param {string} where
 * @returns {unknown[]}
 * @throws {BadJson}
 */
export function checkList(value, where) {
  return /** @type {unknown[]} */ (check(value, "list", where));
}

/**
 * Return a value as a text.
 *
 * @param {unknown} value
 * @param {string} where
 * @returns {string}
 * @throws {BadJson}
 */
export function checkText(value, where) {
  return /** @type {string} */ (check(value, "string", where));
}

/**
 * Return a value as one of a few texts.
 *
 * @template {string} T
 * @param {unknown} value
 * @param {readonly T[]} words
 * @param {string} where
 * @returns {T}
 * @throws {BadJson}
 */
export function checkWord(value, words, where) {
  const found = words.find((word) => word === value);
  if (found === undefined) {
    throw new BadJson(`${where}: should be one of ${words.join(", ")}, is ${JSON.stringify(value)}.`);
  }
  return found;
}

/**
 * @param {unknown} value
 * @param {Kind} kind
 * @param {string} where
 */
function check(value, kind, where) {
  if (!isOf(value, kind)) {
    throw new BadJson(`${where}: should be ${NAMES[kind]}.`);
  }
  return value;
}

/**
 * @param {unknown} value
 * @param {Kind} kind
 */
function isOf(value, kind) {
  if (kind === "list") {
    return Array.isArray(value);
  }
  return typeof value === kind && value !== null && !(kind === "object" && Array.isArray(value));
}
