/** What the person has chosen: a model, how it answers, and how the page looks. */

import { canSee, firstChoice } from "../../chat/models.js";
import { Preferences } from "../../chat/preferences.js";
import { browserStorage } from "../../store/storage.js";
import { ModelPicker } from "./model-picker.js";
import { SettingsView } from "./settings-view.js";

/** @typedef {import("../../chat/models.js").Model} Model */

/** Keyboards on a screen have no Shift+Enter: their Enter is for new lines. */
const TOUCH = matchMedia("(pointer: coarse) and (hover: none)");

/** The settings, with all that shows them and changes them. */
export class SettingControls {
  #preferences = new Preferences(browserStorage());
  #picker;
  #view;
  /** @type {Model[]} */
  #models = [];
  /** What answered last in the open chat; "" is what was chosen last in any. */
  #chatModel = "";
  #onModel;
  #onEnter;

  /**
   * @param {object} handlers
   * @param {() => void} handlers.onLookAtModels The models are about to be looked at.
   * @param {(blind: string) => void} handlers.onModel A model is chosen; why it takes no pictures, or "".
   * @param {(text: string) => void} handlers.onOwnSystem The chat's own system prompt; "" is none.
   * @param {(enterSends: boolean) => void} handlers.onEnter What Enter does in the message.
   */
  constructor({ onLookAtModels, onModel, onOwnSystem, onEnter }) {
    this.#onModel = onModel;
    this.#onEnter = onEnter;
    this.#picker = new ModelPicker({
      onOpen: onLookAtModels,
      onChoose: (name) => {
        this.#preferences.set("model", name);
        this.#chatModel = name;
        this.#showModel();
      },
      onThink: (choice) => this.#preferences.set("think", choice),
    });
    this.#view = new SettingsView(this.#preferences, { onChange: () => this.#show(), onOwnSystem });
    addEventListener("storage", () => {
      // Another tab has changed them.
      this.#preferences.reload();
      this.#show();
    });
    TOUCH.addEventListener("change", () => this.#show());
    this.#show();
  }

  /**
   * Open the settings.
   *
   * @param {string} ownSystem The chat's own system prompt; "" is none.
   */
  open(ownSystem) {
    this.#view.open(ownSystem);
  }

  /**
   * Choose the model that a chat has been using, where there still is one of this name.
   *
   * @param {string} name "" is the one chosen last in any chat.
   */
  useModel(name) {
    this.#chatModel = name;
    this.#picker.choose(this.#wanted);
    this.#showModel();
  }

  get #wanted() {
    return this.#chatModel || this.#preferences.get("model");
  }

  /** Put the focus on the list of models. */
  focusModel() {
    this.#picker.focus();
  }

  /**
   * Offer models, and return why the chosen one takes no pictures, as a sentence; "" where it does.
   *
   * @param {{models: Model[], default: string}} found
   */
  showModels(found) {
    this.#models = found.models;
    const first = firstChoice(found.models, [this.#chatModel, this.#preferences.get("model"), found.default]);
    this.#picker.showModels(found.models, first?.name);
    this.#picker.showThink(this.#preferences.get("think"));
    return this.#blind;
  }

  /** Whether a wide page shows the list of chats. */
  get sidebarWanted() {
    return this.#preferences.get("sidebar") !== "hidden";
  }

  set sidebarWanted(wanted) {
    this.#preferences.set("sidebar", wanted ? "" : "hidden");
  }

  /** Return the fields of `POST /chat` that a person chooses, messages aside; model "" is the server's. */
  requestFields() {
    const { model } = this.#picker;
    // Before the models are known, the one chosen last time.
    const name = model?.name ?? this.#wanted;
    return { model: name, ...this.#preferences.requestFields(model) };
  }

  /** The system prompt of chats that have none of their own; "" is none. */
  get systemPrompt() {
    return this.#preferences.get("system");
  }

  /** Whether the chosen model takes pictures, as far as is known. */
  get canSee() {
    return this.#blind === "";
  }

  #show() {
    document.documentElement.dataset.scheme = this.#preferences.get("appearance");
    this.#picker.choose(this.#wanted);
    this.#showModel();
    const enter = this.#preferences.get("enter");
    this.#onEnter(enter === "send" || (enter === "" && !TOUCH.matches));
  }

  #showModel() {
    this.#picker.showThink(this.#preferences.get("think"));
    this.#onModel(this.#blind);
  }

  get #blind() {
    const { model } = this.#picker;
    if (!model || model.capabilities.length === 0 || canSee(model)) {
      return ""; // an older Ollama does not say what a model can do
    }
    const seeing = this.#models.filter(canSee).map(({ name }) => `\`${name}\``);
    const wayOut =
      seeing.length > 0
        ? `Choose one that does: ${seeing.join(", ")}.`
        : "Get one that does, such as `ollama pull llava`.";
    return `${model.name} does not see pictures. ${wayOut}`;
  }
}
