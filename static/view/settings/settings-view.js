/** Draws the settings, and says at once what is wrong with one. */

import { BadSetting, KEEP_ALIVE, OPTIONS } from "../../chat/preferences.js";
import { fromTemplate, part } from "../dom.js";
import { growWithText } from "../growing-field.js";

/**
 * @typedef {import("../../chat/preferences.js").Option} Option
 * @typedef {import("../../chat/preferences.js").Preferences} Preferences
 */

const dialog = /** @type {HTMLDialogElement} */ (part(document, "#settings"));
const ownSystem = /** @type {HTMLTextAreaElement} */ (part(dialog, "#own-system"));

/** A dialog. What is entered holds at once, for the next message; there is nothing to save. */
export class SettingsView {
  #preferences;
  #onChange;
  #fits;

  /**
   * @param {Preferences} preferences
   * @param {object} handlers
   * @param {() => void} handlers.onChange Something has been set, or unset.
   * @param {(text: string) => void} handlers.onOwnSystem This chat's system prompt is another; "" is
   *   that of all chats.
   */
  constructor(preferences, { onChange, onOwnSystem }) {
    this.#preferences = preferences;
    this.#onChange = onChange;
    const fields = Object.entries({ ...OPTIONS, keep_alive: KEEP_ALIVE });
    part(dialog, "#options").append(...fields.map(([name, option]) => drawnOption(name, option)));
    for (const field of this.#fields) {
      field.addEventListener(field.matches("select") ? "change" : "input", () => this.#take(field));
    }
    this.#fits = [...dialog.querySelectorAll("textarea")].map((field) => growWithText(field));
    ownSystem.addEventListener("input", () => onOwnSystem(ownSystem.value));
    part(dialog, "#reset").addEventListener("click", () => {
      preferences.reset();
      this.#fill();
      part(dialog, "#settings-said").textContent = "All settings are reset.";
      onChange();
    });
  }

  /**
   * Open the dialog.
   *
   * @param {string} system This chat's own system prompt; "" where it has none.
   */
  open(system) {
    ownSystem.value = system;
    part(dialog, "#settings-said").textContent = "";
    this.#fill();
    dialog.showModal();
    this.#fits.forEach((fit) => fit());
  }

  /** @returns {(HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement)[]} */
  get #fields() {
    return [...dialog.querySelectorAll("[name]")].filter(
      (field) =>
        field instanceof HTMLInputElement ||
        field instanceof HTMLTextAreaElement ||
        field instanceof HTMLSelectElement,
    );
  }

  #fill() {
    for (const field of this.#fields) {
      const text = this.#preferences.get(field.name);
      if (field instanceof HTMLInputElement && field.type === "checkbox") {
        field.checked = text !== "off";
      } else {
        field.value = text;
      }
      showWrong(field, "");
    }
    ownSystem.placeholder = this.#preferences.get("system") || "None";
  }

  /** @param {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} field */
  #take(field) {
    const box = field instanceof HTMLInputElement && field.type === "checkbox";
    const text = box ? (field.checked ? "" : "off") : field.value;
    try {
      this.#preferences.set(field.name, text);
      showWrong(field, "");
    } catch (error) {
      if (!(error instanceof BadSetting)) {
        throw error;
      }
      const kept = this.#preferences.get(field.name) || "not set";
      showWrong(field, `${error.message} Until then, ${kept} is used.`);
    }
    ownSystem.placeholder = this.#preferences.get("system") || "None";
    this.#onChange();
  }
}

/**
 * @param {string} name
 * @param {Option} option
 */
function drawnOption(name, { label, hint, unset, lines }) {
  const box = fromTemplate(lines ? "lines-template" : "option-template");
  const field = /** @type {HTMLInputElement | HTMLTextAreaElement} */ (part(box, "[name]"));
  field.name = name;
  field.id = `set-${name}`;
  field.placeholder = unset ?? "none";
  part(box, "label").setAttribute("for", field.id);
  part(box, "label").textContent = label;
  const about = part(box, ".hint");
  about.id = `about-${name}`;
  about.textContent = hint;
  const wrong = part(box, ".wrong");
  wrong.id = `wrong-${name}`;
  field.setAttribute("aria-describedby", `${wrong.id} ${about.id}`);
  return box;
}

/**
 * Say what is wrong with a field; "" where nothing is.
 *
 * @param {HTMLElement} field
 * @param {string} sentence
 */
function showWrong(field, sentence) {
  const wrong = field.parentElement?.querySelector(".wrong");
  if (wrong instanceof HTMLElement) {
    wrong.textContent = sentence;
    wrong.hidden = !sentence;
    field.ariaInvalid = String(sentence !== "");
  }
}
