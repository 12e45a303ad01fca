/** Draws one answer. Knows nothing of the network. */

import { AnswerBody } from "./answer-body.js";
import { factsOf } from "./answer-facts.js";
import { fromTemplate, part, showSentence } from "./dom.js";
import { ThinkingView } from "./thinking-view.js";

/**
 * @typedef {import("./conversation.js").Answer} Answer
 * @typedef {import("./events.js").ChatEvent} ChatEvent
 */

/** For how long drawing may keep the page from anything else, in milliseconds. */
const SLICE = 8;

/** An answer on the page. It is painted at most once a frame, however fast its events come. */
export class AnswerView {
  /** The element to put into the page. */
  element;
  #answer;
  #body;
  #thinking;
  #frame = 0;
  #over = false;

  /**
   * @param {Answer} answer What to draw: what it has so far, and what `add` tells of later.
   * @param {() => void} onRetry What its "Try again" does.
   */
  constructor(answer, onRetry) {
    this.#answer = answer;
    this.element = fromTemplate("answer-template");
    this.#body = new AnswerBody(this.#part(".body"), answer);
    this.#thinking = new ThinkingView(this.#part(".thinking"), answer);
    this.#part(".problem button").addEventListener("click", onRetry);
    this.#paint();
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

  /** Draw the rest: nothing more will come. A page in the background has no frames. */
  finish() {
    cancelAnimationFrame(this.#frame);
    this.#over = true;
    this.#body.end();
    this.#paint();
  }

  #paint() {
    this.#frame = 0;
    const until = performance.now() + SLICE;
    const isDrawn = this.#thinking.paint(until) && this.#body.paint(until);
    this.#paintWaiting();
    if (!isDrawn) {
      this.#paintLater();
    } else if (this.#over) {
      this.#paintEnd();
    }
  }

  #paintLater() {
    if (this.#over) {
      setTimeout(() => this.#paint());
    } else {
      this.changed();
    }
  }

  #paintWaiting() {
    const { status, begun, loading, model } = this.#answer;
    this.#part(".waiting").hidden = begun || status !== null;
    this.#part(".phase").textContent = loading
      ? `Loading ${model} into memory; that can take a minute.`
      : "";
  }

  #paintEnd() {
    const { error, text } = this.#answer;
    this.element.ariaBusy = "false";
    this.#part(".facts").textContent = factsOf(this.#answer).join(" · ");
    if (error) {
      const kept = text ? "The answer above is incomplete. " : "";
      showSentence(this.#part(".problem p"), kept + error);
      this.#part(".problem").hidden = false;
    }
  }

  /** @param {string} selector */
  #part(selector) {
    return part(this.element, selector);
  }
}
