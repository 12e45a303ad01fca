/** Draws one answer. Knows nothing of the network. */

import { fromTemplate, part, showSentence } from "./dom.js";

/** @typedef {import("./conversation.js").Answer} Answer */

/** Text that only grows; what is on the page already is never touched again. */
class GrowingText {
  #node = new Text();

  /** @param {Element} parent */
  constructor(parent) {
    parent.append(this.#node);
  }

  /** @param {string} text */
  show(text) {
    if (text.length > this.#node.length) {
      this.#node.appendData(text.slice(this.#node.length));
    }
  }
}

/** An answer on the page. It is painted at most once a frame, however fast its events come. */
export class AnswerView {
  /** The element to put into the page. */
  element;
  #answer;
  #frame = 0;
  #folded = false;
  #text;
  #thinking;

  /**
   * @param {Answer} answer What to draw, now and after each `update`.
   * @param {() => void} onRetry What its "Try again" does.
   */
  constructor(answer, onRetry) {
    this.#answer = answer;
    this.element = fromTemplate("answer-template");
    this.#text = new GrowingText(this.#part(".text"));
    this.#thinking = new GrowingText(this.#part(".thinking .prose"));
    this.#part(".problem button").addEventListener("click", onRetry);
    this.#paint();
  }

  /** Draw what has changed in the answer, in the next frame. */
  update() {
    this.#frame ||= requestAnimationFrame(() => this.#paint());
  }

  /** Draw it now: nothing more will come. A page in the background has no frames. */
  finish() {
    cancelAnimationFrame(this.#frame);
    this.#paint();
  }

  #paint() {
    this.#frame = 0;
    const answer = this.#answer;
    this.#text.show(answer.text);
    this.#paintThinking();
    this.#paintToolCalls();
    this.#paintWaiting();
    if (answer.status) {
      this.#paintEnd();
    }
  }

  #paintThinking() {
    const { thinking, text } = this.#answer;
    this.#thinking.show(thinking);
    const details = /** @type {HTMLDetailsElement} */ (this.#part(".thinking"));
    details.hidden = !thinking;
    if (text && !this.#folded) {
      // Once: who opens it again wants to read it.
      details.open = false;
      this.#folded = true;
    }
  }

  #paintToolCalls() {
    const list = this.#part(".tool-calls");
    for (const call of this.#answer.toolCalls.slice(list.childElementCount)) {
      const item = fromTemplate("tool-call-template");
      part(item, ".name").textContent = call.name;
      part(item, "pre").textContent = JSON.stringify(call.arguments ?? {}, null, 2);
      list.append(item);
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
    this.#part(".facts").textContent = this.#facts();
    if (error) {
      const kept = text ? "The answer above is incomplete. " : "";
      showSentence(this.#part(".problem p"), kept + error);
      this.#part(".problem").hidden = false;
    }
  }

  /** What there is to say of an answer that is over, in a few words. */
  #facts() {
    const { model, status, reason, usage } = this.#answer;
    const { completion_tokens: tokens, total_time: seconds } = usage;
    return [
      status === "cancelled" && "Stopped",
      reason === "length" && "Cut short at the length limit",
      model,
      tokens && `${tokens} token${tokens === 1 ? "" : "s"}`,
      status === "completed" && seconds && `${seconds.toFixed(1)} s`,
    ]
      .filter(Boolean)
      .join(" · ");
  }

  /** @param {string} selector */
  #part(selector) {
    return part(this.element, selector);
  }
}
