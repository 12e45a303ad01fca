/** The answer that the events of a run add up to. */

/**
 * @typedef {import("./events.js").ChatEvent} ChatEvent
 * @typedef {import("./events.js").UiControl} UiControl
 * @typedef {Extract<ChatEvent, {type: "tool_call"}>["data"]} ToolCall
 * @typedef {Extract<ChatEvent, {type: "tool_result"}>["data"]} ToolResult
 * @typedef {Extract<ChatEvent, {type: "custom"}>["data"]} CustomData
 * @typedef {Extract<ChatEvent, {type: "error"}>["data"]} ErrorData
 * @typedef {Extract<ChatEvent, {type: "end"}>["data"]} End
 */

/** An answer: the whole of it, or the part that has arrived so far. */
export class Answer {
  /** The name of the model that answers; "" before the run's `start`. */
  model = "";
  /** The text so far. */
  text = "";
  /** The reasoning so far. */
  thinking = "";
  /** @type {ToolCall[]} The model's calls of tools. */
  toolCalls = [];
  /** @type {ToolResult[]} The client answers calls that have no result here. */
  toolResults = [];
  /** @type {UiControl[]} What the page is asked to change. */
  uiControls = [];
  /** @type {unknown} The newest state of an agent's application; null if there is none. */
  state = null;
  /** @type {CustomData[]} The events of an agent's own. */
  custom = [];
  /** @type {ErrorData | null} Why the run failed, if it did. */
  error = null;
  /** @type {End | null} While it is null, the answer is incomplete. */
  end = null;

  /**
   * Add the run's next event.
   *
   * @param {ChatEvent} event
   */
  add(event) {
    switch (event.type) {
      case "text_message":
        this.text += event.data.content;
        break;
      case "thinking":
        this.thinking += event.data.content;
        break;
      case "start":
        this.model = event.data.model ?? "";
        break;
      case "tool_call":
        this.toolCalls.push(event.data);
        break;
      case "tool_result":
        this.toolResults.push(event.data);
        break;
      case "ui_control":
        this.uiControls.push(event.data);
        break;
      case "state":
        this.state = event.data.value ?? null;
        break;
      case "custom":
        this.custom.push(event.data);
        break;
      case "error":
        this.error = event.data;
        break;
      case "end":
        this.end = event.data;
    }
  }
}
