/** What the person has chosen: a model, how it answers, and how the page looks. */

import { canSee, firstChoice } from "../../chat/models.js";
import { Preferences } from "../../chat/preferences.js";
import { Presets } from "../../chat/presets.js";
import { browserStorage } from "../../store/storage.js";
import { askToNotify } from "../notifications.js";
import { ModelPicker } from "./model-picker.js";
import { PresetsView } from "./presets-view.js";
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
  /** The open chat's own options. @type {Record<string, string>} */
  #ownTexts = {};
  #own;
  #presets = new Presets(browserStorage());
  #onModel;
  #onEnter;

  /**
   * @param {object} handlers
   * @param {() => void} handlers.onLookAtModels The models are about to be looked at.
   * @param {(blind: string, context: {system: string, length: number}) => void} handlers.onModel A model
   *   is chosen: why it takes no pictures, or ""; what it is told in all chats, and how many tokens it
   *   sees.
   * @param {(text: string) => void} handlers.onOwnSystem The chat's own system prompt; "" is none.
   * @param {(options: Record<string, string>) => void} handlers.onOwnOptions The chat's own options.
   * @param {() => string} handlers.ownSystem
   * @param {(enterSends: boolean) => void} handlers.onEnter What Enter does in the message.
   */
  constructor({ onLookAtModels, onModel, onOwnSystem, onOwnOptions, ownSystem, onEnter }) {
    this.#own = new Preferences({
      getItem: () => JSON.stringify(this.#ownTexts),
      setItem: (_, json) => {
        this.#ownTexts = JSON.parse(json);
        onOwnOptions(this.#ownTexts);
      },
    });
    this.#onModel = onModel;
    this.#onEnter = onEnter;
    this.#picker = new ModelPicker({
      onOpen: onLookAtModels,
      onChoose: (name) => this.chooseModel(name),
      onThink: (choice) => {
        this.#preferences.set("think", choice);
        this.#own.set("think", choice);
      },
    });
    const presets = new PresetsView(this.#presets, {
      onUse: (preset) => {
        onOwnSystem(preset.system);
        this.#own.replace(preset.options);
        if (preset.model) {
          this.useModel(preset.model);
        }
        this.#view.fill(preset.system);
        this.#show();
      },
      current: () => ({
        system: ownSystem() || this.systemPrompt,
        model: this.#picker.model?.name ?? this.#wanted,
        options: this.#own.over(this.#preferences),
      }),
    });
    this.#view = new SettingsView(this.#preferences, this.#own, {
      onChange: () => {
        this.#show();
        void this.#askToNotify();
      },
      onOpen: () => presets.show(),
      onOwnSystem,
    });
    addEventListener("storage", () => {
      // Another tab has changed them.
      this.#preferences.reload();
      this.#presets.reload();
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

  /**
   * Take a chat's own options, which come before those of all chats.
   *
   * @param {Record<string, string>} options As they were entered, by name.
   */
  useOptions(options) {
    this.#ownTexts = options;
    this.#own.reload();
    this.#showModel();
  }

  /** Whether to tell of answers that are done while nobody looks. */
  get notifies() {
    return this.#preferences.get("notify") === "on";
  }

  async #askToNotify() {
    const sentence = this.notifies ? await askToNotify() : "";
    if (sentence) {
      this.#preferences.set("notify", "");
      this.#view.refuse(sentence);
    }
  }

  /** How many tokens the chosen model sees; 0 where that is not known. */
  get #contextLength() {
    const asked = Number(this.#own.over(this.#preferences).num_ctx ?? 0);
    return asked || (this.#picker.model?.contextLength ?? 0);
  }

  /**
   * Choose a model for the open chat, and for those to come.
   *
   * @param {string} name
   */
  chooseModel(name) {
    this.#preferences.set("model", name);
    this.useModel(name);
  }

  get #wanted() {
    return this.#chatModel || this.#preferences.get("model");
  }

  /** Put the focus on the list of models. */
  focusModel() {
    this.#picker.focus();
  }

  /**
   * Offer models.
   *
   * @param {{models: Model[], default: string}} found
   */
  showModels(found) {
    this.#models = found.models;
    const first = firstChoice(found.models, [this.#chatModel, this.#preferences.get("model"), found.default]);
    this.#picker.showModels(found.models, first?.name);
    this.#showModel();
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
    return { model: name, ...this.#preferences.requestFields(model, this.#own) };
  }

  /** The system prompt of chats that have none of their own; "" is none. */
  get systemPrompt() {
    return this.#preferences.get("system");
  }

  /** Whether the chosen model takes pictures, as far as is known. */
  get canSee() {
    return this.blind === "";
  }

  #show() {
    document.documentElement.dataset.scheme = this.#preferences.get("appearance");
    this.#picker.choose(this.#wanted);
    this.#showModel();
    const enter = this.#preferences.get("enter");
    this.#onEnter(enter === "send" || (enter === "" && !TOUCH.matches));
  }

  #showModel() {
    this.#picker.showThink(this.#own.over(this.#preferences).think ?? "");
    this.#onModel(this.blind, { system: this.systemPrompt, length: this.#contextLength });
  }

  /** Why the chosen model takes no pictures, as a sentence; "" where it does, as far as is known. */
  get blind() {
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
