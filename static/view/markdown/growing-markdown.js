/** Draws Markdown that grows at its end: what is over is never touched again. */

import { redraw } from "./drawing.js";
import { highlight } from "./highlight.js";
import { MarkdownTail } from "./tail.js";
import { beginning, sizeOf } from "./text-size.js";

/**
 * @typedef {import("markdown-it").MarkdownIt} MarkdownIt
 * @typedef {import("./drawing.js").Drawn} Drawn
 */

/** Blocks, items and rows stand together in so many, so that the browser lays out anew only the last. */
const SECTION = 24;
/**
 * So much of a text is drawn as Markdown, what comes after as it stands: some 70,000 tokens of an answer
 * as models write them, or 15,000 items of one letter. See text-size.js.
 */
const MAX_MARKDOWN = 524_288;

/** A text that grows, in an element of its own. */
export class GrowingMarkdown {
  #element;
  #markdown;
  /** What comes behind the Markdown. @type {MarkdownTail | null} */
  #plain = null;
  /** Which of both is drawn. */
  #tail;
  /** How much more may be Markdown. */
  #left = MAX_MARKDOWN;
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
    this.#markdown = new MarkdownTail(parser);
    this.#tail = this.#markdown;
  }

  /**
   * Take more text; `paint` draws it.
   *
   * @param {string} text
   */
  add(text) {
    const markdown = beginning(text, this.#left);
    this.#left -= sizeOf(markdown);
    this.#markdown.add(markdown);
    if (markdown !== text) {
      this.#left = 0;
      this.#markdown.end();
      this.#plain ??= new MarkdownTail(null);
      this.#plain.add(text.slice(markdown.length));
    }
    this.#isStale ||= text !== "";
  }

  /** Take that no more will come. */
  end() {
    this.#isStale ||= !this.#ended;
    this.#ended = true;
    this.#markdown.end();
    this.#plain?.end();
  }

  /**
   * Draw what has come. Returns whether all of it is drawn: a huge text takes several calls.
   *
   * @param {number} until When to stop, as `performance.now()` tells time.
   */
  paint(until) {
    while (this.#isStale) {
      this.#isStale = !this.#drawStep();
      if (this.#isStale) {
        this.#element.getBoundingClientRect(); // laying it out takes time as well
      }
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
      this.#place(dom);
      colourCode(dom);
      this.#filled += blocksIn(dom);
    }
    for (const { dom } of this.#drawn) {
      this.#place(dom);
    }
    forgetParts(this.#drawn[0], parts);
    if (isLast && this.#plain && this.#tail !== this.#plain) {
      this.#tail = this.#plain;
      return false;
    }
    return isLast;
  }

  /** @param {ChildNode} block What stands behind all others, or is to. */
  #place(block) {
    const section = this.#open();
    // What is put where it is already is laid out anew.
    if (block.parentNode !== section) {
      section.append(block);
    }
  }

  /** Return where the next block goes. */
  #open() {
    if (!this.#section || this.#filled >= SECTION) {
      this.#section?.classList.add("over");
      this.#section = document.createElement("div");
      this.#section.className = "section";
      this.#element.append(this.#section);
      this.#filled = 0;
    }
    return this.#section;
  }
}

/** @param {ChildNode} block One that is over. */
function colourCode(block) {
  if (block instanceof HTMLElement) {
    for (const code of block.querySelectorAll("code[data-language]")) {
      highlight(/** @type {HTMLElement} */ (code), /** @type {HTMLElement} */ (code).dataset.language ?? "");
    }
  }
}

/** @param {ChildNode} block */
function blocksIn(block) {
  return 1 + (block instanceof Element ? block.querySelectorAll("li, tr, .verbatim > span").length : 0);
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
