/** Draws what is going on with an answer while it does not grow. */

import { hasBegun, isRunning } from "../../chat/message.js";
import { part } from "../dom.js";

/**
 * @typedef {import("../../chat/message.js").Message} Message
 * @typedef {import("../../chat/answering.js").Activity} Activity
 */

/** Seconds after which a silence is worth a word. */
const SILENT = 3;

/** One quiet line, with its seconds. */
export class ActivityView {
  #element;
  #message;
  /** @type {Activity | null} */
  #activity = null;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /**
   * @param {HTMLElement} element With a `.phase` for the words.
   * @param {Message} message
   */
  constructor(element, message) {
    this.#element = element;
    this.#message = message;
  }

  /** @param {Activity | null} activity Null where nothing goes on. */
  show(activity) {
    this.#activity = activity;
    this.draw();
  }

  /** Draw it anew: the message may have begun, or ended. */
  draw() {
    const phase = this.#activity?.phase;
    const silent = !hasBegun(this.#message) || phase === "reconnecting" || phase === "stopping";
    const shown = isRunning(this.#message) && silent;
    this.#element.hidden = !shown;
    if (shown) {
      this.#say();
      this.#timer ??= setInterval(() => this.#say(), 1000);
    } else {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
  }

  #say() {
    if (!this.#element.isConnected) {
      clearInterval(this.#timer); // another conversation is shown
      this.#timer = undefined;
    }
    const words = this.#activity ? sentenceOf(this.#activity, this.#message) : "";
    const place = part(this.#element, ".phase");
    if (place.textContent !== words) {
      place.textContent = words;
    }
  }
}

/**
 * @param {Activity} activity
 * @param {Message} message
 */
function sentenceOf({ phase, since }, { model }) {
  const seconds = Math.round((Date.now() - since) / 1000);
  switch (phase) {
    case "loading":
      return `Loading ${model} into memory, ${seconds} s`;
    case "reconnecting":
      return seconds < 1 ? "Reconnecting" : `Reconnecting, ${seconds} s`;
    case "stopping":
      return seconds < SILENT
        ? "Stopping"
        : `The server cannot be reached to stop it, ${seconds} s. Stop again to give up.`;
    default:
      return seconds < SILENT ? "" : `Waiting for the first word, ${seconds} s`;
  }
}
