/** Draws one answer. */

import { languageOf } from "../../chat/language.js";
import { fromTemplate, part } from "../dom.js";
import { AnswerBody } from "./answer-body.js";
import { factsOf } from "./answer-facts.js";
import { ThinkingView } from "./thinking-view.js";

/**
 * @typedef {import("../../chat/events.js").ChatEvent} ChatEvent
 * @typedef {import("../../chat/message.js").Message} Message
 */

/** For how long drawing may keep the page from anything else, in milliseconds. */
const SLICE = 8;

const RIGHT_TO_LEFT = ["ar", "he"];

/** So much of a text tells its language, in characters. */
const ENOUGH = 300;

/** An answer on the page. It is painted at most once a frame, however fast its events come. */
export class AnswerView {
  /** The element to put into the page. */
  element;
  #answer;
  #body;
  #thinking;
  #frame = 0;
  #over = false;
  #readForLanguage = 0;

  /** @param {Message} answer What to draw: what it has so far, and what `add` tells of later. */
  constructor(answer) {
    this.#answer = answer;
    this.element = fromTemplate("answer-template");
    this.#body = new AnswerBody(this.#part(".body"), answer);
    this.#thinking = new ThinkingView(this.#part(".thinking"), answer);
    this.#paint(0); // before it is on the page, nobody knows what laying it out takes
  }

  /**
   * Draw in the next frame what an event adds. The answer has taken it already.
   *
   * @param {ChatEvent} event
   */
  add({ type, data }) {
    switch (type) {
      case "thinking":
        this.#thinking.add(data.content);
        break;
      case "text_message":
        this.#body.addText(data.content);
        break;
      case "tool_call":
        this.#body.addToolCall(data);
        break;
      case "tool_result":
        this.#body.addToolResult(data);
        break;
    }
    this.changed();
  }

  /** Draw in the next frame what else has changed. */
  changed() {
    this.#frame ||= requestAnimationFrame(() => this.#paint());
  }

  /** Draw the rest: nothing more will come. What takes longer than a frame waits until it is seen. */
  finish() {
    cancelAnimationFrame(this.#frame);
    this.#over = true;
    this.#body.end();
    this.#paint();
  }

  /** What it says as a document, without what belongs to this page. */
  get html() {
    const copy = /** @type {HTMLElement} */ (this.#part(".body").cloneNode(true));
    copy.querySelectorAll(".code-head, .tool-calls, .visually-hidden").forEach((part) => part.remove());
    return copy.innerHTML;
  }

  #paint(slice = SLICE) {
    this.#frame = 0;
    const until = performance.now() + slice;
    this.#showLanguage();
    const isDrawn = this.#thinking.paint(until) && this.#body.paint(until);
    if (!isDrawn) {
      this.changed();
    } else if (this.#over) {
      this.#paintEnd();
    }
  }

  /** Fonts and voices are chosen by it. It is looked for until there is enough of a text to know it. */
  #showLanguage() {
    const { content, thinking } = this.#answer;
    if (this.#readForLanguage < ENOUGH) {
      const language = languageOf(content);
      this.#part(".body").lang = language;
      this.#part(".body").dir = RIGHT_TO_LEFT.includes(language) ? "rtl" : "";
      this.#part(".thinking .prose").lang = languageOf(thinking);
      this.#readForLanguage = content.length;
    }
  }

  #paintEnd() {
    this.element.ariaBusy = "false";
    // While it grew, a translator would have put its own nodes in the place of those that grow.
    this.element.removeAttribute("translate");
    const { brief, whole } = factsOf(this.#answer);
    this.#part(".facts").dataset.brief = brief;
    this.#part(".facts").textContent = whole;
    this.#part(".facts").hidden = !whole;
  }

  /** @param {string} selector */
  #part(selector) {
    return part(this.element, selector);
  }
}
