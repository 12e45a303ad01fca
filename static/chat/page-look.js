/** What a chat has made of the page: its colour and its buttons. */

import { isAllowed } from "./events.js";

/**
 * @typedef {import("./events.js").AddButton} AddButton
 * @typedef {import("./events.js").UiControl} UiControl
 * @typedef {{label: string, message: string}} Button
 * @typedef {{colors: string[], buttons: Button[]}} LookRecord As it is kept with the conversation.
 */

const MAX_COLORS = 20;
const MAX_BUTTONS = 12;

/** Colours one after another, of which the last one shows, and buttons. Each can be undone. */
export class PageLook {
  /** @type {string[]} "#RRGGBB" */
  #colors = [];
  /** @type {Button[]} */
  #buttons = [];

  /**
   * Return the look that was kept; what is not allowed in it is left out, as it may come from a file.
   *
   * @param {unknown} record What `toJSON` returned, or anything.
   */
  static from(record) {
    const look = new PageLook();
    const { colors, buttons } = Object(record);
    for (const color of Array.isArray(colors) ? colors : []) {
      look.#addIfAllowed({ action: "change_theme", color });
    }
    for (const button of Array.isArray(buttons) ? buttons : []) {
      look.#addIfAllowed({ ...Object(button), action: "add_button" });
    }
    return look;
  }

  /** The colour that shows, "#RRGGBB"; null where the page has its own. */
  get color() {
    return this.#colors.at(-1) ?? null;
  }

  /** @returns {readonly Button[]} */
  get buttons() {
    return this.#buttons;
  }

  /** @param {UiControl} control */
  add(control) {
    if (control.action === "change_theme") {
      if (control.color !== this.color) {
        this.#colors = [...this.#colors, control.color].slice(-MAX_COLORS);
      }
    } else {
      const { label, message } = control;
      this.removeButton(label);
      this.#buttons = [...this.#buttons, { label, message }].slice(-MAX_BUTTONS);
    }
  }

  /** Go back to the colour before. */
  undoColor() {
    this.#colors = this.#colors.slice(0, -1);
  }

  /** @param {string} label */
  removeButton(label) {
    this.#buttons = this.#buttons.filter((button) => button.label !== label);
  }

  /** @returns {LookRecord} */
  toJSON() {
    return { colors: this.#colors, buttons: this.#buttons };
  }

  /** @param {Record<string, unknown>} data */
  #addIfAllowed(data) {
    if (isAllowed(data)) {
      this.add(/** @type {UiControl} */ (/** @type {unknown} */ (data)));
    }
  }
}
