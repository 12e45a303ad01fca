/** Draws Markdown that grows at its end: what is over is never touched again. */

import { redraw } from "./markdown-drawing.js";
import { MarkdownTail } from "./markdown-tail.js";

/**
 * @typedef {import("markdown-it").MarkdownIt} MarkdownIt
 * @typedef {import("./markdown-drawing.js").Drawn} Drawn
 */

/** Blocks, items and rows stand together in so many, so that the browser lays out anew only the last. */
const SECTION = 24;

/** A text that grows, in an element of its own. */
export class GrowingMarkdown {
  #element;
  #tail;
  /** The blocks, or parts of the first, that may change. @type {Drawn[]} */
  #drawn = [];
  /** @type {HTMLElement | null} */
  #section = null;
  /** How many blocks, items and rows that are over stand in it. */
  #filled = 0;
  #isStale = false;
  #ended = false;

  /**
   * @param {Element} element Where to draw; nothing else may be in it.
   * @param {MarkdownIt | null} parser null draws plain text.
   */
  constructor(element, parser) {
    this.#element = element;
    this.#tail = new MarkdownTail(parser);
  }

  /**
   * Take more text; `paint` draws it.
   *
   * @param {string} text
   */
  add(text) {
    this.#tail.add(text);
    this.#isStale ||= text !== "";
  }

  /** Take that no more will come. */
  end() {
    this.#isStale ||= !this.#ended;
    this.#ended = true;
    this.#tail.end();
  }

  /**
   * Draw what has come. Returns whether all of it is drawn: a huge text takes several calls.
   *
   * @param {number} until When to stop, as `performance.now()` tells time.
   */
  paint(until) {
    while (this.#isStale) {
      this.#isStale = !this.#drawStep();
      if (performance.now() >= until) {
        break;
      }
    }
    return !this.#isStale;
  }

  /** Returns whether this was the last step. */
  #drawStep() {
    const { blocks, over, parts, isLast } = this.#tail.step();
    if (blocks.length > 0) {
      redraw(this.#open(), this.#drawn, blocks);
    }
    for (const { dom } of this.#drawn.splice(0, over)) {
      this.#open().append(dom);
      this.#filled += sizeOf(dom);
    }
    if (this.#drawn.length > 0) {
      this.#open().append(...this.#drawn.map(({ dom }) => dom));
    }
    forgetParts(this.#drawn[0], parts);
    return isLast;
  }

  /** Return where the next block goes. */
  #open() {
    if (!this.#section || this.#filled >= SECTION) {
      this.#section = document.createElement("div");
      this.#section.className = "section";
      this.#element.append(this.#section);
      this.#filled = 0;
    }
    return this.#section;
  }
}

/** @param {ChildNode} block */
function sizeOf(block) {
  return 1 + (block instanceof Element ? block.querySelectorAll("li, tr").length : 0);
}

/**
 * Leave the first parts of a block as they are from now on.
 *
 * @param {Drawn | undefined} block
 * @param {number} count
 */
function forgetParts(block, count) {
  const container = block?.node.tag === "table" ? block.children[1] : block;
  container?.children.splice(0, count);
}
