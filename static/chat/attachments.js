/**
 * What goes with a message besides its words: pictures, and files as text.
 *
 * @typedef {object} Picture
 * @property {"picture"} kind
 * @property {string} name The file's.
 * @property {string} type Such as "image/png".
 * @property {string} data Base64, as Ollama takes it.
 * @property {string} alt What is to be seen on it, in words; "" is not said.
 *
 * @typedef {object} TextFile
 * @property {"file"} kind
 * @property {string} name
 * @property {string} text
 * @property {number} [pages] How many a PDF has.
 * @property {boolean} [isPasted] Whether it was a long paste.
 *
 * @typedef {Picture | TextFile} Attachment
 *
 * @typedef {object} KeptFile As a message keeps it.
 * @property {string} name
 * @property {string} text
 * @property {number} [pages]
 */

import { sizeInWords } from "./models.js";

/** A longer paste becomes a file, in characters. */
export const LONG_PASTE = 4000;

/** A file that cannot be attached; the message is a sentence that says why. */
export class BadFile extends Error {}

/**
 * Return attachments as a message has them.
 *
 * @param {Attachment[]} attachments
 */
export function messageParts(attachments) {
  const pictures = attachments.filter((each) => each.kind === "picture");
  const files = attachments.filter((each) => each.kind === "file");
  return {
    images: pictures.map(({ data }) => data),
    alts: pictures.map(({ alt }) => alt),
    files: files.map(({ name, text, pages }) => ({ name, text, ...(pages && { pages }) })),
  };
}

/**
 * Return the text of a file's bytes.
 *
 * @param {string} name
 * @param {Uint8Array} bytes
 * @throws {BadFile} It is not text, or in an unknown encoding.
 */
export function decodeText(name, bytes) {
  const [first, second] = bytes;
  // Windows programs begin UTF-16 with its byte order mark.
  const wide = first === 0xff && second === 0xfe ? "utf-16le" : first === 0xfe && second === 0xff ? "utf-16be" : "";
  let text;
  try {
    text = new TextDecoder(wide || "utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw isBinary(bytes)
      ? notText(name)
      : new BadFile(`${name} is not in UTF-8, so its letters would be wrong. Save it as UTF-8, then add it again.`, {
          cause: error,
        });
  }
  if (text.includes("\0")) {
    throw notText(name);
  }
  if (text.trim() === "") {
    throw new BadFile(`${name} is empty.`);
  }
  return text;
}

/** @param {string} name */
function notText(name) {
  return new BadFile(`${name} is not a text file. Text, code, CSV, JSON, logs, PDF and pictures can be sent.`);
}

/**
 * Whether bytes that are not UTF-8 are no text in another encoding either: those have no control
 * characters but white space and, in logs, Escape.
 *
 * @param {Uint8Array} bytes
 */
function isBinary(bytes) {
  return bytes.subarray(0, 65_536).some((byte) => byte < 9 || (byte > 13 && byte < 32 && byte !== 27));
}

/**
 * Return a long paste as a file, under a name that no other has.
 *
 * @param {string} text
 * @param {Attachment[]} others
 * @returns {TextFile}
 */
export function pastedFile(text, others) {
  const names = new Set(others.map(({ name }) => name));
  let name = "pasted.txt";
  for (let count = 2; names.has(name); count += 1) {
    name = `pasted-${count}.txt`;
  }
  return { kind: "file", name, text, isPasted: true };
}

/**
 * Return about how many tokens a text is: four letters each in English and code, fewer elsewhere.
 *
 * @param {string} text
 */
export function estimatedTokens(text) {
  const others = text.replaceAll(/[\u0000-\u007f]+/g, "").length;
  return Math.ceil((text.length - others) / 4 + others * 0.75);
}

/**
 * Return what there is to say of a file, in a few words each.
 *
 * @param {KeptFile} file
 */
export function fileTraits({ text, pages }) {
  const tokens = estimatedTokens(text).toLocaleString("en");
  return [
    ...(pages ? [pages === 1 ? "1 page" : `${pages} pages`] : []),
    sizeInWords(new Blob([text]).size),
    `about ${tokens} ${tokens === "1" ? "token" : "tokens"}`,
  ];
}

/**
 * Return a question as the model is told it: each file with its name and in a fence, then the words.
 *
 * @param {{content: string, files?: KeptFile[]}} question
 */
export function toldQuestion({ content, files = [] }) {
  return [...files.map(fenced), ...(content || files.length === 0 ? [content] : [])].join("\n\n");
}

/** @param {KeptFile} file */
function fenced({ name, text }) {
  // Longer than any in the file: nothing in it ends the block.
  let longest = 2;
  for (const [ticks] of text.matchAll(/`{3,}/g)) {
    longest = Math.max(longest, ticks.length);
  }
  const fence = "`".repeat(longest + 1);
  const language = /\.(\w{1,12})$/.exec(name)?.[1]?.toLowerCase() ?? "";
  return `File ${JSON.stringify(name)}:\n${fence}${language}\n${text}${text.endsWith("\n") ? "" : "\n"}${fence}`;
}
