/** Draws what a chat has made of the page, and how to undo it. */

import { arrange, fromTemplate, part } from "./dom.js";
import { paletteOf } from "./palette.js";

/**
 * @typedef {import("../chat/page-look.js").Button} Button
 * @typedef {import("../chat/page-look.js").PageLook} PageLook
 */

const bar = part(document, "#look");
const colorUndo = part(document, "#color-undo");

/** The page's colour, and a bar of buttons above the composer. */
export class LookView {
  #busy = false;
  /** @type {Map<string, HTMLElement>} */
  #buttons = new Map();
  #onMessage;
  #onRemoveButton;

  /**
   * @param {object} handlers
   * @param {(message: string) => void} handlers.onMessage A button was pressed.
   * @param {() => void} handlers.onUndoColor
   * @param {(label: string) => void} handlers.onRemoveButton
   */
  constructor({ onMessage, onUndoColor, onRemoveButton }) {
    this.#onMessage = onMessage;
    this.#onRemoveButton = onRemoveButton;
    part(colorUndo, "button").addEventListener("click", onUndoColor);
  }

  /**
   * Show a look in place of the one before.
   *
   * @param {PageLook} look
   */
  show(look) {
    showColor(look.color);
    const had = bar.contains(document.activeElement);
    colorUndo.hidden = look.color === null;
    this.#showButtons(look.buttons);
    bar.hidden = look.color === null && look.buttons.length === 0;
    if (had && !(bar.contains(document.activeElement) && document.activeElement?.checkVisibility())) {
      // What had the focus is gone, or hidden and about to lose it.
      part(document, "#message").focus();
    }
  }

  /**
   * Show whether an answer is coming: the buttons send nothing then.
   *
   * @param {boolean} busy
   */
  setBusy(busy) {
    this.#busy = busy;
    for (const button of document.querySelectorAll("#buttons .chip")) {
      // Not `disabled`, which would take the focus away from the button just pressed.
      button.ariaDisabled = String(busy);
    }
  }

  /** @param {readonly Button[]} wanted */
  #showButtons(wanted) {
    const shown = new Map(wanted.map((button) => [JSON.stringify(button), button]));
    this.#buttons = new Map(
      [...shown].map(([key, button]) => [key, this.#buttons.get(key) ?? this.#button(button)]),
    );
    arrange(part(bar, "#buttons"), [...this.#buttons.values()]);
  }

  /** @param {Button} button */
  #button({ label, message }) {
    const made = fromTemplate("button-template");
    const press = part(made, ".chip");
    press.textContent = label;
    press.title = message === label ? "" : message;
    press.ariaDisabled = String(this.#busy);
    press.addEventListener("click", () => this.#onMessage(message));
    const remove = part(made, ".remove");
    remove.ariaLabel = `Remove the button ${label}`;
    remove.addEventListener("click", () => this.#onRemoveButton(label));
    return made;
  }
}

/** @param {string | null} color "#RRGGBB"; null gives the page its own colours back. */
function showColor(color) {
  const { style } = document.documentElement;
  const { scheme, ...colors } = paletteOf(color ?? "#000000");
  style.colorScheme = color === null ? "" : scheme;
  for (const [name, value] of Object.entries(colors)) {
    if (color === null) {
      style.removeProperty(`--${name}`);
    } else {
      style.setProperty(`--${name}`, value);
    }
  }
  part(document, "#color-undo .swatch").style.backgroundColor = color ?? "";
}
