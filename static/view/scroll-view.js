/** Keeps the end of the conversation in view, but only while it is. */

import { part } from "./dom.js";

const scroller = part(document, "#scroller");
const toEnd = part(document, "#to-end");

/** Pixels from the end that still are the end. */
const NEAR = 16;

/** Where one is in the conversation: nobody is dragged away from what they read. */
export class ScrollView {
  #atEnd = true;
  #place = 0;
  #height = 0;

  constructor() {
    scroller.addEventListener("scroll", () => this.#look());
    toEnd.addEventListener("click", () => {
      this.follow();
      scroller.focus();
    });
    const observer = new ResizeObserver(() => this.#grow());
    observer.observe(part(document, "#content"));
    observer.observe(scroller);
  }

  /** Go to the end, and stay there. */
  follow() {
    this.#atEnd = true;
    this.#grow();
  }

  #look() {
    const { scrollHeight, scrollTop, clientHeight } = scroller;
    if (scrollHeight - scrollTop - clientHeight < NEAR) {
      this.#atEnd = true;
    } else if (scrollTop < this.#place && scrollHeight >= this.#height) {
      // Only going up leaves the end. To be away from it is not enough: the event comes a frame
      // after the scrolling, and the answer may have grown in between. Nor is it what the browser does
      // where something has become lower, such as a formula that takes the place of its source.
      this.#atEnd = false;
    }
    this.#place = scrollTop;
    this.#height = scrollHeight;
    this.#offer();
  }

  #grow() {
    if (this.#atEnd) {
      scroller.scrollTop = scroller.scrollHeight;
      this.#place = scroller.scrollTop;
    }
    this.#height = scroller.scrollHeight;
    this.#offer();
  }

  #offer() {
    toEnd.hidden = this.#atEnd;
  }
}
