/**
 * The keys that do something anywhere on the page, and what they are called.
 *
 * No letter works by itself: whoever types, or speaks to the computer, would press it unawares. The
 * one exception is "?", and it works only outside of text fields.
 *
 * @typedef {"send" | "stop" | "focus-message" | "edit-last" | "regenerate" | "copy-answer"
 *   | "new-chat" | "search" | "toggle-sidebar" | "settings" | "help"} ShortcutId
 *
 * @typedef {object} Shortcut
 * @property {ShortcutId} id
 * @property {string} label What it does.
 * @property {string[]} keys Modifiers, then the key as `KeyboardEvent.key` names it. "Mod" is
 *   Command on a Mac and Control elsewhere.
 * @property {string} [where] Where it works, if not anywhere; it is heard there, not here.
 *
 * @typedef {Pick<KeyboardEvent, "key" | "ctrlKey" | "metaKey" | "shiftKey" | "altKey">} Press
 */

/** @type {readonly Shortcut[]} */
export const SHORTCUTS = [
  { id: "send", label: "Send", keys: ["Enter"], where: "in the message" },
  { id: "edit-last", label: "Edit your last message", keys: ["ArrowUp"], where: "in an empty message" },
  { id: "stop", label: "Stop the answer", keys: ["Escape"] },
  { id: "focus-message", label: "Go to the message", keys: ["Shift", "Escape"] },
  { id: "regenerate", label: "Regenerate", keys: ["Mod", "Shift", "Enter"] },
  { id: "copy-answer", label: "Copy the last answer", keys: ["Mod", "Shift", "Y"] },
  { id: "new-chat", label: "New chat", keys: ["Mod", "Shift", "O"] },
  { id: "search", label: "Search chats", keys: ["Mod", "K"] },
  { id: "toggle-sidebar", label: "Show or hide the chats", keys: ["Mod", "B"] },
  { id: "settings", label: "Settings", keys: ["Mod", ","] },
  { id: "help", label: "Keyboard shortcuts", keys: ["Mod", "/"] },
];

/**
 * Return what a key press asks for, or null.
 *
 * @param {Press} press
 * @param {boolean} mac Whether Command stands for Control.
 * @param {boolean} typing Whether the focus is in a text field.
 * @returns {ShortcutId | null}
 */
export function shortcutOf(press, mac, typing) {
  if (press.key === "?" && !typing && !press.ctrlKey && !press.metaKey && !press.altKey) {
    return "help";
  }
  const found = SHORTCUTS.find(({ keys, where }) => !where && matches(keys, press, mac));
  return found?.id ?? null;
}

/**
 * @param {string[]} keys
 * @param {Press} press
 * @param {boolean} mac
 */
function matches(keys, press, mac) {
  const modifiers = keys.slice(0, -1);
  const key = keys.at(-1) ?? "";
  const mod = modifiers.includes("Mod");
  // On some keyboards "/" needs Shift.
  const shifted = modifiers.includes("Shift") === press.shiftKey || key === "/";
  return (
    press.key.toLowerCase() === key.toLowerCase() &&
    shifted &&
    press.ctrlKey === (mod && !mac) &&
    press.metaKey === (mod && mac) &&
    !press.altKey
  );
}

/** @type {Readonly<Record<string, string>>} */
const MAC_NAMES = { Mod: "⌘", Shift: "⇧", Enter: "⏎", Escape: "esc", ArrowUp: "↑" };
/** @type {Readonly<Record<string, string>>} */
const NAMES = { Mod: "Ctrl", Escape: "Esc", ArrowUp: "↑" };

/**
 * Return a shortcut's keys as they stand on the keyboard.
 *
 * @param {Shortcut} shortcut
 * @param {boolean} mac
 */
export function keyNames({ keys }, mac) {
  return keys.map((key) => (mac ? MAC_NAMES : NAMES)[key] ?? key);
}
