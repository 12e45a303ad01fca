/** Draws how much of what the model can see the chat takes, and warns before its beginning is dropped. */

import { part } from "../dom.js";

const line = part(document, "#context");
const meter = /** @type {HTMLMeterElement} */ (part(line, "meter"));
const warning = part(document, "#context-warning");

/** @param {import("../../chat/context-use.js").ContextUse} use */
export function showContext({ used, length, isNear, isCut }) {
  const tokens = used.toLocaleString("en");
  const most = length.toLocaleString("en");
  line.hidden = used === 0;
  meter.hidden = length === 0;
  meter.max = length || 1;
  meter.value = used;
  meter.high = Math.floor(length * 0.85);
  part(line, "span").textContent = length ? `${tokens} of ${most} tokens` : `${tokens} tokens`;
  line.classList.toggle("near", isNear);
  const happens = isCut
    ? `Ollama has dropped the beginning of this chat: it is longer than the ${most} tokens that the model sees.`
    : `This chat nearly fills the ${most} tokens that the model sees; beyond them Ollama drops its beginning.`;
  const sentence = isNear ? `${happens} Raise the context length in the settings, or begin a new chat.` : "";
  if (warning.textContent !== sentence) {
    warning.textContent = sentence; // said anew, screen readers would tell it once more
    warning.hidden = !sentence;
  }
}
