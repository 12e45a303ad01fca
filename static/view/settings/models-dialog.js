/** Draws Ollama's models: found by name, used, described, unloaded, deleted; and new ones got. */

import { sizeInWords, traits } from "../../chat/models.js";
import { arrange, fromTemplate, isComposing, part, showSentence } from "../dom.js";

/**
 * @typedef {import("../../chat/models.js").Model} Model
 * @typedef {import("../../chat/pulls.js").Pull} Pull
 *
 * @typedef {object} ModelActions
 * @property {() => void} onOpen The models are about to be looked at.
 * @property {(name: string) => void} onUse The open chat is to use it.
 * @property {(name: string) => Promise<Record<string, unknown>>} describe
 * @property {(name: string) => Promise<void>} unload
 * @property {(name: string) => Promise<void>} remove
 * @property {(name: string) => void} onPull
 * @property {(name: string) => void} onPause
 * @property {(name: string) => void} onForget
 */

const dialog = /** @type {HTMLDialogElement} */ (part(document, "#models"));
const filter = /** @type {HTMLInputElement} */ (part(dialog, "#filter-models"));
const wanted = /** @type {HTMLInputElement} */ (part(dialog, "#pull-name"));
const list = part(dialog, "#model-list");
const pullList = part(dialog, "#pulls");
const said = part(dialog, "#models-said");

/** What is shown of a model's details, by the server's names. */
const DETAILS = {
  family: "Family",
  parameter_size: "Parameters",
  quantization: "Quantisation",
  context_length: "Longest context, tokens",
  capabilities: "Can",
  parameters: "Options",
  system: "System prompt",
  license: "Licence",
};

/** The dialog. It stays as it is while models come and go; the focus is kept. */
export class ModelsDialog {
  #actions;
  /** @type {Model[]} */
  #models = [];
  /** @type {Map<string, HTMLElement>} */
  #items = new Map();
  /** @type {Map<string, HTMLElement>} */
  #pullItems = new Map();
  #isAllowed = false;

  /** @param {ModelActions} actions */
  constructor(actions) {
    this.#actions = actions;
    part(document, "#open-models").addEventListener("click", () => this.open());
    filter.addEventListener("input", () => this.#draw());
    filter.addEventListener("keydown", ignoreEnter);
    const pull = () => {
      const name = wanted.value.trim();
      if (name) {
        wanted.value = "";
        actions.onPull(name);
      }
      wanted.focus();
    };
    part(dialog, "#pull").addEventListener("click", pull);
    wanted.addEventListener("keydown", (event) => {
      if (ignoreEnter(event)) {
        pull();
      }
    });
  }

  /** Open the dialog. */
  open() {
    filter.value = "";
    showSentence(said, "");
    this.#draw();
    this.#actions.onOpen();
    dialog.showModal();
  }

  /**
   * Show models in place of those before.
   *
   * @param {Model[]} models
   * @param {boolean} isAllowed Whether the server lets them be got and deleted.
   */
  show(models, isAllowed) {
    this.#models = models;
    this.#isAllowed = isAllowed;
    part(dialog, "#get-models").hidden = !isAllowed;
    part(dialog, "#no-changes").hidden = isAllowed;
    this.#draw();
  }

  /** @param {Pull[]} pulls */
  showPulls(pulls) {
    this.#pullItems = new Map(pulls.map((pull) => [pull.model, this.#pullItem(pull)]));
    arrange(pullList, [...this.#pullItems.values()]);
    pullList.hidden = pulls.length === 0;
  }

  #draw() {
    const text = filter.value.trim().toLowerCase();
    const found = this.#models.filter(({ name }) => name.toLowerCase().includes(text));
    this.#items = new Map(this.#models.map((model) => [model.name, this.#item(model)]));
    arrange(list, found.map(({ name }) => /** @type {HTMLElement} */ (this.#items.get(name))));
    part(dialog, "#model-count").textContent =
      found.length === this.#models.length
        ? `${found.length === 1 ? "1 model" : `${found.length} models`}`
        : `${found.length} of ${this.#models.length} models`;
  }

  /** @param {Model} model */
  #item(model) {
    const { name } = model;
    const item = this.#items.get(name) ?? this.#newItem(name);
    part(item, ".traits").textContent = traits(model).join(" · ");
    part(item, ".unload").hidden = !model.loaded;
    part(item, ".delete").hidden = !this.#isAllowed || model.size === 0; // an agent is no file
    return item;
  }

  /** @param {string} name */
  #newItem(name) {
    const { onUse, describe, unload, remove } = this.#actions;
    const item = fromTemplate("model-template");
    part(item, ".name").textContent = name;
    const use = part(item, ".use");
    use.ariaLabel = `Use ${name}`;
    use.addEventListener("click", () => {
      onUse(name);
      dialog.close();
    });
    const unloads = part(item, ".unload");
    unloads.ariaLabel = `Unload ${name}`;
    unloads.addEventListener("click", () => {
      use.focus(); // the button goes away
      void this.#do(() => unload(name), `${name} is unloaded.`);
    });
    const deletes = part(item, ".delete");
    deletes.ariaLabel = `Delete ${name}`;
    deletes.addEventListener("click", () => {
      if (deletes.dataset.asked) {
        filter.focus();
        void this.#do(() => remove(name), `${name} is deleted.`);
      } else {
        deletes.dataset.asked = "true"; // gigabytes cannot be put back
        deletes.textContent = "Really delete?";
        deletes.ariaLabel = `Really delete ${name}?`;
      }
    });
    deletes.addEventListener("blur", () => {
      delete deletes.dataset.asked;
      deletes.textContent = "Delete";
      deletes.ariaLabel = `Delete ${name}`;
    });
    const details = /** @type {HTMLDetailsElement} */ (part(item, "details"));
    details.addEventListener("toggle", () => {
      if (details.open) {
        void this.#do(async () => drawDetails(part(details, "dl"), await describe(name)), "");
      }
    });
    return item;
  }

  /** @param {Pull} pull */
  #pullItem({ model, state, phase, completed, total, error }) {
    const item = this.#pullItems.get(model) ?? this.#newPullItem(model);
    const bar = /** @type {HTMLProgressElement} */ (part(item, "progress"));
    bar.hidden = total === 0;
    bar.max = total || 1;
    bar.value = completed;
    const far = total ? `${sizeInWords(completed)} of ${sizeInWords(total)}` : "";
    const doing = { running: phase || "waiting", paused: "paused", failed: "failed" }[state];
    part(item, ".far").textContent = [doing, far].filter(Boolean).join(", ");
    part(item, ".wrong").hidden = !error;
    showSentence(part(item, ".wrong"), error);
    const act = part(item, ".act");
    act.textContent = state === "running" ? "Pause" : state === "paused" ? "Resume" : "Try again";
    act.ariaLabel = `${act.textContent} ${model}`;
    act.dataset.running = String(state === "running");
    part(item, ".forget").hidden = state === "running";
    return item;
  }

  /** @param {string} model */
  #newPullItem(model) {
    const item = fromTemplate("pull-template");
    part(item, ".name").textContent = model;
    part(item, "progress").ariaLabel = model;
    const act = part(item, ".act");
    act.addEventListener("click", () => {
      const { onPause, onPull } = this.#actions;
      (act.dataset.running === "true" ? onPause : onPull)(model);
    });
    const forget = part(item, ".forget");
    forget.ariaLabel = `Give up ${model}`;
    forget.addEventListener("click", () => {
      wanted.focus();
      this.#actions.onForget(model);
    });
    return item;
  }

  /**
   * @param {() => Promise<void>} work
   * @param {string} sentence What is said once it is done.
   */
  async #do(work, sentence) {
    try {
      await work();
      showSentence(said, sentence);
    } catch (error) {
      showSentence(said, error instanceof Error ? error.message : String(error));
    }
  }
}

/**
 * Keep Enter from closing the dialog. Returns whether it was Enter.
 *
 * @param {KeyboardEvent} event
 */
function ignoreEnter(event) {
  const isEnter = event.key === "Enter" && !isComposing(event);
  if (isEnter) {
    event.preventDefault();
  }
  return isEnter;
}

/**
 * @param {HTMLElement} place
 * @param {Record<string, unknown>} details
 */
function drawDetails(place, details) {
  const rows = Object.entries(DETAILS).flatMap(([field, label]) => {
    const value = details[field];
    const text = Array.isArray(value) ? value.join(", ") : String(value || "");
    if (!text) {
      return [];
    }
    const [name, said] = [document.createElement("dt"), document.createElement("dd")];
    name.textContent = label;
    said.textContent = text.length > 2000 ? `${text.slice(0, 2000)}…` : text;
    return [name, said];
  });
  place.replaceChildren(...rows);
}
