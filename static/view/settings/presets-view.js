/** Draws the presets in the settings: use one, save the chat as one, delete one. */

import { isComposing, part } from "../dom.js";

/** @typedef {import("../../chat/presets.js").Preset} Preset */

const box = part(document, "#presets");
const choice = /** @type {HTMLSelectElement} */ (part(box, "select"));
const field = /** @type {HTMLInputElement} */ (part(box, "input"));

/** The choice of a preset, and what can be done with it. */
export class PresetsView {
  #presets;

  /**
   * @param {import("../../chat/presets.js").Presets} presets
   * @param {object} handlers
   * @param {(preset: Preset) => void} handlers.onUse The open chat is to take it.
   * @param {() => Omit<Preset, "name">} handlers.current What the open chat has.
   */
  constructor(presets, { onUse, current }) {
    this.#presets = presets;
    part(box, "#use-preset").addEventListener("click", () => {
      const preset = presets.get(choice.value);
      if (preset) {
        onUse(preset);
        this.#say(`This chat uses ${preset.name}.`);
      }
    });
    part(box, "#delete-preset").addEventListener("click", () => {
      const name = choice.value;
      presets.remove(name);
      this.show();
      this.#say(`Preset ${name} deleted.`);
    });
    const save = () => {
      const name = field.value.trim();
      if (!name) {
        field.focus();
        this.#say("Give the preset a name first.");
        return;
      }
      presets.save({ ...current(), name });
      field.value = "";
      this.show(name);
      this.#say(`Preset ${name} saved.`);
    };
    part(box, "#save-preset").addEventListener("click", save);
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !isComposing(event)) {
        event.preventDefault(); // it would close the settings
        save();
      }
    });
  }

  /**
   * Show which there are.
   *
   * @param {string} [chosen]
   */
  show(chosen = choice.value) {
    const names = this.#presets.all.map(({ name }) => name);
    choice.replaceChildren(...names.map((name) => new Option(name, name)));
    choice.value = names.includes(chosen) ? chosen : (names[0] ?? "");
    part(box, ".saved").hidden = names.length === 0;
    this.#say("");
  }

  /** @param {string} sentence */
  #say(sentence) {
    part(box, "[role=status]").textContent = sentence;
  }
}
