/** The stream of an answer, as a program iterates it. */

import { Answer } from "../chat/answer.js";
import { RunFailed, StreamTruncated } from "./errors.js";
import { NothingLeft, RunStream } from "./run-stream.js";

/**
 * @typedef {import("../chat/events.js").ChatEvent} ChatEvent
 *
 * @typedef {"stop" | "detach"} OnLeave
 * @typedef {{runId: string, lastEventId: number, body: object | null}} Run The body is that of
 *   `POST /chat`, which starts the run; null where that is done.
 */

/** Milliseconds for stopping a run on leaving: a dead server must not hold up whoever leaves. */
const LEAVE_TIMEOUT = 3_000;

/**
 * A streamed answer: an async iterable of its events.
 *
 * It yields every event, including `error` and `end`; `end` is the last. After a failed `end`,
 * iterating throws `RunFailed`, so that no failure looks like an answer. A lost connection is
 * resumed: no event is lost, and none comes twice. Where that cannot be, iterating throws; it never
 * just ends.
 *
 * `ChatClient.chat` and `ChatClient.attach` make it.
 *
 * @implements {AsyncIterable<ChatEvent>}
 */
export class ChatStream {
  /** The answer so far. */
  answer = new Answer();
  /** The run's id, by which `ChatClient.attach` finds it. */
  runId;
  #after;
  /** The id of the last event that iterating has returned. */
  #last;
  #isNew;
  #signal;
  #onLeave;
  #run;
  #opened = 0;
  #isIterated = false;
  #isOver = false;
  /** @type {Promise<void> | null} */
  #stopping = null;
  /** @type {Promise<void> | null} */
  #left = null;

  /**
   * @param {Run} run
   * @param {{signal: AbortSignal | undefined, onLeave: OnLeave, onDrop: (error: Error) => void}} options
   * @param {import("./run-stream.js").Surroundings} surroundings
   * @param {import("./run-stream.js").Patience} patience
   */
  constructor({ runId, lastEventId, body }, { signal, onLeave, onDrop }, surroundings, patience) {
    this.runId = runId;
    this.#after = lastEventId;
    this.#last = lastEventId;
    this.#isNew = body !== null;
    this.#signal = signal;
    this.#onLeave = onLeave;
    /** @type {import("./run-stream.js").RunRequest["onPhase"]} */
    const onPhase = (phase, error) => {
      this.#opened += phase === "open" ? 1 : 0;
      if (error) {
        onDrop(error);
      }
    };
    const request = { runId, lastEventId, body: body && Promise.resolve(body), onPhase };
    this.#run = new RunStream(request, surroundings, patience);
  }

  /** The id of the last event that iterating has returned; "" before the first. */
  get lastEventId() {
    return this.#last ? String(this.#last) : "";
  }

  /** How often the stream has resumed after a lost connection. */
  get reconnects() {
    return Math.max(0, this.#opened - 1);
  }

  /**
   * Stop the run. The stream then continues to its `end`, whose status is "cancelled". It does nothing
   * if the run has ended, or was not begun, and may be called more than once.
   *
   * @throws {DriplineError} The server cannot be reached, or cannot stop the run.
   */
  async stop() {
    if (!this.#isOver) {
      this.#stopping ??= this.#run.stop();
      await this.#stopping;
    }
  }

  /**
   * Iterate the events, once: a second time throws.
   *
   * @returns {AsyncGenerator<ChatEvent, void, undefined>}
   */
  [Symbol.asyncIterator]() {
    if (this.#isIterated) {
      throw new Error("a stream is iterated once; ask the client for another one");
    }
    this.#isIterated = true;
    const events = this.#events();
    // A generator's own `return` would wait for the next event first.
    const leave = events.return.bind(events);
    events.return = (value) => {
      void this.#leave();
      return leave(value);
    };
    return events;
  }

  /** @returns {AsyncGenerator<ChatEvent, void, undefined>} */
  async *#events() {
    const signal = this.#signal;
    const leave = () => void this.#leave();
    signal?.throwIfAborted();
    signal?.addEventListener("abort", leave, { once: true });
    try {
      for await (const batch of this.#run.batches()) {
        for (const { id, event } of batch) {
          signal?.throwIfAborted();
          this.#last = id;
          if (event) {
            this.#isOver = event.type === "end";
            this.answer.add(event);
            yield event;
          }
        }
      }
      signal?.throwIfAborted();
      if (this.#left) {
        return; // by `return` of the iterator, while it waited
      }
    } catch (error) {
      signal?.throwIfAborted();
      // What no server has taken needs no stopping.
      this.#isOver = this.#opened === 0;
      if (!(error instanceof NothingLeft && !this.#isNew && this.#last === this.#after)) {
        throw error;
      }
      this.#isOver = true;
      return;
    } finally {
      await this.#leave();
      signal?.removeEventListener("abort", leave);
    }
    this.#checkEnd();
  }

  #checkEnd() {
    const { end, error } = this.answer;
    if (!end) {
      throw new StreamTruncated(this.lastEventId, "it was given up");
    }
    if (end.status === "failed") {
      const { code, message, retryable } = error ?? { code: "", message: "the server does not say of what" };
      throw new RunFailed(code, message ?? "", { retryable: retryable ?? false });
    }
  }

  /** Let go of the connection, and stop the run where that is wanted. It never fails. */
  #leave() {
    this.#left ??= this.#letGo();
    return this.#left;
  }

  async #letGo() {
    if (this.#onLeave === "detach" || this.#isOver) {
      this.#run.close();
      return;
    }
    const timer = setTimeout(() => this.#run.close(), LEAVE_TIMEOUT);
    try {
      await this.stop();
    } catch {
      // The run then ends by the server's grace time, as one that nobody reads.
    }
    clearTimeout(timer);
    this.#run.close();
  }
}
