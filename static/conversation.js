/** What has been said. Knows neither the DOM nor the network. */

/**
 * @typedef {import("./events.js").ChatEvent} ChatEvent
 * @typedef {import("./events.js").EndStatus} EndStatus
 * @typedef {{role: "system" | "user" | "assistant", content: string, images?: string[]}} Message As
 *   `POST /chat` takes it.
 */

/** What a run's events add up to: an answer, whole or as far as it has come. */
export class Answer {
  text = "";
  thinking = "";
  /** When thinking began and ended, in milliseconds; 0: not yet. */
  thinkingBegan = 0;
  thinkingEnded = 0;
  /**
   * `at` is where in the text the call came.
   *
   * @type {{id: string, name: string, arguments?: object | null, at: number}[]}
   */
  toolCalls = [];
  /** @type {{id: string, name: string, content: string, failed?: boolean | null}[]} */
  toolResults = [];
  model = "";
  /** Whether the model is being read into memory, and nothing has come yet. */
  loading = false;
  /** What went wrong and what to do, as a sentence; "" where nothing did. */
  error = "";
  /**
   * How it ended; null while it has not.
   *
   * @type {EndStatus | null}
   */
  status = null;
  /** Why the model stopped, as Ollama says: "stop", "length", ... */
  reason = "";
  /** @type {import("./events.js").Usage} */
  usage = {};

  /** Whether anything of the model's has come. */
  get begun() {
    return this.text !== "" || this.thinking !== "" || this.toolCalls.length > 0;
  }

  /**
   * Take the run's next event.
   *
   * @param {ChatEvent} event
   */
  add({ type, data }) {
    if (type !== "thinking" && this.thinkingBegan) {
      this.thinkingEnded ||= Date.now();
    }
    switch (type) {
      case "start":
        this.model = data.model ?? "";
        break;
      case "status":
        this.model = data.model ?? this.model;
        this.loading = data.phase === "loading";
        break;
      case "thinking":
        this.thinkingBegan ||= Date.now();
        this.thinkingEnded = 0;
        this.thinking += data.content;
        break;
      case "text_message":
        this.text += data.content;
        break;
      case "tool_call":
        this.toolCalls.push({ ...data, at: this.text.length });
        break;
      case "tool_result":
        this.toolResults.push(data);
        break;
      case "error":
        this.error = data.message || `The answer failed (${data.code}).`;
        break;
      case "end":
        this.status = data.status;
        this.reason = data.reason ?? "";
        this.usage = data.usage ?? {};
        break;
    }
  }

  /**
   * Say why no more will come: the run's own `end` was not heard.
   *
   * @param {string} sentence
   */
  fail(sentence) {
    this.error = sentence;
    this.status = "failed";
  }
}

/** Questions and answers in turn. */
export class Conversation {
  /** @type {(Message | Answer)[]} */
  #turns = [];

  /**
   * @param {string} content
   * @param {string[]} images Base64.
   */
  ask(content, images) {
    this.#turns.push({ role: "user", content, ...(images.length > 0 && { images }) });
  }

  /** Begin the answer to the last question. */
  answer() {
    const answer = new Answer();
    this.#turns.push(answer);
    return answer;
  }

  /**
   * Forget an answer, so that its question can be answered anew.
   *
   * @param {Answer} answer
   */
  drop(answer) {
    this.#turns = this.#turns.filter((turn) => turn !== answer);
  }

  /**
   * What the model is told of it: no thinking, and no answer of which nothing came.
   *
   * @returns {Message[]}
   */
  get messages() {
    return this.#turns.flatMap((turn) => {
      if (!(turn instanceof Answer)) {
        return [turn];
      }
      return turn.text ? [{ role: "assistant", content: turn.text }] : [];
    });
  }
}
