/** The Markdown parser, which npm brings; see package.json. */

import { isSafeLink } from "./links.js";
import { addSyntax } from "./syntax.js";

/**
 * @typedef {import("markdown-it").MarkdownIt} MarkdownIt
 * @typedef {import("markdown-it").StateBlock} StateBlock
 * @typedef {import("markdown-it").StateCore} StateCore
 */

// A name that the type checker does not follow: the file may be missing.
const LIBRARY = "../../node_modules/markdown-it/dist/browser/markdown-it.esm.min.mjs";
const CJK = "../../node_modules/markdown-it-cjk-friendly/dist/index.js";

/** A longer paragraph is plain text: the library's time grows with the square, in characters. */
const MAX_PARAGRAPH = 8192;

/** Quotes and lists may be so deep in each other; what is deeper is text. */
const MAX_DEPTH = 20;

/**
 * The parser, or null where npm has not brought it: answers are plain text then.
 *
 * @type {MarkdownIt | null}
 */
export const parser = await load();

async function load() {
  try {
    const [library, cjk] = await Promise.all([import(LIBRARY), import(CJK)]);
    const { default: Library } = /** @type {typeof import("markdown-it")} */ (library);
    // In Chinese, Japanese and Korean no blank stands beside what is emphasised.
    return configure(new Library({ html: false, linkify: true }).use(cjk.default));
  } catch (error) {
    console.info(`Answers are plain text: the Markdown library did not load (${error}).`);
    return null;
  }
}

/** @param {MarkdownIt} parser */
function configure(parser) {
  // A definition at the end would change what has long been read, and vanish itself.
  parser.disable("reference");
  // Only what says itself that it is a link: "e.g.foo" is none.
  parser.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false });
  parser.validateLink = isSafeLink;
  // The library drops what is too deep for it; no text may be lost.
  parser.block.ruler.before("table", "too_deep", tooDeep);
  parser.core.ruler.at("inline", parseParagraphs);
  addSyntax(parser);
  return parser;
}

/**
 * A block rule: what is too deep becomes one paragraph.
 *
 * @param {StateBlock} state
 * @param {number} startLine
 * @param {number} endLine
 * @param {boolean} silent
 */
function tooDeep(state, startLine, endLine, silent) {
  // A list and its item are a level each.
  if (silent || state.level < 2 * MAX_DEPTH) {
    return false;
  }
  let line = startLine + 1;
  while (line < endLine && (state.isEmpty(line) || (state.sCount[line] ?? 0) >= state.blkIndent)) {
    line += 1;
  }
  state.push("paragraph_open", "p", 1).map = [startLine, line];
  const inline = state.push("inline", "", 0);
  inline.content = state.getLines(startLine, line, state.blkIndent, false).trim();
  inline.map = [startLine, line];
  inline.children = [];
  state.push("paragraph_close", "p", -1);
  state.line = line;
  return true;
}

/**
 * A core rule, the library's own but for its bound.
 *
 * @param {StateCore} state
 */
function parseParagraphs({ tokens, md, env, Token }) {
  for (const token of tokens.filter(({ type }) => type === "inline")) {
    token.children ??= [];
    if (token.content.length <= MAX_PARAGRAPH) {
      md.inline.parse(token.content, md, env, token.children);
    } else {
      const text = new Token("too_long", "", 0);
      text.content = token.content;
      token.children.push(text);
    }
  }
}
