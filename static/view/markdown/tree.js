/** Markdown to a tree of plain nodes. */

import { isSafeLink } from "./links.js";

/**
 * @typedef {import("markdown-it").MarkdownIt} MarkdownIt
 * @typedef {import("markdown-it").Token} Token
 *
 * @typedef {object} MarkdownNode
 * @property {string} tag An element's name, or "code-block", or "maths", or "" for text.
 * @property {string} text "" but where the tag is.
 * @property {Record<string, string>} attributes
 * @property {MarkdownNode[]} children
 * @property {number} line Where a block begins, counted from 0 in the text that was parsed.
 */

/** Elements may be so deep in each other. Browsers lay out by recursion. */
const MAX_DEPTH = 60;
/** Text as it stands is laid out in pieces: whole lines of so many characters together, or so many ... */
const PIECE = 2048;
const PIECE_LINES = 256;
/** ... unless a line is longer than this. */
const MAX_LINE = 8192;
/** What stands on a block of code, in characters. */
const MAX_LANGUAGE = 40;

/** An answer's headings stand below the page's own. @type {Record<string, string>} */
const HEADINGS = { h1: "h3", h2: "h4", h3: "h5", h4: "h6", h5: "h6", h6: "h6" };

/**
 * Return the blocks of a text.
 *
 * @param {MarkdownIt} parser
 * @param {string} text
 * @returns {MarkdownNode[]}
 */
export function parseBlocks(parser, text) {
  const builder = new TreeBuilder();
  builder.addAll(parser.parse(text, {}));
  return builder.blocks;
}

/** @param {string} text @returns {MarkdownNode} */
function textNode(text) {
  return { tag: "", text, attributes: {}, children: [], line: 0 };
}

/**
 * @param {string} tag
 * @param {Record<string, string>} [attributes]
 * @param {MarkdownNode[]} [children]
 * @returns {MarkdownNode}
 */
function element(tag, attributes = {}, children = []) {
  return { tag, text: "", attributes, children, line: 0 };
}

/**
 * Return an element with text as it stands, in pieces that end with a line.
 *
 * @param {string} tag
 * @param {Record<string, string>} attributes
 * @param {string} text
 */
export function verbatim(tag, attributes, text) {
  const pieces = [];
  for (let start = 0, end = 0; start < text.length; start = end) {
    end = pieceEnd(text, start);
    pieces.push(element("span", {}, [textNode(text.slice(start, end))]));
  }
  return element(tag, attributes, pieces);
}

/**
 * @param {string} text
 * @param {number} start
 */
function pieceEnd(text, start) {
  const longest = start + MAX_LINE;
  let end = start;
  for (let lines = 0; lines < PIECE_LINES && end < start + PIECE; lines += 1) {
    const lineEnd = text.indexOf("\n", end) + 1;
    if (lineEnd === 0 || lineEnd > longest) {
      return text.length <= longest ? text.length : wholeCharacters(text, longest);
    }
    end = lineEnd;
  }
  return end;
}

/**
 * Return where to cut a text at the latest, so that no surrogate pair is cut.
 *
 * @param {string} text
 * @param {number} end
 */
export function wholeCharacters(text, end) {
  const isPair = /^[\uD800-\uDBFF][\uDC00-\uDFFF]$/.test(text.slice(end - 1, end + 1));
  return isPair ? end - 1 : end;
}

/** Puts a parser's tokens together. */
class TreeBuilder {
  /** @type {MarkdownNode[]} */
  blocks = [];
  /** @type {MarkdownNode[]} */
  #open = [];
  /** How many elements are open beyond the depth that is drawn. */
  #hidden = 0;

  /** @param {Token[]} tokens */
  addAll(tokens) {
    for (const token of tokens) {
      this.#add(token);
    }
  }

  /** @param {Token} token */
  #add(token) {
    if (token.nesting === 1) {
      this.#enter(elementOf(token), token);
    } else if (token.nesting === -1) {
      this.#leave();
    } else if (token.type === "inline") {
      this.addAll(token.children ?? []);
    } else {
      this.#addLeaf(token);
    }
  }

  /** @param {Token} token */
  #addLeaf(token) {
    switch (token.type) {
      case "softbreak":
      case "hardbreak":
        return this.#addText("\n");
      case "code_inline":
        return this.#place(element("code", {}, [textNode(token.content)]), token);
      case "fence":
      case "code_block":
        return this.#place(verbatim("code-block", languageOf(token.info), token.content), token);
      case "hr":
        return this.#place(element("hr"), token);
      case "image":
        return this.#addImage(token);
      case "maths":
        return this.#place(element("maths", mathsOf(token)), token);
      case "maths_source":
        return this.#place(element("div", { class: "maths-source" }, [textNode(token.content)]), token);
      default:
        return this.#addText(token.content);
    }
  }

  /**
   * An image becomes a link: nothing is fetched from elsewhere.
   *
   * @param {Token} token
   */
  #addImage(token) {
    const source = attribute(token, "src");
    this.#enter(link(source, "image"), token);
    this.#addText(token.content || source);
    this.#leave();
  }

  /**
   * @param {MarkdownNode} node
   * @param {Token} token
   */
  #enter(node, token) {
    if (this.#hidden > 0 || this.#open.length >= MAX_DEPTH) {
      this.#hidden += 1;
      return;
    }
    this.#place(node, token);
    this.#open.push(node);
  }

  #leave() {
    if (this.#hidden > 0) {
      this.#hidden -= 1;
    } else {
      const left = this.#open.pop();
      if (left?.tag === "li") {
        showTask(left);
      }
    }
  }

  /**
   * @param {MarkdownNode} node
   * @param {Token} token
   */
  #place(node, token) {
    node.line = token.map?.[0] ?? 0;
    (this.#open.at(-1)?.children ?? this.blocks).push(node);
  }

  /** @param {string} text */
  #addText(text) {
    const siblings = this.#open.at(-1)?.children ?? this.blocks;
    const last = siblings.at(-1);
    if (last?.tag === "") {
      last.text += text;
    } else if (text) {
      siblings.push(textNode(text));
    }
  }
}

/**
 * Make the mark of a task a box: "[ ] to do", "[x] done".
 *
 * @param {MarkdownNode} item
 */
function showTask(item) {
  const holder = item.children[0]?.tag === "p" ? item.children[0] : item;
  const first = holder.children[0];
  const [mark, done] = (first?.tag === "" && /^\[([ xX])\][ \t]/.exec(first.text)) || [];
  if (first && mark) {
    first.text = first.text.slice(mark.length);
    const isDone = done !== " ";
    const box = { type: "checkbox", disabled: "disabled", "aria-label": isDone ? "Done" : "To do" };
    holder.children.unshift(element("input", isDone ? { ...box, checked: "checked" } : box));
    item.attributes.class = "task";
  }
}

/** @param {Token} token */
function mathsOf({ content, info, markup }) {
  return { tex: content, source: info, display: markup };
}

/** @param {Token} token */
function elementOf(token) {
  switch (token.type) {
    case "heading_open":
      return element(HEADINGS[token.tag] ?? "h6", { class: `like-${token.tag}` });
    case "link_open":
      return link(attribute(token, "href"));
    case "bullet_list_open":
    case "table_open":
      return element(token.tag, { dir: "auto" });
    case "ordered_list_open":
      return element("ol", { dir: "auto", start: attribute(token, "start") || "1" });
    case "th_open":
    case "td_open":
      return element(token.tag, { class: alignment(attribute(token, "style")) });
    default:
      return element(token.tag);
  }
}

/**
 * @param {string} address
 * @param {string} [kind]
 */
function link(address, kind = "") {
  // The parser has looked already; here is where it counts.
  if (!isSafeLink(address)) {
    return element("span");
  }
  const attributes = { href: address, title: address, rel: "noopener noreferrer", target: "_blank" };
  return element("a", kind ? { ...attributes, class: kind } : attributes);
}

/**
 * @param {Token} token
 * @param {string} name
 */
function attribute(token, name) {
  return String(token.attrs?.find(([key]) => key === name)?.[1] ?? "");
}

/** @param {string} style As the parser writes it: "text-align:right". */
function alignment(style) {
  const [, side] = /^text-align:(left|center|right)$/.exec(style) ?? [];
  return side ? `align-${side}` : "";
}

/**
 * Return the attributes of a block of code.
 *
 * @param {string} info What follows a fence: "python title=..."
 */
export function languageOf(info) {
  return { language: info.trim().split(/\s/, 1)[0]?.slice(0, MAX_LANGUAGE) ?? "" };
}
