/** The text of PDF files. The library is loaded with the first of them. */

import { BadFile } from "../../chat/attachments.js";

// Names that the type checker does not follow: the files may be missing.
const FOLDER = "../../node_modules/pdfjs-dist";
const LIBRARY = `${FOLDER}/legacy/build/pdf.min.mjs`;
const WORKER = new URL(`${FOLDER}/legacy/build/pdf.worker.min.mjs`, import.meta.url).href;
const CMAPS = new URL(`${FOLDER}/cmaps/`, import.meta.url).href;

/** The progress of fewer pages is not worth a word. */
const MANY_PAGES = 20;

/**
 * Return a PDF's text, page by page, and how many pages it has.
 *
 * @param {string} name
 * @param {Uint8Array} bytes Not to be used afterwards.
 * @param {(sentence: string) => void} onProgress
 * @returns {Promise<{text: string, pages: number}>}
 * @throws {BadFile} It has no text, or cannot be read.
 */
export async function readPdf(name, bytes, onProgress) {
  const pdfjs = await load(name);
  pdfjs.GlobalWorkerOptions.workerSrc = WORKER;
  // Only text is wanted: no fonts, no scripts, nothing from elsewhere.
  const loading = pdfjs.getDocument({
    data: bytes,
    cMapUrl: CMAPS,
    cMapPacked: true,
    disableFontFace: true,
    isEvalSupported: false,
    useWasm: false,
    verbosity: 0,
  });
  try {
    const document = await loading.promise;
    const pages = [];
    for (let number = 1; number <= document.numPages; number += 1) {
      if (document.numPages >= MANY_PAGES && number % MANY_PAGES === 1) {
        onProgress(`Reading ${name}, page ${number} of ${document.numPages}.`);
      }
      const page = await document.getPage(number);
      pages.push(textOf((await page.getTextContent()).items));
      page.cleanup();
    }
    const text = pages.join("\n\n").trim();
    if (text === "") {
      throw new BadFile(`${name} has no text: its pages are pictures. Send them as pictures to a model that sees.`);
    }
    return { text, pages: pages.length };
  } catch (error) {
    throw error instanceof BadFile ? error : unreadable(name, error);
  } finally {
    await loading.destroy();
  }
}

/** @param {{str?: string, hasEOL?: boolean}[]} items */
function textOf(items) {
  return items.map(({ str = "", hasEOL }) => str + (hasEOL ? "\n" : "")).join("").trim();
}

/**
 * @param {string} name
 * @param {unknown} error
 */
function unreadable(name, error) {
  const isLocked = Object(error).name === "PasswordException";
  const sentence = isLocked
    ? `${name} needs a password. Save a copy without one, then add that.`
    : `${name} is not a PDF that can be read: it is damaged.`;
  return new BadFile(sentence, { cause: error });
}

/** @param {string} name */
async function load(name) {
  try {
    return await import(LIBRARY);
  } catch (error) {
    throw new BadFile(`${name} was not read: the PDF library did not load. Copy its text into the message.`, {
      cause: error,
    });
  }
}
