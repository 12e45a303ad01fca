/** Draws all of the page but the answers, and hears what is done to it. Knows nothing of the network. */

import { fromTemplate, part, showSentence } from "./dom.js";
import { paletteOf } from "./palette.js";

/** @typedef {import("./events.js").AddButton} AddButton */

const MAX_BUTTONS = 12;

const scroller = part(document, "#scroller");
const log = part(document, "#log");
const buttons = part(document, "#buttons");
const composer = /** @type {HTMLFormElement} */ (part(document, "#composer"));
const message = /** @type {HTMLTextAreaElement} */ (part(document, "#message"));
const models = /** @type {HTMLSelectElement} */ (part(document, "#model"));
const send = part(document, "#send");
const stop = part(document, "#stop");

/** The page around the answers. One `busy` page answers; it takes no message then. */
export class PageView {
  #busy = false;
  #atEnd = true;
  #onMessage;

  /**
   * @param {object} handlers What the page does when it is used.
   * @param {(text: string) => void} handlers.onMessage A message is to be sent.
   * @param {() => void} handlers.onStop The answer is to be stopped.
   * @param {() => void} handlers.onReload What could not be read from the server is to be read again.
   */
  constructor({ onMessage, onStop, onReload }) {
    this.#onMessage = onMessage;
    this.#listenToComposer();
    for (const chips of document.querySelectorAll(".chips")) {
      chips.addEventListener("click", ({ target }) => {
        if (target instanceof HTMLButtonElement) {
          this.#submit(target.dataset.message ?? target.textContent ?? "");
        }
      });
    }
    stop.addEventListener("click", onStop);
    document.addEventListener("keydown", ({ key, isComposing }) => {
      if (key === "Escape" && !isComposing && this.#busy) {
        onStop();
      }
    });
    part(document, "#trouble button").addEventListener("click", onReload);
    this.#followEnd();
  }

  /** The chosen model's name; "" where there is none to choose from. */
  get model() {
    return models.value;
  }

  /**
   * Offer models.
   *
   * @param {string[]} names
   * @param {string} [chosen]
   */
  showModels(names, chosen) {
    if (names.length > 0) {
      models.replaceChildren(...names.map((name) => new Option(name, name, false, name === chosen)));
    }
    models.disabled = names.length === 0;
  }

  /**
   * Say that a fake stands in for Ollama; "" where it does not.
   *
   * @param {string} sentence
   */
  showDemo(sentence) {
    showSentence(part(document, "#demo"), sentence);
    part(document, "#demo").hidden = !sentence;
  }

  /**
   * Say what is wrong with the server as a whole; "" where nothing is.
   *
   * @param {string} sentence
   */
  showTrouble(sentence) {
    showSentence(part(document, "#trouble p"), sentence);
    part(document, "#trouble").hidden = !sentence;
  }

  /** Put the focus where the next message is written. */
  focus() {
    message.focus();
  }

  /** @param {string} text */
  addQuestion(text) {
    const question = fromTemplate("question-template");
    part(question, ".prose").textContent = text;
    log.append(question);
  }

  /** @param {HTMLElement} answer */
  addAnswer(answer) {
    log.append(answer);
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
    for (const button of document.querySelectorAll(".chips button")) {
      // Not `disabled`, which would take the focus away from the button just pressed.
      button.ariaDisabled = String(busy);
    }
  }

  /**
   * Have screen readers say a sentence. Answers are told at their boundaries, not token by token.
   *
   * @param {string} sentence
   */
  announce(sentence) {
    part(document, "#announcer").textContent = sentence;
  }

  /**
   * Put a button above the composer; one with the same label makes way for it.
   *
   * @param {AddButton} button
   */
  addButton({ label, message: sends }) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "chip";
    button.dir = "auto";
    button.textContent = label;
    button.dataset.message = sends;
    button.ariaDisabled = String(this.#busy);
    const [...present] = buttons.children;
    present.find((other) => other.textContent === label)?.remove();
    buttons.append(button);
    if (buttons.childElementCount > MAX_BUTTONS) {
      buttons.firstElementChild?.remove();
    }
  }

  /**
   * Take a colour, with all that stands on it.
   *
   * @param {string} color "#RRGGBB".
   */
  setColor(color) {
    const { scheme, ...colors } = paletteOf(color);
    const { style } = document.documentElement;
    style.colorScheme = scheme;
    for (const [name, value] of Object.entries(colors)) {
      style.setProperty(`--${name}`, value);
    }
  }

  /**
   * Have a message sent, unless it is blank or an answer is coming. Returns whether it is.
   *
   * @param {string} text
   */
  #submit(text) {
    if (this.#busy || !text.trim()) {
      return false;
    }
    part(document, "#welcome").hidden = true;
    this.#atEnd = true;
    this.#onMessage(text);
    return true;
  }

  #listenToComposer() {
    composer.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#submit(message.value)) {
        message.value = "";
      }
    });
    message.addEventListener("keydown", (event) => {
      // While an input method composes, Enter takes its suggestion.
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        composer.requestSubmit();
      }
    });
  }

  /** Keep the end in view, but only while it is: nobody is dragged away from what they read. */
  #followEnd() {
    let place = scroller.scrollTop;
    scroller.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = scroller;
      if (scrollHeight - scrollTop - clientHeight < 16) {
        this.#atEnd = true;
      } else if (scrollTop < place) {
        // Only going up leaves the end. To be away from it is not enough: the event comes a frame
        // after the scrolling, and the answer may have grown in between.
        this.#atEnd = false;
      }
      place = scrollTop;
    });
    const observer = new ResizeObserver(() => {
      if (this.#atEnd) {
        scroller.scrollTop = scroller.scrollHeight;
        place = scroller.scrollTop;
      }
    });
    observer.observe(part(document, "#content"));
    observer.observe(scroller);
  }
}
