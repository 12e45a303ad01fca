/** Draws what a model thinks before it answers: open while it does, folded away afterwards. */

import { part } from "../dom.js";
import { GrowingMarkdown } from "../markdown/growing-markdown.js";
import { parser } from "../markdown/parser.js";
import { seconds } from "./answer-facts.js";

/**
 * @typedef {object} Thinker What is known of an answer.
 * @property {string} thinking
 * @property {number} thinkingBegan In milliseconds, as `Date.now()` tells time; 0: not yet.
 * @property {number} thinkingEnded
 * @property {unknown} status What is not null or "running" is over.
 */

/** The thinking of one answer. */
export class ThinkingView {
  #details;
  #answer;
  #text;
  #folded = false;
  #clock = 0;

  /**
   * @param {HTMLElement} details The `<details>` to draw into.
   * @param {Thinker} answer
   */
  constructor(details, answer) {
    this.#details = /** @type {HTMLDetailsElement} */ (details);
    this.#answer = answer;
    this.#text = new GrowingMarkdown(part(details, ".prose"), parser);
    this.#text.add(answer.thinking);
  }

  /** @param {string} thinking */
  add(thinking) {
    this.#text.add(thinking);
  }

  /**
   * Draw what has come. Returns whether all of it is drawn.
   *
   * @param {number} until When to stop, as `performance.now()` tells time.
   */
  paint(until) {
    const { thinking, thinkingEnded, status } = this.#answer;
    const goesOn = thinkingEnded === 0 && (status === null || status === "running");
    this.#details.hidden = !thinking;
    if (!goesOn) {
      this.#text.end();
      this.#fold();
    }
    if (thinking) {
      this.#keepTime(goesOn);
    }
    return this.#text.paint(until);
  }

  #fold() {
    // Once: who opens it again wants to read it.
    if (!this.#folded) {
      this.#folded = true;
      this.#details.open = false;
    }
  }

  /** @param {boolean} goesOn */
  #keepTime(goesOn) {
    this.#showTime(goesOn);
    if (goesOn) {
      this.#clock ||= setInterval(() => this.#tick(), 1000);
    } else {
      this.#stopClock();
    }
  }

  #tick() {
    if (this.#details.isConnected) {
      this.#showTime(this.#answer.thinkingEnded === 0);
    } else {
      // The page shows something else. If it shows this again, a frame starts the clock.
      this.#stopClock();
    }
  }

  #stopClock() {
    clearInterval(this.#clock);
    this.#clock = 0;
  }

  /** @param {boolean} goesOn */
  #showTime(goesOn) {
    const { thinkingBegan, thinkingEnded } = this.#answer;
    const time = thinkingBegan ? ((thinkingEnded || Date.now()) - thinkingBegan) / 1000 : 0;
    const thought = `Thought for ${time < 1 ? "a moment" : seconds(time)}`;
    const said = goesOn ? `Thinking, ${Math.floor(time)} s` : thought;
    const summary = part(this.#details, "summary");
    // Not more often than it changes: each frame paints.
    if (summary.textContent !== said) {
      summary.textContent = said;
    }
  }
}
