/** Draws what an answer says and does: texts and tool calls, in the order in which they came. */

import { fromTemplate } from "../dom.js";
import { GrowingMarkdown } from "../markdown/growing-markdown.js";
import { parser } from "../markdown/parser.js";
import { ToolCallView } from "./tool-call-view.js";

/**
 * @typedef {import("./tool-call-view.js").ToolCall} ToolCall
 * @typedef {import("./tool-call-view.js").ToolResult} ToolResult
 *
 * @typedef {object} Said What has come of an answer.
 * @property {string} content
 * @property {(ToolCall & {at: number})[]} toolCalls Each with the place in the text where it came.
 * @property {ToolResult[]} toolResults
 */

/** Texts and tool calls that grow at their end. */
export class AnswerBody {
  #element;
  /** The text that may grow; null behind a tool call. @type {GrowingMarkdown | null} */
  #text = null;
  /** Those that are not drawn to their end. @type {GrowingMarkdown[]} */
  #texts = [];
  /** @type {HTMLElement | null} */
  #callList = null;
  /** @type {ToolCallView[]} */
  #calls = [];

  /**
   * @param {HTMLElement} element Where to draw; nothing else may be in it. It is shown once something is.
   * @param {Said} said What has come already.
   */
  constructor(element, { content, toolCalls, toolResults }) {
    this.#element = element;
    let drawn = 0;
    for (const call of toolCalls) {
      this.addText(content.slice(drawn, call.at));
      this.addToolCall(call);
      drawn = call.at;
    }
    this.addText(content.slice(drawn));
    for (const result of toolResults) {
      this.addToolResult(result);
    }
  }

  /** @param {string} text */
  addText(text) {
    if (text) {
      (this.#text ?? this.#beginText()).add(text);
    }
  }

  /** @param {ToolCall} call */
  addToolCall(call) {
    this.end();
    this.#text = null;
    this.#callList ??= this.#append("ul", "tool-calls");
    const view = new ToolCallView(call, fromTemplate("tool-call-template"));
    this.#callList.append(view.element);
    this.#calls.push(view);
  }

  /** @param {ToolResult} result */
  addToolResult(result) {
    this.#calls.findLast((call) => call.id === result.id)?.addResult(result);
  }

  /** Take that the text is over. */
  end() {
    this.#text?.end();
  }

  /**
   * Draw what has come of the texts. Returns whether all of it is drawn.
   *
   * @param {number} until When to stop, as `performance.now()` tells time.
   */
  paint(until) {
    this.#texts = this.#texts.filter((text) => !text.paint(until) || text === this.#text);
    return this.#texts.every((text) => text === this.#text && text.paint(until));
  }

  #beginText() {
    this.#callList = null;
    this.#text = new GrowingMarkdown(this.#append("div", "text prose"), parser);
    this.#texts.push(this.#text);
    return this.#text;
  }

  /**
   * @param {string} tag
   * @param {string} className
   */
  #append(tag, className) {
    const element = document.createElement(tag);
    element.className = className;
    this.#element.append(element);
    this.#element.hidden = false;
    return element;
  }
}
