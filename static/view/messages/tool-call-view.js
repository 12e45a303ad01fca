/** Draws a call of a tool, and its result. */

import { part } from "../dom.js";

/**
 * @typedef {{id: string, name: string, arguments?: object | null}} ToolCall
 * @typedef {{id: string, name: string, content: string, failed?: boolean | null}} ToolResult
 */

/** What is shown of arguments and of a result, in characters. */
const MAX_SHOWN = 20_000;

/** A tool call on the page. */
export class ToolCallView {
  /** The element to put into the page. */
  element;
  /** Which call it is. */
  id;

  /**
   * @param {ToolCall} call
   * @param {HTMLElement} element What to draw into.
   */
  constructor(call, element) {
    this.id = call.id;
    this.element = element;
    part(element, ".name").textContent = call.name;
    part(element, ".arguments").textContent = clipped(JSON.stringify(call.arguments ?? {}, null, 2));
  }

  /** @param {ToolResult} result */
  addResult({ content, failed }) {
    const details = /** @type {HTMLDetailsElement} */ (part(this.element, "details"));
    details.open = failed === true; // what went well is one line
    const result = part(this.element, ".result");
    result.hidden = false;
    result.classList.toggle("failed", failed === true);
    part(result, "span").textContent = failed ? "Failed" : "Result";
    part(result, "pre").textContent = clipped(content);
  }
}

/** @param {string} text */
function clipped(text) {
  const more = text.length - MAX_SHOWN;
  return more > 0 ? `${text.slice(0, MAX_SHOWN)}\n… and ${more} characters more` : text;
}
