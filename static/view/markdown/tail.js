/**
 * The end of a growing Markdown text: what of it can still change.
 *
 * Only the last block can; of a list only the last item, of a table the last row, of code the last
 * lines. They alone are parsed again when text comes. What comes out depends on the text, not on how
 * it was cut, and is what parsing all of it at once gives.
 */

import { beginning } from "./text-size.js";
import { languageOf, parseBlocks, verbatim } from "./tree.js";

/**
 * @typedef {import("markdown-it").MarkdownIt} MarkdownIt
 * @typedef {import("./tree.js").MarkdownNode} MarkdownNode
 *
 * @typedef {object} Step
 * @property {MarkdownNode[]} blocks What there is behind the blocks that are over.
 * @property {number} over How many of these are over by now.
 * @property {number} parts How many items, rows or pieces of the next one are over.
 * @property {boolean} isLast Whether this is all until more text comes.
 *
 * @typedef {object} Verbatim What the text is within that is no Markdown.
 * @property {RegExp} close The line that ends it.
 * @property {(text: string) => MarkdownNode} node
 */

/** A block, item or row that is larger ends here: what is parsed again has a bound. See text-size.js. */
const MAX_BLOCK = 16_384;
/**
 * A list, table or plain text that has more items, rows or pieces goes on in another: what the browser
 * lays out anew has a bound. A table's next piece has the head again.
 */
export const MAX_PARTS = 100;
/** With how much to begin where a lot has come. */
const FIRST_ROOM = 2048;

/** A last line that is only markers shows when it is known what they mean. */
const MARKERS = /^[ \t>]*(?:[-+*_=#~`|:]+|\d{1,9}[.)])[ \t]*$/;

/** @type {Verbatim} */
const PLAIN_TEXT = { close: /(?!)/, node: (text) => verbatim("div", { class: "verbatim" }, text) };

/** A text that grows, and is taken step by step. */
export class MarkdownTail {
  #parser;
  /** From the beginning of the last block, item, row or piece on. */
  #text = "";
  /** The head of the table that the text goes on with; "" where it does not. */
  #head = "";
  /** How many items or rows of the block that the text goes on with are over. */
  #parts = 0;
  /** The number of that list's first item, where it is a further piece of one; else 0. */
  #start = 0;
  /** @type {Verbatim | null} */
  #verbatim;
  /** How much of the text has been looked at for what is over. */
  #seen = 0;
  /** Whether the text so far ends with a CR, which may be half a line end. */
  #afterCr = false;
  #ended = false;

  /** @param {MarkdownIt | null} parser null takes plain text. */
  constructor(parser) {
    this.#parser = parser;
    this.#verbatim = parser ? null : PLAIN_TEXT;
  }

  /** @param {string} text */
  add(text) {
    const rest = this.#afterCr && text.startsWith("\n") ? text.slice(1) : text;
    this.#afterCr = text ? text.endsWith("\r") : this.#afterCr;
    this.#text += rest.replace(/\r\n?/g, "\n").replaceAll("\0", "\u{FFFD}");
  }

  /** Take that no more will come. */
  end() {
    this.#ended = true;
  }

  /**
   * Forget what is over. Takes a bounded time: of a lot of text, some is left for the next step.
   *
   * @returns {Step}
   */
  step() {
    // What stands as it is takes no parsing.
    for (let size = this.#verbatim ? MAX_BLOCK : FIRST_ROOM; ; size *= 2) {
      const room = beginning(this.#text, size);
      const step = this.#settle(room);
      if (step) {
        return step;
      }
      if (room === this.#text) {
        return this.#rest();
      }
      if (size >= MAX_BLOCK) {
        return this.#cut(room);
      }
    }
  }

  /** @returns {Step} */
  #rest() {
    const isShown = this.#ended || !this.#parser;
    const blocks = this.#parse(isShown ? this.#text : withoutMarkers(this.#text));
    return { blocks, over: this.#ended ? blocks.length : 0, parts: 0, isLast: true };
  }

  /**
   * End a block that is too long.
   *
   * @param {string} room The text's beginning, as large as a block may be.
   * @returns {Step}
   */
  #cut(room) {
    const pieces = this.#verbatim && this.#settlePieces(room);
    if (pieces) {
      return pieces;
    }
    const block = room.slice(0, room.lastIndexOf("\n") + 1) || room;
    const blocks = this.#parse(block);
    this.#forget(block.length);
    this.#parts = 0;
    this.#start = 0;
    return { blocks, over: blocks.length, parts: 0, isLast: false };
  }

  /**
   * Forget what is over in the text's beginning; null where nothing is.
   *
   * @param {string} room
   * @returns {Step | null}
   */
  #settle(room) {
    // No text to come can change what whole lines mean to those before them.
    const lines = room.slice(0, room.lastIndexOf("\n") + 1);
    if (lines.length <= this.#seen) {
      return null;
    }
    this.#seen = lines.length;
    return this.#verbatim ? this.#settleVerbatim(lines, this.#verbatim) : this.#settleBlocks(lines);
  }

  /**
   * @param {string} lines
   * @returns {Step | null}
   */
  #settleBlocks(lines) {
    const blocks = this.#upToLongest(this.#parse(lines));
    const last = blocks.at(-1);
    if (!last) {
      return null;
    }
    const text = this.#head + lines;
    const starts = lineStarts(text);
    const start = starts[last.line] ?? 0;
    const fence = openFence(text.slice(start));
    const parts = partsOf(last);
    const before = blocks.length > 1 ? 0 : this.#parts;
    // The last of them may go on.
    const count = Math.min(parts.length - 1, MAX_PARTS - before);
    const line = parts[count]?.line ?? last.line;
    const over = (fence ? start + fence.opening : starts[line] ?? 0) - this.#head.length;
    if (over <= 0) {
      return null;
    }
    if (blocks.length > 1) {
      this.#head = "";
    }
    if (last.tag === "table" && parts[0]) {
      this.#head ||= text.slice(start, starts[parts[0].line]);
    }
    this.#verbatim = fence;
    this.#forget(over);
    return this.#count(blocks, Math.max(0, count), before);
  }

  /**
   * Leave what comes after a list or table that has too many parts for the next step.
   *
   * @param {MarkdownNode[]} blocks
   */
  #upToLongest(blocks) {
    const long = blocks.findIndex(
      (block, place) => partsOf(block).length > MAX_PARTS - (place === 0 ? this.#parts : 0),
    );
    return long < 0 ? blocks : blocks.slice(0, long + 1);
  }

  /**
   * Count the items or rows of the last block. With the last that it may have, it is over.
   *
   * @param {MarkdownNode[]} blocks
   * @param {number} parts How many more are over.
   * @param {number} before How many were.
   * @returns {Step}
   */
  #count(blocks, parts, before) {
    const last = /** @type {MarkdownNode} */ (blocks.at(-1));
    if (blocks.length > 1) {
      this.#start = 0;
    }
    if (last.tag === "ol" && before === 0) {
      this.#start ||= Number(last.attributes.start);
    }
    this.#parts = before + parts;
    if (this.#parts < MAX_PARTS) {
      return { blocks, over: blocks.length - 1, parts, isLast: false };
    }
    partsOf(last).splice(parts);
    this.#parts = 0;
    this.#start += MAX_PARTS;
    return { blocks, over: blocks.length, parts: 0, isLast: false };
  }

  /**
   * @param {string} lines
   * @param {Verbatim} verbatim
   * @returns {Step | null}
   */
  #settleVerbatim(lines, verbatim) {
    const { text, isClosed, end } = split(lines, verbatim);
    if (!isClosed) {
      return this.#settlePieces(text);
    }
    this.#verbatim = null;
    this.#forget(end);
    return { blocks: [verbatim.node(text)], over: 1, parts: 0, isLast: false };
  }

  /**
   * @param {string} text Code, or plain text, that goes on.
   * @returns {Step | null}
   */
  #settlePieces(text) {
    const [block] = this.#parse(text);
    const isPlain = this.#verbatim === PLAIN_TEXT;
    const left = isPlain ? MAX_PARTS - this.#parts : Infinity;
    const over = block?.children.slice(0, -1).slice(0, left) ?? [];
    if (!block || over.length === 0) {
      return null;
    }
    this.#forget(over.reduce((length, piece) => length + (piece.children[0]?.text.length ?? 0), 0));
    if (over.length < left) {
      this.#parts += isPlain ? over.length : 0;
      return { blocks: [block], over: 0, parts: over.length, isLast: false };
    }
    block.children = over;
    this.#parts = 0;
    return { blocks: [block], over: 1, parts: 0, isLast: false };
  }

  /** @param {string} text What the tail begins with. */
  #parse(text) {
    if (!this.#verbatim) {
      return this.#parser ? this.#numbered(parseBlocks(this.#parser, this.#head + text)) : [];
    }
    const { text: code, end } = split(text, this.#verbatim);
    const rest = this.#parser && end < text.length ? parseBlocks(this.#parser, text.slice(end)) : [];
    return [this.#verbatim.node(code), ...rest];
  }

  /**
   * Have a list's next piece go on with its numbers, whatever the text says.
   *
   * @param {MarkdownNode[]} blocks
   */
  #numbered(blocks) {
    const [first] = blocks;
    if (first?.tag === "ol" && this.#start > 0) {
      first.attributes.start = String(this.#start);
    }
    return blocks;
  }

  /** @param {number} length */
  #forget(length) {
    this.#text = this.#text.slice(length);
    this.#seen = 0;
  }
}

/**
 * Return what of a block is over when the next of its kind has begun.
 *
 * @param {MarkdownNode} block
 */
function partsOf({ tag, children }) {
  if (tag === "table") {
    return children[1]?.children ?? [];
  }
  return tag === "ul" || tag === "ol" ? children : [];
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
  return split(lines.slice(line.length), code).isClosed ? null : code;
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
    return { text, isClosed: false, end: text.length };
  }
  const end = found.index + found[0].length + 1;
  return { text: text.slice(0, found.index), isClosed: true, end };
}
