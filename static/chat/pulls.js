/** Models that are being got. Each is a run of the server's: it goes on without this page. */

import { CodedError } from "./coded-error.js";
import { newId } from "./ids.js";

/**
 * @typedef {object} Pull
 * @property {string} model
 * @property {string} runId
 * @property {"running" | "paused" | "failed"} state
 * @property {string} phase Such as "pulling"; "" where nothing is known yet.
 * @property {number} completed Bytes that are there.
 * @property {number} total Bytes in all, as far as is known.
 * @property {string} error Why it failed, as a sentence.
 *
 * @typedef {object} PullHandlers
 * @property {() => void} onChange Something is to be drawn.
 * @property {(model: string) => void} onDone A model is there.
 */

const KEY = "dripline.pulls";

/** What is being got, over reloads. Where the browser keeps nothing, until the page closes. */
export class Pulls {
  /** @type {Map<string, Pull>} By the model's name. */
  #pulls = new Map();
  /** @type {Map<string, import("./answering.js").RunFollower>} */
  #streams = new Map();
  #storage;
  #followRun;
  #handlers;

  /**
   * @param {Pick<Storage, "getItem" | "setItem"> | null} storage
   * @param {(run: import("./answering.js").RunRequest) => import("./answering.js").RunFollower} followRun
   * @param {PullHandlers} handlers
   */
  constructor(storage, followRun, handlers) {
    this.#storage = storage;
    this.#followRun = followRun;
    this.#handlers = handlers;
    for (const { model, runId, isPaused } of read(storage)) {
      const pull = newPull(model, runId);
      this.#pulls.set(model, pull);
      if (isPaused) {
        pull.state = "paused";
      } else {
        void this.#follow(pull, null);
      }
    }
  }

  /** All that are not over. */
  get all() {
    return [...this.#pulls.values()];
  }

  /**
   * Get a model, or go on where it was paused.
   *
   * @param {string} model
   */
  start(model) {
    if (this.#pulls.get(model)?.state !== "running") {
      const { completed = 0, total = 0 } = this.#pulls.get(model) ?? {};
      const pull = { ...newPull(model, newId()), completed, total };
      this.#pulls.set(model, pull);
      void this.#follow(pull, Promise.resolve({ model }));
      this.#changed();
    }
  }

  /**
   * Stop getting a model. What has arrived stays with Ollama.
   *
   * @param {string} model
   */
  pause(model) {
    void this.#streams.get(model)?.stop();
  }

  /**
   * Take one that is not running out of the list.
   *
   * @param {string} model
   */
  remove(model) {
    this.#pulls.delete(model);
    this.#changed();
  }

  /**
   * @param {Pull} pull
   * @param {Promise<object> | null} body
   */
  async #follow(pull, body) {
    const { model, runId } = pull;
    const stream = this.#followRun({
      path: "/models/pull",
      runId,
      lastEventId: 0,
      body,
      isWatched: false,
      onPhase: () => {},
    });
    this.#streams.set(model, stream);
    /** @type {import("./events.js").EndStatus | ""} */
    let ended = "";
    try {
      for await (const events of stream.batches()) {
        for (const { event } of events) {
          if (event?.type === "status") {
            const { phase, completed, total } = event.data;
            Object.assign(pull, { phase, completed: completed ?? 0, total: total ?? 0 });
          } else if (event?.type === "error") {
            pull.error = event.data.message ?? event.data.code;
          } else if (event?.type === "end") {
            ended = event.data.status;
          }
        }
        this.#handlers.onChange();
      }
    } catch (error) {
      if (!(error instanceof CodedError)) {
        throw error;
      }
      // Who does not know the run has been restarted; Ollama has what had arrived.
      ended = error.code === "run_gone" ? "" : "failed";
      pull.error = error.message;
    } finally {
      this.#streams.delete(model);
    }
    if (ended === "completed") {
      this.#pulls.delete(model);
      this.#handlers.onDone(model);
    } else {
      pull.state = ended === "failed" ? "failed" : "paused";
    }
    this.#changed();
  }

  #changed() {
    const kept = this.all.map(({ model, runId, state }) => ({ model, runId, isPaused: state !== "running" }));
    try {
      this.#storage?.setItem(KEY, JSON.stringify(kept));
    } catch {
      // Full, or not allowed.
    }
    this.#handlers.onChange();
  }
}

/**
 * @param {string} model
 * @param {string} runId
 * @returns {Pull}
 */
function newPull(model, runId) {
  return { model, runId, state: "running", phase: "", completed: 0, total: 0, error: "" };
}

/**
 * @param {Pick<Storage, "getItem"> | null} storage
 * @returns {{model: string, runId: string, isPaused: boolean}[]}
 */
function read(storage) {
  try {
    const kept = JSON.parse(storage?.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept.filter(({ model, runId }) => model && runId) : [];
  } catch {
    return [];
  }
}
