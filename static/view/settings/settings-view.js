/** Draws the settings, and says at once what is wrong with one. */

import { BadSetting, CHAT_OPTIONS, KEEP_ALIVE, OPTIONS } from "../../chat/preferences.js";
import { fromTemplate, part } from "../dom.js";
import { growWithText } from "../growing-field.js";

/**
 * @typedef {import("../../chat/preferences.js").Option} Option
 * @typedef {import("../../chat/preferences.js").Preferences} Preferences
 */

const dialog = /** @type {HTMLDialogElement} */ (part(document, "#settings"));
const ownSystem = /** @type {HTMLTextAreaElement} */ (part(dialog, "#own-system"));
const scope = /** @type {HTMLSelectElement} */ (part(dialog, "#options-scope"));

/** A dialog. What is entered holds at once, for the next message; there is nothing to save. */
export class SettingsView {
  #preferences;
  #own;
  #onChange;
  #onOpen;
  #fits;

  /**
   * @param {Preferences} preferences
   * @param {Preferences} own The open chat's own options.
   * @param {object} handlers
   * @param {() => void} handlers.onOpen
   * @param {() => void} handlers.onChange Something has been set, or unset.
   * @param {(text: string) => void} handlers.onOwnSystem This chat's system prompt is another; "" is
   *   that of all chats.
   */
  constructor(preferences, own, { onChange, onOpen, onOwnSystem }) {
    this.#preferences = preferences;
    this.#own = own;
    this.#onChange = onChange;
    this.#onOpen = onOpen;
    const fields = Object.entries({ ...OPTIONS, keep_alive: KEEP_ALIVE });
    part(dialog, "#options").append(...fields.map(([name, option]) => drawnOption(name, option)));
    for (const field of this.#fields) {
      field.addEventListener(field.matches("select") ? "change" : "input", () => this.#take(field));
    }
    this.#fits = [...dialog.querySelectorAll("textarea")].map((field) => growWithText(field));
    scope.addEventListener("change", () => this.#fill());
    ownSystem.addEventListener("input", () => onOwnSystem(ownSystem.value));
    part(dialog, "#reset").addEventListener("click", () => {
      preferences.reset();
      own.replace({});
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
    part(dialog, "#settings-said").textContent = "";
    scope.value = Object.keys(this.#own.over(this.#own)).some((name) => name !== "think") ? "own" : "";
    this.#onOpen();
    dialog.showModal();
    this.fill(system);
  }

  /**
   * Show what is set now.
   *
   * @param {string} system This chat's own system prompt.
   */
  fill(system) {
    ownSystem.value = system;
    this.#fill();
    this.#fits.forEach((fit) => fit());
  }

  /**
   * Say that something could not be set; what is set is shown again.
   *
   * @param {string} sentence
   */
  refuse(sentence) {
    this.#fill();
    part(dialog, "#settings-said").textContent = sentence;
  }

  /** @param {string} name */
  #isOwn(name) {
    return scope.value === "own" && CHAT_OPTIONS.includes(name);
  }

  /**
   * Return what a field changes: the open chat, or all.
   *
   * @param {string} name
   */
  #store(name) {
    return this.#isOwn(name) ? this.#own : this.#preferences;
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
      const text = this.#store(field.name).get(field.name);
      const option = { ...OPTIONS, keep_alive: KEEP_ALIVE }[field.name];
      if (option && !(field instanceof HTMLSelectElement)) {
        const all = this.#isOwn(field.name) ? this.#preferences.get(field.name) : "";
        field.placeholder = all || (option.unset ?? "none");
      }
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
      this.#store(field.name).set(field.name, text);
      showWrong(field, "");
    } catch (error) {
      if (!(error instanceof BadSetting)) {
        throw error;
      }
      const kept = this.#store(field.name).get(field.name) || "not set";
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
