/** Draws what a chat has made of the page, and how to undo it. */

import { arrange, fromTemplate, part } from "./dom.js";
import { accentOf, paletteOf } from "./palette.js";

/**
 * @typedef {import("../chat/page-look.js").Button} Button
 * @typedef {import("../chat/page-look.js").PageLook} PageLook
 * @typedef {import("../chat/page-look.js").Part} Part
 */

const bar = part(document, "#look");
/** @type {readonly Part[]} */
const PARTS = ["color", "accent", "size"];
/** Of the text's first size, a step each; the smallest first. */
const SIZES = ["87.5%", "", "112.5%", "125%", "150%"];

/** The page's colours and the size of its text, and a bar of buttons above the composer. */
export class LookView {
  #busy = false;
  /** @type {Map<string, HTMLElement>} */
  #buttons = new Map();
  #onMessage;
  #onRemoveButton;

  /**
   * @param {object} handlers
   * @param {(message: string) => void} handlers.onMessage A button was pressed.
   * @param {(what: Part) => void} handlers.onUndo
   * @param {(label: string) => void} handlers.onRemoveButton
   */
  constructor({ onMessage, onUndo, onRemoveButton }) {
    this.#onMessage = onMessage;
    this.#onRemoveButton = onRemoveButton;
    for (const what of PARTS) {
      part(bar, `#${what}-undo button`).addEventListener("click", () => onUndo(what));
    }
  }

  /**
   * Show a look in place of the one before.
   *
   * @param {PageLook} look
   */
  show(look) {
    showColors(look);
    document.documentElement.style.fontSize = SIZES[look.size + 1] ?? "";
    const had = bar.contains(document.activeElement);
    part(bar, "#color-undo").hidden = look.color === null;
    part(bar, "#accent-undo").hidden = look.accent === null;
    part(bar, "#size-undo").hidden = look.size === 0;
    this.#showButtons(look.buttons);
    bar.hidden = look.isPlain;
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

/** @param {PageLook} look */
function showColors({ color, accent }) {
  const { style } = document.documentElement;
  for (const name of Object.keys(paletteOf("#000000"))) {
    style.removeProperty(`--${name}`);
  }
  style.colorScheme = "";
  if (color !== null) {
    const { scheme, ...light } = paletteOf(color, "light", accent);
    const { scheme: other, ...dark } = paletteOf(color, "dark", accent);
    style.colorScheme = scheme === other ? scheme : "";
    for (const [name, value] of Object.entries(light)) {
      style.setProperty(`--${name}`, `light-dark(${value}, ${Object(dark)[name]})`);
    }
  } else if (accent !== null) {
    style.setProperty("--accent", `light-dark(${accentOf(accent, "light")}, ${accentOf(accent, "dark")})`);
  }
  part(bar, "#color-undo .swatch").style.backgroundColor = color ?? "";
  part(bar, "#accent-undo .swatch").style.backgroundColor = accent ?? "";
}
