/**
 * Named ways to answer, which a chat can take: a system prompt, a model and options.
 *
 * @typedef {object} Preset
 * @property {string} name
 * @property {string} system
 * @property {string} model "" leaves the chat's.
 * @property {Record<string, string>} options As they were entered, by name.
 */

import { checkList, checkObject, checkText } from "./json-check.js";

const KEY = "dripline.presets";

/** The presets, by name. Each change is kept at once; where the browser keeps nothing, until the page closes. */
export class Presets {
  /** @type {Map<string, Preset>} */
  #presets = new Map();
  #storage;

  /** @param {Pick<Storage, "getItem" | "setItem"> | null} storage */
  constructor(storage) {
    this.#storage = storage;
    this.reload();
  }

  /** Read again what is kept: another tab may have changed it. */
  reload() {
    this.#presets = new Map(read(this.#storage).map((preset) => [preset.name, preset]));
  }

  /** All, in the order of their names. */
  get all() {
    return [...this.#presets.values()].sort((one, other) => one.name.localeCompare(other.name));
  }

  /** @param {string} name */
  get(name) {
    return this.#presets.get(name);
  }

  /** @param {Preset} preset Takes the place of one of the same name. */
  save(preset) {
    this.#presets.set(preset.name, preset);
    this.#keep();
  }

  /** @param {string} name */
  remove(name) {
    this.#presets.delete(name);
    this.#keep();
  }

  #keep() {
    try {
      this.#storage?.setItem(KEY, JSON.stringify([...this.#presets.values()]));
    } catch {
      // Full, or not allowed: they hold until the page closes.
    }
  }
}

/**
 * @param {Pick<Storage, "getItem"> | null} storage
 * @returns {Preset[]}
 */
function read(storage) {
  try {
    const kept = checkList(JSON.parse(storage?.getItem(KEY) ?? "[]"), "presets");
    return kept.map((preset) => {
      const fields = checkObject(preset, "presets", { name: "string", system: "string", model: "string" });
      const options = Object.entries(checkObject(fields.options, "options"));
      const texts = options.map(([name, text]) => [name, checkText(text, name)]);
      return /** @type {Preset} */ ({ ...fields, options: Object.fromEntries(texts) });
    });
  } catch {
    return []; // not JSON, of another version, or not allowed
  }
}
