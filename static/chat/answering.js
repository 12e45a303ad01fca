/** The answers that are coming: each follows its run, and is kept. */

import { CodedError } from "./coded-error.js";
import { addEvent, beginRun, end, fail, isRunning } from "./message.js";

/**
 * @typedef {import("./message.js").Message} Message
 * @typedef {import("./events.js").NumberedEvent} NumberedEvent
 *
 * @typedef {import("./events.js").Phase} Phase
 *
 * @typedef {object} RunRequest What is needed to follow a run.
 * @property {string} [path] What starts it, if not `/chat`.
 * @property {string} runId Chosen by this page, so that it is known before the server answers.
 * @property {number} lastEventId What comes after it is wanted.
 * @property {Promise<object> | null} body Of `POST /chat`, which starts the run; null where that is
 *   done.
 * @property {boolean} isWatched Whether somebody looks at it.
 * @property {(phase: Phase) => void} onPhase Hears what is going on.
 *
 * @typedef {object} RunFollower Reads one run to its end; net/run-stream.js has it.
 * @property {() => AsyncGenerator<NumberedEvent[], void>} batches
 * @property {() => Promise<void>} stop
 * @property {(isWatched: boolean) => void} watch
 * @property {() => void} wake
 *
 * @typedef {object} Activity What is going on with an answer, besides its growing.
 * @property {Phase | "loading"} phase
 * @property {number} since Milliseconds since 1970.
 *
 * @typedef {object} Following
 * @property {Message} message
 * @property {RunFollower} stream
 * @property {Activity} activity
 */

/** Follows runs, each into its message. */
export class Answering {
  /** @type {Map<string, Following>} By the message's id. */
  #followed = new Map();
  /** The conversation that somebody looks at; "" is none. */
  #watched = "";
  #chats;
  #followRun;
  #handlers;

  /**
   * @param {import("../store/chats.js").Chats} chats Where the messages are kept.
   * @param {(run: RunRequest) => RunFollower} followRun
   * @param {object} handlers
   * @param {(message: Message, events: NumberedEvent[]) => void} handlers.onEvents The message has
   *   taken them.
   * @param {(message: Message, activity: Activity) => void} handlers.onActivity
   * @param {(message: Message) => void} handlers.onEnd
   */
  constructor(chats, followRun, handlers) {
    this.#chats = chats;
    this.#followRun = followRun;
    this.#handlers = handlers;
  }

  /**
   * Have a run of its own fill a message.
   *
   * @param {Message} message
   * @param {Promise<object>} body Of `POST /chat`.
   */
  begin(message, body) {
    beginRun(message);
    void this.#chats.put(message);
    void this.#follow(message, body);
  }

  /**
   * Follow a message's run from where the message is, unless that is done or the run is over.
   *
   * @param {Message} message
   */
  attach(message) {
    if (isRunning(message) && !this.#followed.has(message.id)) {
      void this.#follow(message, null);
    }
  }

  /**
   * Stop a message's run. A second call gives up on a server that does not hear.
   *
   * @param {Message} message
   */
  stop(message) {
    // What the server refuses ends the answer too.
    this.#followed.get(message.id)?.stream.stop().catch(() => {});
  }

  /**
   * Whether an answer is coming in a conversation.
   *
   * @param {string} id
   */
  isBusy(id) {
    return [...this.#followed.values()].some(({ message }) => message.conversation === id);
  }

  /** @param {Message} message */
  activityOf(message) {
    return this.#followed.get(message.id)?.activity ?? null;
  }

  /**
   * Have the answers of one conversation come as they are made, and those of all others when they can.
   *
   * @param {string} id "" where nobody looks.
   */
  watch(id) {
    this.#watched = id;
    for (const { message, stream } of this.#followed.values()) {
      stream.watch(message.conversation === id);
    }
  }

  /** The network may be back, or the page awake again. */
  wake() {
    for (const { stream } of this.#followed.values()) {
      stream.wake();
    }
  }

  /**
   * @param {Message} message
   * @param {Promise<object> | null} body
   */
  async #follow(message, body) {
    const stream = this.#followRun({
      runId: message.runId,
      lastEventId: message.lastEventId,
      body,
      isWatched: message.conversation === this.#watched,
      onPhase: (phase) => this.#setPhase(message, phase),
    });
    const activity = { phase: /** @type {const} */ ("connecting"), since: Date.now() };
    this.#followed.set(message.id, { message, stream, activity });
    try {
      for await (const events of stream.batches()) {
        this.#take(message, events);
      }
      if (isRunning(message)) {
        end(message, "cancelled", Date.now());
      }
    } catch (error) {
      fail(message, problemOf(error), Date.now());
    }
    this.#followed.delete(message.id);
    void this.#chats.put(message);
    this.#handlers.onEnd(message);
  }

  /**
   * @param {Message} message
   * @param {NumberedEvent[]} events
   */
  #take(message, events) {
    const now = Date.now();
    for (const { id, event } of events) {
      addEvent(message, id, event, now);
    }
    this.#chats.putSoon(message);
    this.#handlers.onEvents(message, events);
    const last = events.at(-1)?.event;
    const following = this.#followed.get(message.id);
    if (last?.type === "status" && last.data.phase === "loading") {
      this.#setPhase(message, "loading");
    } else if (following?.activity.phase === "loading") {
      this.#setPhase(message, "open");
    }
  }

  /**
   * @param {Message} message
   * @param {Activity["phase"]} phase
   */
  #setPhase(message, phase) {
    const following = this.#followed.get(message.id);
    if (following && following.activity.phase !== phase) {
      following.activity = { phase, since: Date.now() };
      this.#handlers.onActivity(message, following.activity);
    }
  }
}

/**
 * @param {unknown} error
 * @returns {import("./message.js").Problem}
 */
function problemOf(error) {
  if (error instanceof CodedError) {
    return { code: error.code, message: error.message, retryable: true };
  }
  reportError(error);
  const message = "Something went wrong in this page; the browser's console has details. Reload the page and try again.";
  return { code: "page_fault", message, retryable: true };
}
