/**
 * What models write beyond CommonMark and tables: maths, footnote marks, and a few elements of HTML.
 *
 * @typedef {import("markdown-it").MarkdownIt} MarkdownIt
 * @typedef {import("markdown-it").StateBlock} StateBlock
 * @typedef {import("markdown-it").StateInline} StateInline
 */

/** What opens maths, and what closes it. @type {Readonly<Record<string, string>>} */
const CLOSING = { "$$": "$$", "\\[": "\\]", "\\(": "\\)" };
const ELEMENT = /^<(sub|sup|kbd|mark|ins|del|u|s|b|i|em|strong)>/i;
const LINE_BREAK = /^<br ?\/?>/i;
const FOOTNOTE = /^\[\^([^\]\s]{1,20})\]:?/;
/** Displayed maths has so many lines at most; what comes after them stands by itself. */
const MAX_LINES = 200;

/** Delimiters that do not come again in the text of a state: they are looked for once. */
/** @type {WeakMap<StateInline, Set<string>>} */
const MISSING = new WeakMap();

/**
 * Teach a parser all of it.
 *
 * @param {MarkdownIt} parser
 */
export function addSyntax(parser) {
  const alt = ["paragraph", "reference", "blockquote", "list"];
  parser.block.ruler.before("fence", "maths", mathsBlock, { alt });
  // Before escapes, which would leave "(" of "\(".
  parser.inline.ruler.before("escape", "maths", mathsInline);
  parser.inline.ruler.before("autolink", "element", elementInline);
  parser.inline.ruler.before("link", "footnote", footnoteInline);
}

/**
 * A block rule: maths that begins a line and ends one. It has no blank line in it, as in TeX. Where its
 * end has not come its source is shown: this holds its lines together, which else might become a list,
 * and whatever comes later changes nothing of what stands before.
 *
 * @param {StateBlock} state
 * @param {number} startLine
 * @param {number} endLine
 * @param {boolean} silent
 */
function mathsBlock(state, startLine, endLine, silent) {
  const first = lineOf(state, startLine);
  const open = first.slice(0, 2);
  const close = open === "\\(" ? undefined : CLOSING[open];
  if (!close || (state.sCount[startLine] ?? 0) - state.blkIndent >= 4) {
    return false;
  }
  const closed = first.indexOf(close, 2);
  if (closed >= 0 && first.slice(closed + 2).trim().length > 1) {
    return false; // a sentence that begins with a formula
  }
  if (silent) {
    return true;
  }
  const lines = [first.slice(2)];
  let line = startLine + 1;
  while (line < endLine && lines.length < MAX_LINES && !lines.at(-1)?.includes(close)) {
    if (state.isEmpty(line) || (state.sCount[line] ?? 0) < state.blkIndent) {
      break;
    }
    lines.push(lineOf(state, line));
    line += 1;
  }
  const text = lines.join("\n");
  const end = text.indexOf(close);
  const after = end < 0 ? "" : text.slice(end + 2).trim();
  const isSentence = after.length > 1;
  const token = new state.Token(end < 0 ? "maths_source" : "maths", "", 0);
  token.map = [startLine, line];
  token.markup = "display";
  token.info = open + (end < 0 ? text : text.slice(0, end) + close);
  token.content = end < 0 ? token.info : text.slice(0, end).trim() + (isSentence ? "" : after);
  if (isSentence) {
    // It goes on behind the formula: both are one block, as they share a line.
    state.push("paragraph_open", "p", 1).map = token.map;
    const inline = state.push("inline", "", 0);
    inline.content = after;
    inline.map = token.map;
    inline.children = [token];
    state.push("paragraph_close", "p", -1);
  } else {
    state.tokens.push(token);
  }
  state.line = line;
  return true;
}

/**
 * @param {StateBlock} state
 * @param {number} line
 */
function lineOf(state, line) {
  return state.src.slice((state.bMarks[line] ?? 0) + (state.tShift[line] ?? 0), state.eMarks[line]);
}

/**
 * An inline rule: `$...$`, `$$...$$`, `\(...\)` and `\[...\]` within a paragraph.
 *
 * @param {StateInline} state
 * @param {boolean} silent
 */
function mathsInline(state, silent) {
  const { src, pos, posMax } = state;
  const two = src.slice(pos, pos + 2);
  const open = CLOSING[two] ? two : src[pos] === "$" ? "$" : "";
  if (!open) {
    return false;
  }
  const end = open === "$" ? closingDollar(state) : find(state, CLOSING[open] ?? "", pos + 2);
  if (end < 0 || end > posMax - (open === "$" ? 1 : 2)) {
    if (open.startsWith("\\")) {
      // Not an escape: the source stays as it is until the rest has come.
      return addText(state, open, silent);
    }
    return false;
  }
  const tex = src.slice(pos + open.length, end);
  const source = src.slice(pos, end + open.length);
  if (tex.trim() === "") {
    return addText(state, source, silent);
  }
  if (!silent) {
    const token = state.push("maths", "", 0);
    token.content = tex;
    token.info = source;
    token.markup = open === "$$" || open === "\\[" ? "display" : "";
  }
  state.pos = pos + source.length;
  return true;
}

/**
 * Return where the dollar is that closes the one here, as Pandoc has it: sums of money are no maths.
 *
 * @param {StateInline} state
 */
function closingDollar(state) {
  const { src, pos } = state;
  if (/\s/.test(src[pos + 1] ?? " ")) {
    return -1;
  }
  let end = find(state, "$", pos + 1);
  while (end > 0 && src[end - 1] === "\\") {
    end = find(state, "$", end + 1);
  }
  const tex = src.slice(pos + 1, end);
  const isMoney = /^\d[\d.,]*\s/.test(tex) && !/[\\^_=+<>]/.test(tex);
  const isClosing = /\S/.test(src[end - 1] ?? " ") && !/\d/.test(src[end + 1] ?? "");
  return end > pos + 1 && isClosing && !isMoney && !tex.includes("`") ? end : -1;
}

/**
 * @param {StateInline} state
 * @param {string} text
 * @param {number} from
 */
function find(state, text, from) {
  if (MISSING.get(state)?.has(text)) {
    return -1;
  }
  const found = state.src.indexOf(text, from);
  if (found < 0) {
    MISSING.set(state, (MISSING.get(state) ?? new Set()).add(text));
  }
  return found;
}

/**
 * An inline rule: elements that say how a text is set, and line breaks. No attribute is taken.
 *
 * @param {StateInline} state
 * @param {boolean} silent
 */
function elementInline(state, silent) {
  const { src, pos, posMax } = state;
  if (src[pos] !== "<") {
    return false;
  }
  const rest = src.slice(pos, pos + 16);
  const lineBreak = LINE_BREAK.exec(rest)?.[0];
  if (lineBreak) {
    if (!silent) {
      state.push("hardbreak", "br", 0);
    }
    state.pos += lineBreak.length;
    return true;
  }
  const [start = "", name = ""] = ELEMENT.exec(rest) ?? [];
  const tag = name.toLowerCase();
  const end = start ? find(state, `</${name}>`, pos + start.length) : -1;
  if (end < 0 || end > posMax - start.length - 1 || state.level >= state.md.options.maxNesting) {
    return false;
  }
  if (!silent) {
    state.push("element_open", tag, 1);
    state.pos = pos + start.length;
    state.posMax = end;
    state.md.inline.tokenize(state);
    state.push("element_close", tag, -1);
    state.posMax = posMax;
  }
  state.pos = end + start.length + 1;
  return true;
}

/**
 * An inline rule: a footnote's mark, where it is set and where the note stands.
 *
 * @param {StateInline} state
 * @param {boolean} silent
 */
function footnoteInline(state, silent) {
  const [whole, mark = ""] = FOOTNOTE.exec(state.src.slice(state.pos, state.pos + 32)) ?? [];
  if (!whole) {
    return false;
  }
  const isNote = state.pos === 0 && whole.endsWith(":");
  if (!silent) {
    state.push("element_open", "sup", 1);
    state.push("text", "", 0).content = mark;
    state.push("element_close", "sup", -1);
  }
  state.pos += whole.length - (whole.endsWith(":") && !isNote ? 1 : 0);
  return true;
}

/**
 * @param {StateInline} state
 * @param {string} text
 * @param {boolean} silent
 */
function addText(state, text, silent) {
  if (!silent) {
    state.pending += text;
  }
  state.pos += text.length;
  return true;
}
