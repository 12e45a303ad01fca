/** How much of what a model can see a chat takes. Beyond that, Ollama drops the chat's beginning. */

import { estimatedTokens, toldQuestion } from "./attachments.js";

/**
 * @typedef {import("./message.js").Message} Message
 *
 * @typedef {object} ContextUse In tokens.
 * @property {number} used By what was said, and by what is being written.
 * @property {number} length What the model can see; 0 where it is not known.
 * @property {boolean} isNear Whether it is nearly full.
 * @property {boolean} isCut Whether Ollama has dropped the beginning already.
 */

/** From this share on it is nearly full: an answer needs room as well. */
const NEAR = 0.85;

/** @type {WeakMap<object, number>} What files and messages were estimated at: they do not change. */
const known = new WeakMap();

/**
 * @param {object} chat
 * @param {Message[]} chat.path What was said.
 * @param {string} chat.system
 * @param {string} chat.text What is being written.
 * @param {import("./attachments.js").Attachment[]} chat.attachments
 * @param {number} length
 * @returns {ContextUse}
 */
export function contextUse({ path, system, text, attachments }, length) {
  // The last answer's figures tell of all that came before it.
  const last = path.findLastIndex(({ usage }) => usage.prompt_tokens);
  const { prompt_tokens = 0, completion_tokens = 0, prompt_cut } = path[last]?.usage ?? {};
  const counted = last < 0 ? estimatedTokens(system) : (prompt_tokens ?? 0) + (completion_tokens ?? 0);
  const since = path.slice(last + 1).reduce((sum, message) => sum + tokensOf(message, toldQuestion(message)), 0);
  const written = attachments.reduce(
    (sum, each) => sum + (each.kind === "file" ? tokensOf(each, each.text) : 0),
    estimatedTokens(text),
  );
  const used = counted + since + written;
  const isCut = prompt_cut === true;
  return { used, length, isCut, isNear: length > 0 && (isCut || used >= length * NEAR) };
}

/**
 * @param {object} owner
 * @param {string} text
 */
function tokensOf(owner, text) {
  const tokens = known.get(owner) ?? estimatedTokens(text);
  known.set(owner, tokens);
  return tokens;
}
