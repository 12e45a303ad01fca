/** Draws where a message is written, and hears when it is to be sent. */

import { isComposing, part } from "../dom.js";
import { growWithText } from "../growing-field.js";
import { Attachments } from "./attachments-view.js";

const form = /** @type {HTMLFormElement} */ (part(document, "#composer"));
const message = /** @type {HTMLTextAreaElement} */ (part(document, "#message"));
const send = part(document, "#send");
const stop = part(document, "#stop");

/** @typedef {import("../../chat/attachments.js").Attachment} Attachment */

/** The message that is being written. While an answer comes, what is sent waits its turn. */
export class Composer {
  #busy = false;
  #onMessage;
  #onEditLast;
  #onChange;
  #attachments;
  #fit = growWithText(message);
  #enterSends = true;

  /**
   * @param {object} handlers
   * @param {(text: string, attachments: Attachment[]) => void} handlers.onMessage It is to be sent.
   * @param {() => void} handlers.onStop The answer is to be stopped.
   * @param {() => void} handlers.onEditLast The last message is to be changed instead.
   * @param {(said: string) => void} handlers.onSay Something to be told to screen readers.
   * @param {(written: {text: string, attachments: Attachment[]}) => void} handlers.onChange What is written is
   *   another.
   */
  constructor({ onMessage, onStop, onEditLast, onSay, onChange }) {
    this.#onChange = onChange;
    this.#onMessage = onMessage;
    this.#onEditLast = onEditLast;
    this.#attachments = new Attachments({
      onChange: (said) => {
        this.#changed();
        onSay(said);
      },
      onWriteOut: (text) => {
        message.setRangeText(text, message.selectionStart, message.selectionEnd, "end");
        this.#fit();
      },
    });
    stop.addEventListener("click", onStop);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    message.addEventListener("keydown", (event) => this.#press(event));
    message.addEventListener("input", () => this.#changed());
    this.#drawSend();
  }

  /** Whether Enter sends, or starts a new line. */
  get enterSends() {
    return this.#enterSends;
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

  /**
   * Say what Enter does; with Control or Command it always sends.
   *
   * @param {boolean} enterSends Else it starts a new line.
   */
  setEnter(enterSends) {
    this.#enterSends = enterSends;
    message.enterKeyHint = enterSends ? "send" : "enter";
    send.title = enterSends ? "Send (Enter)" : "Send";
    part(document, "#keys-send").hidden = !enterSends;
    part(document, "#keys-line").hidden = enterSends;
  }

  /**
   * Show what was written before, in place of what is.
   *
   * @param {{text: string, attachments: Attachment[]}} written
   */
  show({ text, attachments }) {
    if (text !== message.value) {
      message.value = text;
      this.#fit();
    }
    this.#attachments.all = attachments;
    this.#drawSend();
  }

  /**
   * Have something written again, before what is written now.
   *
   * @param {{content: string, attachments: Attachment[]}} taken
   */
  putBack({ content, attachments }) {
    const { text, attachments: others } = this.written;
    this.show({ text: [content, text].filter(Boolean).join("\n"), attachments: [...attachments, ...others] });
    this.focus();
    this.#changed();
  }

  /** What is written now. */
  get written() {
    return { text: message.value, attachments: this.#attachments.all };
  }

  /** Put the focus where the next message is written. */
  focus() {
    message.focus();
  }

  #submit() {
    const text = message.value;
    if (this.#empty || this.#attachments.trouble) {
      return;
    }
    message.value = "";
    this.#fit();
    const attachments = this.#attachments.take();
    this.#changed();
    this.#onMessage(text, attachments);
  }

  /** @param {KeyboardEvent} event */
  #press(event) {
    if (isComposing(event) || event.shiftKey || event.altKey) {
      return;
    }
    const isCommand = event.ctrlKey || event.metaKey;
    if (event.key === "Enter" && (isCommand || this.#enterSends)) {
      event.preventDefault();
      form.requestSubmit();
    } else if (event.key === "ArrowUp" && !isCommand && message.value === "") {
      event.preventDefault();
      this.#onEditLast();
    }
  }

  get #empty() {
    return message.value.trim() === "" && this.#attachments.count === 0;
  }

  #changed() {
    this.#drawSend();
    this.#onChange(this.written);
  }

  #drawSend() {
    send.classList.toggle("idle", this.#empty);
  }
}
