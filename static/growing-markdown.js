/**
 * Markdown that grows at its end.
 *
 * Only the last block can still change; of a list only the last item, of code only the last lines.
 * They alone are parsed and drawn again when text comes. What comes out depends on the text, not on
 * how it was cut, and is what parsing all of it at once gives.
 */

import { redraw } from "./markdown-drawing.js";
import { languageOf, parseBlocks, verbatim, wholeCharacters } from "./markdown-tree.js";

/**
 * @typedef {import("markdown-it").MarkdownIt} MarkdownIt
 * @typedef {import("./markdown-drawing.js").Drawn} Drawn
 * @typedef {import("./markdown-tree.js").MarkdownNode} MarkdownNode
 *
 * @typedef {object} Verbatim What the text is within that is no Markdown.
 * @property {RegExp} close The line that ends it.
 * @property {(text: string) => MarkdownNode} node
 */

/** A block, or an item, that is longer ends here: what is parsed again has a bound, in characters. */
const MAX_BLOCK = 32_768;

/** A last line that is only markers shows when it is known what they mean. */
const MARKERS = /^[ \t>]*(?:[-+*_=#~`|:]+|\d{1,9}[.)])[ \t]*$/;

/** @type {Verbatim} */
const PLAIN_TEXT = { close: /(?!)/, node: (text) => verbatim("div", { class: "plain" }, text) };

/** Draws a text that grows, in an element of its own. */
export class GrowingMarkdown {
  #element;
  #parser;
  /** What is not drawn for good: from the beginning of the last block, item or piece of code on. */
  #tail = "";
  /** How much of it has been looked at for what is over. */
  #seen = 0;
  /** What is drawn of it. @type {Drawn[]} */
  #drawn = [];
  /** @type {Verbatim | null} */
  #verbatim;
  /** Whether the text so far ends with a CR, which may be half a line end. */
  #afterCr = false;
  #ended = false;
  #stale = false;

  /**
   * @param {Element} element Where to draw; nothing else may be in it.
   * @param {MarkdownIt | null} parser null draws plain text.
   */
  constructor(element, parser) {
    this.#element = element;
    this.#parser = parser;
    this.#verbatim = parser ? null : PLAIN_TEXT;
  }

  /**
   * Take more text; `paint` draws it.
   *
   * @param {string} text
   */
  add(text) {
    if (!text) {
      return;
    }
    const rest = this.#afterCr && text.startsWith("\n") ? text.slice(1) : text;
    this.#afterCr = text.endsWith("\r");
    this.#tail += rest.replace(/\r\n?/g, "\n").replaceAll("\0", "\u{FFFD}");
    this.#stale = true;
  }

  /** Take that no more will come. */
  end() {
    this.#stale ||= !this.#ended;
    this.#ended = true;
  }

  /**
   * Draw what has come. Returns whether all of it is drawn: a huge text takes several calls.
   *
   * @param {number} until When to stop, as `performance.now()` tells time.
   */
  paint(until) {
    while (this.#stale) {
      if (!this.#settle()) {
        this.#draw(this.#ended || !this.#parser ? this.#tail : withoutMarkers(this.#tail));
        this.#stale = false;
      } else if (performance.now() >= until) {
        return false;
      }
    }
    return true;
  }

  /** Draw for good what is over. Returns whether anything was: there may be more. */
  #settle() {
    const full = this.#tail.length >= MAX_BLOCK;
    const room = full ? this.#tail.slice(0, wholeCharacters(this.#tail, MAX_BLOCK)) : this.#tail;
    const lines = room.slice(0, room.lastIndexOf("\n") + 1);
    if (lines.length > this.#seen && this.#settleLines(lines)) {
      return true;
    }
    this.#seen = lines.length;
    return full && this.#settleRoom(room, lines);
  }

  /** @param {string} lines Whole lines: no text to come can change what they mean. */
  #settleLines(lines) {
    if (this.#verbatim) {
      const { text, closed, end } = split(lines, this.#verbatim);
      return closed ? this.#leave(text, end) : this.#settlePieces(text);
    }
    const blocks = this.#parse(lines);
    const last = blocks.at(-1);
    if (!last) {
      return false;
    }
    const starts = lineStarts(lines);
    const start = starts[last.line] ?? 0;
    const fence = openFence(lines.slice(start));
    const item = isList(last) ? last.children.at(-1) : undefined;
    const over = fence ? start + fence.opening : starts[(item ?? last).line] ?? 0;
    if (over === 0) {
      return false;
    }
    redraw(this.#element, this.#drawn, blocks);
    this.#drawn.splice(0, blocks.length - 1);
    if (item) {
      this.#drawn[0]?.children.splice(0, last.children.length - 1);
    }
    this.#verbatim = fence;
    this.#forget(over);
    return true;
  }

  /**
   * Draw code that is over, and go on behind the fence that ends it.
   *
   * @param {string} text
   * @param {number} end
   */
  #leave(text, end) {
    this.#draw(text);
    this.#drawn = [];
    this.#verbatim = null;
    this.#forget(end);
    return true;
  }

  /** @param {string} text Code, or plain text, that goes on. */
  #settlePieces(text) {
    const pieces = this.#verbatim?.node(text).children ?? [];
    const over = pieces.slice(0, -1);
    if (over.length === 0) {
      return false;
    }
    this.#draw(text);
    this.#drawn[0]?.children.splice(0, over.length);
    this.#forget(over.reduce((length, piece) => length + (piece.children[0]?.text.length ?? 0), 0));
    return true;
  }

  /**
   * End a block that is too long.
   *
   * @param {string} room
   * @param {string} lines Of these.
   */
  #settleRoom(room, lines) {
    if (this.#verbatim) {
      return this.#settlePieces(room);
    }
    const block = lines || room;
    this.#draw(block);
    this.#drawn = [];
    this.#forget(block.length);
    return true;
  }

  /** @param {string} text What the tail begins with. */
  #draw(text) {
    redraw(this.#element, this.#drawn, this.#parse(text));
  }

  /** @param {string} text */
  #parse(text) {
    if (!this.#verbatim) {
      return this.#parser ? parseBlocks(this.#parser, text) : [];
    }
    const { text: code, end } = split(text, this.#verbatim);
    const rest = this.#parser && end < text.length ? parseBlocks(this.#parser, text.slice(end)) : [];
    return [this.#verbatim.node(code), ...rest];
  }

  /** @param {number} length */
  #forget(length) {
    this.#tail = this.#tail.slice(length);
    this.#seen = 0;
  }
}

/** @param {MarkdownNode} node */
function isList({ tag }) {
  return tag === "ul" || tag === "ol";
}

/** @param {string} text */
function lineStarts(text) {
  const starts = [0];
  for (let end = text.indexOf("\n"); end !== -1; end = text.indexOf("\n", end + 1)) {
    starts.push(end + 1);
  }
  return starts;
}

/** @param {string} text */
function withoutMarkers(text) {
  const start = text.lastIndexOf("\n") + 1;
  return MARKERS.test(text.slice(start)) ? text.slice(0, start) : text;
}

/**
 * Return the code that a last block opens and does not close, and how long its opening line is.
 *
 * @param {string} lines
 * @returns {(Verbatim & {opening: number}) | null}
 */
function openFence(lines) {
  // Not "." and "m", for which U+2028 ends a line as well.
  const [line, fence = "", info = ""] = /^(`{3,}|~{3,})([^\n]*)\n/.exec(lines) ?? [];
  if (!line || (fence.startsWith("`") && info.includes("`"))) {
    return null;
  }
  const close = new RegExp(`(?<![^\\n]) {0,3}${fence}${fence[0]}*[ \\t]*(?![^\\n])`);
  const code = {
    close,
    opening: line.length,
    node: (/** @type {string} */ text) => verbatim("code-block", languageOf(info), text),
  };
  return split(lines.slice(line.length), code).closed ? null : code;
}

/**
 * Part what stands before the line that closes it from what comes after.
 *
 * @param {string} text
 * @param {Verbatim} verbatim
 */
function split(text, { close }) {
  const found = close.exec(text);
  if (!found) {
    return { text, closed: false, end: text.length };
  }
  const end = found.index + found[0].length + 1;
  return { text: text.slice(0, found.index), closed: true, end };
}
