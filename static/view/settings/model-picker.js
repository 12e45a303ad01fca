/** Draws the choice of a model, and of how it thinks. */

import { traits } from "../../chat/models.js";
import { thinkChoices } from "../../chat/preferences.js";
import { arrange, part } from "../dom.js";

/** @typedef {import("../../chat/models.js").Model} Model */

const models = /** @type {HTMLSelectElement} */ (part(document, "#model"));
const think = /** @type {HTMLSelectElement} */ (part(document, "#think"));

const OPENING_KEYS = [" ", "Enter", "ArrowUp", "ArrowDown"];

/** @type {Readonly<Record<string, string>>} */
const THINK_NAMES = {
  "": "Thinking: default",
  on: "Thinking: on",
  off: "Thinking: off",
  low: "Thinking: low",
  medium: "Thinking: medium",
  high: "Thinking: high",
};

/** A list of models. It is a `select`: keyboards, screen readers and phones know what to do with it. */
export class ModelPicker {
  /** @type {Model[]} */
  #models = [];

  /**
   * @param {object} handlers
   * @param {() => void} handlers.onOpen The list is about to be looked at: is it still right?
   * @param {(name: string) => void} handlers.onChoose
   * @param {(choice: string) => void} handlers.onThink One of `thinkChoices`, or "".
   */
  constructor({ onOpen, onChoose, onThink }) {
    models.addEventListener("focus", onOpen);
    models.addEventListener("pointerdown", () => {
      if (document.activeElement === models) {
        onOpen(); // else it gets the focus
      }
    });
    models.addEventListener("keydown", ({ key }) => {
      if (OPENING_KEYS.includes(key)) {
        onOpen();
      }
    });
    models.addEventListener("change", () => {
      this.#drawChosen();
      onChoose(models.value);
    });
    think.addEventListener("change", () => onThink(think.value));
  }

  /** The chosen model; undefined where there is none to choose from. */
  get model() {
    return this.#models.find(({ name }) => name === models.value);
  }

  /**
   * Show models. The choice stays where it can, and an open list stays open.
   *
   * @param {Model[]} found
   * @param {string} [chosen] The name of the model to choose where none is chosen yet.
   */
  showModels(found, chosen) {
    const current = this.model?.name ?? chosen;
    this.#models = found;
    models.disabled = found.length === 0;
    if (found.length === 0) {
      models.replaceChildren(models.firstElementChild ?? "", new Option("No models yet", ""));
      this.#drawChosen();
      return;
    }
    const present = new Map([...models.options].map((option) => [option.value, option]));
    const options = found.map((model) =>
      drawn(present.get(model.name) ?? new Option("", model.name), model),
    );
    // Before the options there is the button that shows the chosen one.
    const button = models.querySelector(":scope > button");
    arrange(models, button ? [button, ...options] : options);
    this.choose(current ?? "");
    this.#drawChosen();
  }

  /**
   * Choose a model, if there is one of this name.
   *
   * @param {string} name
   */
  choose(name) {
    if (name !== models.value && this.#models.some((model) => model.name === name)) {
      models.value = name;
      this.#drawChosen();
    }
  }

  /** Where a browser draws the list its own way it is as wide as its widest entry; this is shown instead. */
  #drawChosen() {
    part(document, ".model .chosen").textContent = models.value || "No models yet";
  }

  /**
   * Show how the chosen model thinks, if it does.
   *
   * @param {string} choice
   */
  showThink(choice) {
    const choices = thinkChoices(this.model);
    think.parentElement?.toggleAttribute("hidden", choices.length === 0);
    think.replaceChildren(...["", ...choices].map((value) => new Option(THINK_NAMES[value], value)));
    think.value = choices.includes(choice) ? choice : "";
  }

  /** Put the focus on the list. */
  focus() {
    models.focus();
  }
}

/**
 * @param {HTMLOptionElement} option
 * @param {Model} model
 */
function drawn(option, model) {
  const text = traits(model).join(" · ");
  if (option.dataset.traits !== text) {
    option.dataset.traits = text;
    const name = document.createElement("span");
    name.textContent = model.name;
    const details = document.createElement("small");
    details.textContent = text;
    // The blank is for browsers that show an option as plain text.
    option.replaceChildren(name, " ", details);
  }
  return option;
}
