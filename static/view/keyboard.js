/** Hears the page's shortcuts, and shows the sheet that lists them. */

import { fromTemplate, isComposing, part } from "./dom.js";
import { keyNames, SHORTCUTS, shortcutOf } from "./shortcuts.js";

/** @typedef {import("./shortcuts.js").ShortcutId} ShortcutId */

/** Whether Command stands for Control. */
const MAC = /Mac|iP(hone|ad|od)/.test(navigator.platform);

const sheet = /** @type {HTMLDialogElement} */ (part(document, "#help"));

/**
 * Have shortcuts do something. One without a handler, or whose handler returns false because there is
 * nothing to do, is left to the browser.
 *
 * @param {Partial<Record<ShortcutId, () => boolean | void>>} handlers
 */
export function listenToKeys(handlers) {
  document.addEventListener("keydown", (event) => {
    if (isComposing(event) || event.defaultPrevented) {
      return; // an input method's, or somebody's who was nearer
    }
    const id = shortcutOf(event, MAC, isTyping(event.target));
    // A dialog has the keyboard to itself; Escape closes it.
    if (id && !document.querySelector("dialog[open]") && handlers[id] && handlers[id]() !== false) {
      event.preventDefault();
    }
  });
}

/** @param {EventTarget | null} target */
function isTyping(target) {
  return target instanceof HTMLElement && target.matches("input, textarea, select, [contenteditable]");
}

/**
 * Show which keys do what.
 *
 * @param {boolean} enterSends Whether Enter sends, or starts a new line.
 */
export function showHelp(enterSends) {
  const shortcuts = SHORTCUTS.map((each) =>
    each.id === "send" && !enterSends ? { ...each, keys: ["Mod", "Enter"] } : each,
  );
  part(sheet, "tbody").replaceChildren(...shortcuts.map(drawn));
  sheet.showModal();
}

/** @param {import("./shortcuts.js").Shortcut} shortcut */
function drawn(shortcut) {
  const row = fromTemplate("shortcut-template");
  part(row, ".does").textContent = [shortcut.label, shortcut.where].filter(Boolean).join(", ");
  const keys = keyNames(shortcut, MAC).map((name) => {
    const key = document.createElement("kbd");
    key.textContent = name;
    return key;
  });
  part(row, ".keys").append(...keys);
  return row;
}
