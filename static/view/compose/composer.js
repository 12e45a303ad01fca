/** Draws where a message is written, and hears when it is to be sent. */

import { part } from "../dom.js";
import { Attachments } from "./attachments-view.js";

const form = /** @type {HTMLFormElement} */ (part(document, "#composer"));
const message = /** @type {HTMLTextAreaElement} */ (part(document, "#message"));
const send = part(document, "#send");
const stop = part(document, "#stop");

/** The message that is being written. While an answer comes it can be written, but not sent. */
export class Composer {
  #busy = false;
  #onMessage;
  #onEditLast;
  #attachments;

  /**
   * @param {object} handlers
   * @param {(text: string, images: string[]) => void} handlers.onMessage It is to be sent; each image
   *   is base64.
   * @param {() => void} handlers.onStop The answer is to be stopped.
   * @param {() => void} handlers.onEditLast The last message is to be changed instead.
   * @param {(said: string) => void} handlers.onSay Something to be told to screen readers.
   */
  constructor({ onMessage, onStop, onEditLast, onSay }) {
    this.#onMessage = onMessage;
    this.#onEditLast = onEditLast;
    this.#attachments = new Attachments((said) => {
      this.#drawSend();
      onSay(said);
    });
    stop.addEventListener("click", onStop);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    message.addEventListener("keydown", (event) => this.#press(event));
    message.addEventListener("input", () => this.#drawSend());
    this.#drawSend();
  }

  /** Whether an answer is coming. */
  get busy() {
    return this.#busy;
  }

  /**
   * Show whether an answer is coming: Stop takes the place of Send.
   *
   * @param {boolean} busy
   */
  setBusy(busy) {
    this.#busy = busy;
    const focused = document.activeElement === (busy ? send : stop);
    send.hidden = busy;
    stop.hidden = !busy;
    if (focused) {
      // It would be lost with the hidden button.
      this.focus();
    }
  }

  /**
   * Say what the model and the server take.
   *
   * @param {string} blind Why the chosen model takes no pictures, as a sentence; "" where it does.
   * @param {number} [maxBody] The largest request that the server takes, in bytes.
   */
  allowPictures(blind, maxBody) {
    this.#attachments.allow(blind, maxBody);
  }

  /** Put the focus where the next message is written. */
  focus() {
    message.focus();
  }

  #submit() {
    const text = message.value;
    if (this.#busy || this.#empty || this.#attachments.trouble) {
      return;
    }
    message.value = "";
    this.#onMessage(text, this.#attachments.take());
    this.#drawSend();
  }

  /** @param {KeyboardEvent} event */
  #press(event) {
    if (event.isComposing || event.shiftKey || event.ctrlKey || event.metaKey || event.altKey) {
      return; // while an input method composes, Enter takes its suggestion
    }
    if (event.key === "Enter") {
      event.preventDefault();
      form.requestSubmit();
    } else if (event.key === "ArrowUp" && message.value === "") {
      event.preventDefault();
      this.#onEditLast();
    }
  }

  get #empty() {
    return message.value.trim() === "" && this.#attachments.count === 0;
  }

  #drawSend() {
    send.classList.toggle("idle", this.#empty);
  }
}
