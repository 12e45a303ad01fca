/**
 * What a person has set for all chats: checked as it is entered, kept in the browser, and turned into
 * fields of `POST /chat`.
 *
 * Every value is the text that was entered; "" is "not set", and what is not set is not sent, so that
 * Ollama and the model decide.
 *
 * @typedef {import("./models.js").Model} Model
 *
 * @typedef {object} Option A field of a request that is a number or a text.
 * @property {string} label
 * @property {string} hint What it does.
 * @property {string} [unset] What holds where it is not set.
 * @property {boolean} [lines] Whether it is one value a line.
 * @property {(text: string) => unknown} read From the text to the value.
 */

import { isLeveled, isThinking } from "./models.js";

const KEY = "dripline.settings";

/** A value that cannot be; the message is a sentence that says what can. */
export class BadSetting extends Error {}

/**
 * What Ollama takes in `options`, by Ollama's names, in the order in which it is shown.
 *
 * @type {Readonly<Record<string, Option>>}
 */
export const OPTIONS = {
  temperature: {
    label: "Temperature",
    hint: "Higher values give more varied answers; 0 gives the same answer each time.",
    unset: "0.8",
    read: number("Temperature", 0, 5),
  },
  top_p: {
    label: "Top P",
    hint: "Only the likeliest tokens, up to this total probability, are considered.",
    unset: "0.9",
    read: number("Top P", 0, 1),
  },
  top_k: {
    label: "Top K",
    hint: "Only this many of the likeliest tokens are considered.",
    unset: "40",
    read: whole("Top K", 0, 1_000_000),
  },
  repeat_penalty: {
    label: "Repeat penalty",
    hint: "Values above 1 make repetition less likely.",
    unset: "1.1",
    read: number("Repeat penalty", 0, 10),
  },
  seed: {
    label: "Seed",
    hint: "The same seed and question give the same answer.",
    unset: "random",
    read: whole("Seed", -(2 ** 31), 2 ** 31 - 1),
  },
  num_ctx: {
    label: "Context length",
    hint: "How many tokens the model can see at once; more needs more memory.",
    unset: "server default",
    read: whole("Context length", 1, 100_000_000),
  },
  num_predict: {
    label: "Answer limit",
    hint: "In tokens; -1 means no limit.",
    unset: "no limit",
    read: whole("Answer limit", -2, 100_000_000),
  },
  stop: {
    label: "Stop at",
    hint: "The answer ends before any of these texts. One per line.",
    lines: true,
    read: (text) => text.split("\n").filter((line) => line !== ""),
  },
};

/** @type {Option} */
export const KEEP_ALIVE = {
  label: "Keep in memory",
  hint: "How long the model stays in memory after an answer, such as 30m or 2h; 0 unloads it, -1 keeps it.",
  unset: "5m",
  read: duration,
};

/** What a chat can have of its own, by name. */
export const CHAT_OPTIONS = [...Object.keys(OPTIONS), "keep_alive", "think"];

/** The values of what is chosen from a few. */
export const CHOICES = {
  think: ["", "off", "on", "low", "medium", "high"],
  ui_control: ["", "off"],
  enter: ["", "send", "line"],
  notify: ["", "on"],
  appearance: ["", "light", "dark"],
  sidebar: ["", "hidden"],
};

/** @type {Readonly<Record<string, (text: string) => unknown>>} */
const READERS = {
  ...Object.fromEntries(Object.entries(OPTIONS).map(([name, { read }]) => [name, read])),
  keep_alive: KEEP_ALIVE.read,
  ...Object.fromEntries(Object.entries(CHOICES).map(([name, words]) => [name, oneOf(words)])),
  system: (text) => text,
  model: (text) => text,
};

/** What is set. Each change is kept at once; where the browser keeps nothing, until the page closes. */
export class Preferences {
  /** @type {Map<string, string>} */
  #texts = new Map();
  #storage;

  /** @param {Pick<Storage, "getItem" | "setItem"> | null} storage Where they are kept. */
  constructor(storage) {
    this.#storage = storage;
    this.reload();
  }

  /** Read again what is kept: another tab may have changed it. */
  reload() {
    this.#texts = new Map(read(this.#storage).filter(isValid));
  }

  /**
   * Return what is set, as it was entered; "" where nothing is.
   *
   * @param {string} name
   */
  get(name) {
    return this.#texts.get(name) ?? "";
  }

  /**
   * Set a value; "" unsets it.
   *
   * @param {string} name
   * @param {string} text
   * @throws {BadSetting} It is not a value that this can have; what was set before stays.
   */
  set(name, text) {
    if (text.trim() === "") {
      this.#texts.delete(name);
    } else {
      READERS[name]?.(text);
      this.#texts.set(name, text);
    }
    this.#keep();
  }

  /**
   * Set these values, and unset all others; those that cannot be are left out.
   *
   * @param {Record<string, string>} texts
   */
  replace(texts) {
    this.#texts = new Map(Object.entries(texts).filter(isValid));
    this.#keep();
  }

  /** Unset everything but what shows without opening the settings, and the appearance. */
  reset() {
    const kept = ["model", "appearance", "sidebar"];
    this.#texts = new Map([...this.#texts].filter(([name]) => kept.includes(name)));
    this.#keep();
  }

  /**
   * Return what is set of a chat's options, here or else in others, as it was entered.
   *
   * @param {Preferences} others
   */
  over(others) {
    const entries = CHAT_OPTIONS.map((name) => [name, this.get(name) || others.get(name)]);
    return /** @type {Record<string, string>} */ (Object.fromEntries(entries.filter(([, text]) => text)));
  }

  /**
   * Return what goes into the next `POST /chat`, beside its messages and model.
   *
   * @param {Model | undefined} model What is to answer.
   * @param {Preferences} own The chat's own, which come first.
   * @returns {Record<string, unknown>}
   */
  requestFields(model, own) {
    const set = own.over(this);
    const names = Object.keys(OPTIONS).filter((name) => set[name]);
    const options = Object.fromEntries(names.map((name) => [name, READERS[name]?.(set[name] ?? "")]));
    const keepAlive = set.keep_alive;
    const think = thinkField(set.think ?? "", model);
    return {
      ...(names.length > 0 && { options }),
      ...(keepAlive && { keep_alive: duration(keepAlive) }),
      ...(think !== undefined && { think }),
      // Said each time: only who says that it can obey is offered the page's tools.
      ui_control: this.get("ui_control") || "auto",
    };
  }

  #keep() {
    try {
      this.#storage?.setItem(KEY, JSON.stringify(Object.fromEntries(this.#texts)));
    } catch {
      // Full, or not allowed: they hold until the page closes.
    }
  }
}

/**
 * Return which values of `think` a model has, besides "" for its own: on and off, or levels, or none.
 *
 * @param {Model | undefined} model
 */
export function thinkChoices(model) {
  if (!model || !isThinking(model)) {
    return [];
  }
  return isLeveled(model) ? ["low", "medium", "high"] : ["on", "off"];
}

/**
 * @param {string} choice
 * @param {Model | undefined} model
 * @returns {boolean | string | undefined} Undefined: nothing is sent.
 */
function thinkField(choice, model) {
  if (!thinkChoices(model).includes(choice)) {
    return undefined; // set for another model
  }
  return choice === "on" ? true : choice === "off" ? false : choice;
}

/**
 * @param {Pick<Storage, "getItem"> | null} storage
 * @returns {[string, string][]}
 */
function read(storage) {
  try {
    return Object.entries(Object(JSON.parse(storage?.getItem(KEY) ?? "{}")));
  } catch {
    return []; // not JSON, or not allowed
  }
}

/**
 * Whether what was kept can still be set: it may be of another version.
 *
 * @param {[name: string, text: unknown]} entry
 */
function isValid([name, text]) {
  if (typeof text !== "string" || !Object.hasOwn(READERS, name)) {
    return false;
  }
  try {
    READERS[name]?.(text);
    return true;
  } catch (error) {
    if (error instanceof BadSetting) {
      return false;
    }
    throw error;
  }
}

/**
 * @param {string} label
 * @param {number} least
 * @param {number} most
 * @returns {(text: string) => number}
 */
function number(label, least, most) {
  return (text) => {
    // Number() takes "", "0x10" and "Infinity" too.
    const value = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text.trim()) ? Number(text) : NaN;
    if (!(value >= least && value <= most)) {
      throw new BadSetting(`${label} must be a number from ${least} to ${most}.`);
    }
    return value;
  };
}

/**
 * @param {string} label
 * @param {number} least
 * @param {number} most
 * @returns {(text: string) => number}
 */
function whole(label, least, most) {
  return (text) => {
    const value = /^[-+]?\d+$/.test(text.trim()) ? Number(text) : NaN;
    if (!(value >= least && value <= most)) {
      const range = `from ${least.toLocaleString("en")} to ${most.toLocaleString("en")}`;
      throw new BadSetting(`${label} must be a whole number ${range}.`);
    }
    return value;
  };
}

/**
 * Return a duration as Ollama takes it: seconds, or a text such as "1h30m".
 *
 * @param {string} text
 */
function duration(text) {
  const trimmed = text.trim();
  if (/^-?\d+(\.\d+)?$/.test(trimmed)) {
    return Number(trimmed);
  }
  if (!/^-?(\d+(\.\d+)?(ms|s|m|h))+$/.test(trimmed)) {
    throw new BadSetting("Keep in memory must be a time such as 30s, 10m or 1h30m, or 0, or -1 for ever.");
  }
  return trimmed;
}

/**
 * @param {string[]} words
 * @returns {(text: string) => string}
 */
function oneOf(words) {
  return (text) => {
    if (!words.includes(text)) {
      throw new BadSetting(`Choose one of: ${words.filter(Boolean).join(", ")}.`);
    }
    return text;
  };
}
