/** What a chat has made of the page: its colours, the size of its text, its buttons. */

import { isAllowed } from "./events.js";

/**
 * @typedef {import("./events.js").UiControl} UiControl
 * @typedef {{label: string, message: string}} Button
 * @typedef {"color" | "accent" | "size"} Part What has one value, and values before it.
 * @typedef {{part: Part} | {added: string} | {removed: Button}} Change What can be undone.
 * @typedef {object} LookRecord As it is kept with the conversation.
 * @property {string[]} colors "#RRGGBB" each, of which the last one shows.
 * @property {string[]} accents
 * @property {number[]} sizes Steps from the first size.
 * @property {Button[]} buttons
 * @property {Change[]} changes
 */

const MAX_CHANGES = 20;
const MAX_BUTTONS = 12;
const SMALLEST = -1;
const LARGEST = 3;

/** Colours, sizes and buttons. Each can be undone. */
export class PageLook {
  /** @type {string[]} */
  #colors = [];
  /** @type {string[]} */
  #accents = [];
  /** @type {number[]} */
  #sizes = [];
  /** @type {Button[]} */
  #buttons = [];
  /** @type {Change[]} In their order. */
  #changes = [];

  /**
   * Return the look that was kept; what is not allowed in it is left out, as it may come from a file.
   *
   * @param {unknown} record What `toJSON` returned, or anything.
   */
  static from(record) {
    const look = new PageLook();
    const { colors, accents, sizes, buttons, changes } = Object(record);
    for (const color of listOf(colors)) {
      look.#addIfAllowed({ action: "change_theme", color });
    }
    for (const color of listOf(accents)) {
      look.#addIfAllowed({ action: "change_accent", color });
    }
    look.#sizes = listOf(sizes).filter(isStep).slice(-MAX_CHANGES);
    for (const button of listOf(buttons)) {
      look.#addIfAllowed({ ...Object(button), action: "add_button" });
    }
    if (Array.isArray(changes)) {
      look.#changes = changes.filter(isChange).slice(-MAX_CHANGES);
    }
    return look;
  }

  /** The colour that the page has a tint of, "#RRGGBB"; null where it has its own. */
  get color() {
    return this.#colors.at(-1) ?? null;
  }

  /** The colour of what can be pressed; null where it goes with the page's. */
  get accent() {
    return this.#accents.at(-1) ?? null;
  }

  /** The steps from the text's first size. */
  get size() {
    return this.#sizes.at(-1) ?? 0;
  }

  /** @returns {readonly Button[]} */
  get buttons() {
    return this.#buttons;
  }

  /** Whether the page looks as it does at first. */
  get isPlain() {
    return this.color === null && this.accent === null && this.size === 0 && this.#buttons.length === 0;
  }

  /** @param {UiControl} control */
  add(control) {
    switch (control.action) {
      case "change_theme":
        if (control.color !== this.color) {
          this.#colors = [...this.#colors, control.color].slice(-MAX_CHANGES);
          this.#note({ part: "color" });
        }
        break;
      case "change_accent":
        if (control.color !== this.accent) {
          this.#accents = [...this.#accents, control.color].slice(-MAX_CHANGES);
          this.#note({ part: "accent" });
        }
        break;
      case "change_text_size":
        this.#resize(control.size);
        break;
      case "add_button": {
        const { label, message } = control;
        this.#drop(label);
        this.#buttons = [...this.#buttons, { label, message }].slice(-MAX_BUTTONS);
        this.#note({ added: label });
        break;
      }
      case "remove_button":
        this.removeButton(control.label);
        break;
      case "undo_change":
        if (control.what === "all") {
          this.#clear();
        } else {
          this.#undoLast();
        }
    }
  }

  /**
   * Go back to the value before.
   *
   * @param {Part} part
   */
  undo(part) {
    this.#takeBack(part);
    const place = this.#changes.findLastIndex((change) => "part" in change && change.part === part);
    this.#changes = this.#changes.filter((_, index) => index !== place);
  }

  /** @param {string} label In any case: whoever says it aloud has none. */
  removeButton(label) {
    const removed = this.#buttons.filter((button) => isSame(button.label, label));
    this.#drop(label);
    removed.forEach((button) => this.#note({ removed: button }));
  }

  /** @returns {LookRecord} */
  toJSON() {
    return {
      colors: this.#colors,
      accents: this.#accents,
      sizes: this.#sizes,
      buttons: this.#buttons,
      changes: this.#changes,
    };
  }

  /** @param {"smaller" | "larger" | "normal"} wanted */
  #resize(wanted) {
    const step = wanted === "normal" ? 0 : this.size + (wanted === "larger" ? 1 : -1);
    const size = Math.min(LARGEST, Math.max(SMALLEST, step));
    if (size !== this.size) {
      this.#sizes = [...this.#sizes, size].slice(-MAX_CHANGES);
      this.#note({ part: "size" });
    }
  }

  #undoLast() {
    const change = this.#changes.at(-1);
    this.#changes = this.#changes.slice(0, -1);
    if (!change) {
      return;
    }
    if ("part" in change) {
      this.#takeBack(change.part);
    } else if ("added" in change) {
      this.#buttons = this.#buttons.filter(({ label }) => label !== change.added);
    } else {
      this.#buttons = [...this.#buttons, change.removed].slice(-MAX_BUTTONS);
    }
  }

  /** @param {Part} part */
  #takeBack(part) {
    switch (part) {
      case "color":
        this.#colors = this.#colors.slice(0, -1);
        break;
      case "accent":
        this.#accents = this.#accents.slice(0, -1);
        break;
      case "size":
        this.#sizes = this.#sizes.slice(0, -1);
    }
  }

  #clear() {
    [this.#colors, this.#accents, this.#sizes] = [[], [], []];
    [this.#buttons, this.#changes] = [[], []];
  }

  /** @param {string} label */
  #drop(label) {
    this.#buttons = this.#buttons.filter((button) => !isSame(button.label, label));
    this.#changes = this.#changes.filter((change) => !("added" in change && isSame(change.added, label)));
  }

  /** @param {Change} change */
  #note(change) {
    this.#changes = [...this.#changes, change].slice(-MAX_CHANGES);
  }

  /** @param {Record<string, unknown>} data */
  #addIfAllowed(data) {
    if (isAllowed(data)) {
      this.add(/** @type {UiControl} */ (/** @type {unknown} */ (data)));
    }
  }
}

/** @param {unknown} value */
function listOf(value) {
  return Array.isArray(value) ? value : [];
}

/** @param {unknown} value */
function isStep(value) {
  return Number.isInteger(value) && Number(value) >= SMALLEST && Number(value) <= LARGEST;
}

/**
 * @param {unknown} value
 * @returns {value is Change}
 */
function isChange(value) {
  const { part, added, removed } = Object(value);
  return (
    ["color", "accent", "size"].includes(part) ||
    typeof added === "string" ||
    isAllowed({ ...Object(removed), action: "add_button" })
  );
}

/**
 * @param {string} one
 * @param {string} other
 */
function isSame(one, other) {
  return one.toLocaleLowerCase() === other.toLocaleLowerCase();
}
