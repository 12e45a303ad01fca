/**
 * Finds out, beside the page, what the words of a program are: no grammar and no program can hold the
 * page up.
 *
 * @typedef {{id: number, language: string, code: string}} Task
 * @typedef {[kind: string, text: string]} Run A piece of the code; the kind is "" where there is none.
 */

import { grammarsOf } from "./languages.js";

// Names that the type checker does not follow: the files may be missing.
const FOLDER = "../../node_modules/@highlightjs/cdn-assets/es";

/** @type {Readonly<Record<string, string>>} */
const ENTITIES = { "&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#x27;": "'" };

const loading = import(`${FOLDER}/core.min.js`).then((module) => module.default);

addEventListener("message", async (event) => {
  const { id, language, code } = /** @type {MessageEvent<Task>} */ (event).data;
  try {
    postMessage({ id, runs: await runsOf(language, code) });
  } catch (error) {
    postMessage({ id, runs: null, reason: String(error) });
  }
});

/**
 * @param {string} language
 * @param {string} code
 */
async function runsOf(language, code) {
  const highlighter = await loading;
  const grammars = grammarsOf(language);
  for (const name of grammars) {
    if (!highlighter.getLanguage(name)) {
      const { default: grammar } = await import(`${FOLDER}/languages/${name}.min.js`);
      highlighter.registerLanguage(name, grammar);
    }
  }
  return parse(highlighter.highlight(code, { language: grammars[0], ignoreIllegals: true }).value);
}

/**
 * Take apart what the library says: spans with a class, and text. It never becomes markup.
 *
 * @param {string} html
 */
function parse(html) {
  /** @type {Run[]} */
  const runs = [];
  const kinds = [""];
  for (const [piece, kind] of html.matchAll(/<span class="([^"]*)">|<\/span>|[^<]+/g)) {
    if (kind !== undefined) {
      kinds.push(kind);
    } else if (piece === "</span>") {
      kinds.pop();
    } else {
      const text = piece.replaceAll(/&(?:amp|lt|gt|quot|#x27);/g, (entity) => ENTITIES[entity] ?? entity);
      runs.push([kinds.at(-1) ?? "", text]);
    }
  }
  return runs;
}
