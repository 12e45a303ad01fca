/** A run's events, over as many connections as it takes: none is lost and none comes twice. */

import { parseEvent } from "../chat/events.js";
import { BadJson } from "../chat/json-check.js";
import { EventDecoder } from "./sse.js";
import { notDripline, request, TransportError } from "./transport.js";
import { isTurnWanted, takeTurn } from "./turns.js";

/**
 * @typedef {import("../chat/events.js").ChatEvent} ChatEvent
 * @typedef {import("../chat/events.js").NumberedEvent} NumberedEvent
 * @typedef {import("../chat/answering.js").Phase} Phase
 * @typedef {import("../chat/answering.js").RunRequest} RunRequest
 */

const RUN_GONE =
  "The server no longer has this answer: it was restarted, or the answer ended a while ago.";
const TOO_LARGE = "The server sent an event that is too large for this page.";

// Milliseconds. The server is heard every 15 s at least; see `--heartbeat`.
const LONGEST_SILENCE = 45_000;
const LOOK_EVERY = 5_000;
const SUSPICIOUS_SILENCE = 5_000;
const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 10_000;
// Nobody waits long to hear that there is no server or no such run; one that goes on is worth any wait.
const MOST_TRIES = 4;

/** The connection is over and the run is not. */
class ConnectionLost extends Error {}

/** Follows one run to its end, and can stop it. */
export class RunStream {
  #runId;
  #last;
  #promised;
  /** @type {object | void | null} What was promised. */
  #body = null;
  #onPhase;
  #isWatched;
  /** Whether to connect anew at once: it is to have a turn, or to need none any more. */
  #isMoved = false;
  /** Whether the server is known to have the run. */
  #accepted;
  /** Whether the server may have it. */
  #isBegun;
  #ended = false;
  #stopping = false;
  /** Whether to give up: it is stopped, and nothing more will be heard of it. */
  #cancelled = false;
  /** @type {PromiseWithResolvers<void>} Settled when it is given up. */
  #givenUp = Promise.withResolvers();
  #abort = new AbortController();
  #heardAt = 0;
  /** @type {TransportError | null} Why what came next cannot be taken. */
  #fault = null;
  /** @type {Set<() => void>} What ends each pause before a next try. */
  #pauses = new Set();
  /** @type {Promise<unknown>} Settled while no `POST` is on its way. */
  #post = Promise.resolve();

  /** @param {RunRequest} run */
  constructor({ runId, lastEventId, body, isWatched, onPhase }) {
    this.#runId = runId;
    this.#last = lastEventId;
    this.#promised = body;
    this.#accepted = body === null;
    this.#isBegun = body === null;
    this.#isWatched = isWatched;
    this.#onPhase = onPhase;
  }

  /**
   * Take that somebody looks at it, or nobody any more. What nobody looks at is read in turns, but
   * asked without.
   *
   * @param {boolean} isWatched
   */
  watch(isWatched) {
    const isOther = isWatched !== this.#isWatched;
    this.#isWatched = isWatched;
    if (isOther && this.#accepted) {
      this.#move();
    }
  }

  /**
   * Give the run's events, those of each network chunk together, up to and with its `end`. Without
   * `end` where the run was stopped and the server does not have it any more.
   *
   * @returns {AsyncGenerator<NumberedEvent[], void>}
   * @throws {TransportError} The server refused, or nothing more can be had.
   */
  async *batches() {
    let failures = 0;
    this.#body = await Promise.race([this.#promised, this.#givenUp.promise]);
    this.#isBegun = true;
    while (!this.#cancelled) {
      const before = this.#last;
      this.#isMoved = false;
      try {
        yield* this.#connection();
      } catch (error) {
        const isAwaited = this.#mayCome && isGone(error);
        if (!isPassing(error) && !isAwaited && !this.#cancelled) {
          throw error;
        }
        failures = this.#last > before || this.#isMoved ? 0 : failures + 1;
        if ((isAwaited || !this.#accepted) && !this.#stopping && failures >= MOST_TRIES) {
          throw error;
        }
      }
      if (this.#ended || this.#cancelled) {
        return;
      }
      if (!this.#isMoved) {
        this.#onPhase(this.#stopping ? "stopping" : "reconnecting");
        await this.#pause(failures);
      }
    }
  }

  /**
   * Stop the run: the server stops Ollama, and the events end. Tries until the server has heard; a
   * second call gives up, and the events end without it, as they do where nothing was asked yet.
   */
  async stop() {
    if (this.#stopping || !this.#isBegun) {
      this.#cancel();
      return;
    }
    this.#stopping = true;
    this.#onPhase("stopping");
    for (let failures = 1; !this.#ended && !this.#cancelled; failures += 1) {
      // What has not arrived cannot be stopped.
      await this.#post.catch(() => {});
      try {
        await request(`/runs/${this.#runId}`, { method: "DELETE" });
        this.#accepted = true;
        this.#endPauses();
        return;
      } catch (error) {
        if (!isPassing(error)) {
          this.#cancel();
          return;
        }
      }
      await this.#pause(failures);
    }
  }

  /** The network may be back, or this page awake again: see at once whether the connection holds. */
  wake() {
    this.#endPauses();
    if (this.#heardAt > 0 && performance.now() - this.#heardAt > SUSPICIOUS_SILENCE) {
      this.#abort.abort();
    }
  }

  /** Whether it may be on its way to the server: another tab tells of it as it begins it. */
  get #mayCome() {
    return this.#promised === null && this.#last === 0;
  }

  #move() {
    this.#isMoved = true;
    this.#endPauses();
    this.#abort.abort();
  }

  #cancel() {
    this.#cancelled = true;
    this.#givenUp.resolve();
    this.#endPauses();
    this.#abort.abort();
  }

  /** @returns {AsyncGenerator<NumberedEvent[], void>} */
  async *#connection() {
    this.#abort = new AbortController();
    const isFree = this.#isWatched || !this.#accepted;
    const endTurn = isFree ? null : await lost(takeTurn(this.#abort.signal));
    const looks = setInterval(() => void this.#look(), LOOK_EVERY);
    this.#heardAt = performance.now();
    try {
      yield* this.#read(await this.#open());
    } finally {
      clearInterval(looks);
      this.#heardAt = 0;
      this.#abort.abort();
      endTurn?.();
    }
  }

  /** See whether the connection is to go on. */
  async #look() {
    if (performance.now() - this.#heardAt > LONGEST_SILENCE) {
      this.#abort.abort();
    } else if (this.#accepted && (await isTurnWanted()) && !this.#isWatched) {
      this.#move(); // to the end of the line
    }
  }

  /** Start the run, or attach to it. Doing so twice is the same as once: the run has its name. */
  async #open() {
    const { signal } = this.#abort;
    if (this.#stopping) {
      // It must not be started now; the server may have it.
      this.#accepted = true;
    }
    const response = await (this.#accepted ? this.#attach(signal) : this.#start(signal));
    if (!this.#accepted && !this.#isWatched) {
      this.#move(); // it is not read now
    }
    this.#accepted = true;
    if (response.status === 204) {
      throw new TransportError("run_gone", RUN_GONE);
    }
    const type = response.headers.get("Content-Type") ?? "";
    if (!/^text\/event-stream\b/i.test(type) || !response.body) {
      throw notDripline();
    }
    return response.body;
  }

  /** @param {AbortSignal} signal */
  #start(signal) {
    const post = request("/chat", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ ...this.#body, run_id: this.#runId, on_disconnect: "continue" }),
      signal,
    });
    this.#post = post;
    return post;
  }

  /** @param {AbortSignal} signal */
  async #attach(signal) {
    try {
      return await request(`/runs/${this.#runId}/events`, {
        headers: { "Last-Event-ID": String(this.#last) },
        cache: "no-store",
        signal,
      });
    } catch (error) {
      if (error instanceof TransportError && error.status === 404) {
        throw new TransportError("run_gone", RUN_GONE, { cause: error });
      }
      throw error;
    }
  }

  /** @param {ReadableStream<Uint8Array>} body */
  async *#read(body) {
    this.#onPhase(this.#stopping ? "stopping" : "open");
    const decoder = new EventDecoder();
    const reader = body.getReader();
    try {
      for (;;) {
        const { done, value } = await lost(reader.read());
        if (done) {
          throw new ConnectionLost();
        }
        this.#heardAt = performance.now();
        const events = this.#take(decoder, value);
        if (events.length > 0) {
          yield events;
        }
        if (this.#fault) {
          throw this.#fault;
        }
        if (this.#ended) {
          return;
        }
      }
    } finally {
      // Rejects where the connection is what broke; that has been told.
      reader.cancel().catch(() => {});
    }
  }

  /**
   * @param {EventDecoder} decoder
   * @param {Uint8Array} chunk
   * @returns {NumberedEvent[]} What is new, up to what cannot be taken.
   */
  #take(decoder, chunk) {
    /** @type {NumberedEvent[]} */
    const events = [];
    try {
      for (const { data, id } of decode(decoder, chunk)) {
        if (!(Number(id) <= this.#last || this.#ended)) {
          events.push(this.#next(Number(id), data));
        }
      }
    } catch (error) {
      if (!(error instanceof TransportError)) {
        throw error;
      }
      this.#fault = error;
    }
    return events;
  }

  /**
   * @param {number} id
   * @param {string} data
   * @returns {NumberedEvent}
   */
  #next(id, data) {
    if (id !== this.#last + 1) {
      throw malformed(`Event ${id} came after ${this.#last}.`);
    }
    const event = parse(data);
    this.#last = id;
    this.#ended = event?.type === "end";
    return { id, event };
  }

  /**
   * Wait before the next try, longer each time and never exactly as long as others do.
   *
   * @param {number} failures
   */
  async #pause(failures) {
    const longest = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** Math.min(failures, 10));
    /** @type {PromiseWithResolvers<void>} */
    const { promise, resolve } = Promise.withResolvers();
    const timer = setTimeout(resolve, longest * (0.5 + Math.random() / 2));
    this.#pauses.add(resolve);
    await promise;
    clearTimeout(timer);
    this.#pauses.delete(resolve);
  }

  #endPauses() {
    for (const end of this.#pauses) {
      end();
    }
  }
}

/**
 * @template T
 * @param {Promise<T>} reading
 */
async function lost(reading) {
  try {
    return await reading;
  } catch (error) {
    throw new ConnectionLost("", { cause: error });
  }
}

/** @param {unknown} error */
function isPassing(error) {
  return error instanceof ConnectionLost || (error instanceof TransportError && error.passes);
}

/** @param {unknown} error */
function isGone(error) {
  return error instanceof TransportError && error.code === "run_gone";
}

/**
 * @param {EventDecoder} decoder
 * @param {Uint8Array} chunk
 */
function decode(decoder, chunk) {
  try {
    return decoder.feed(chunk);
  } catch (error) {
    throw new TransportError("malformed", TOO_LARGE, { cause: error });
  }
}

/** @param {string} data */
function parse(data) {
  try {
    return parseEvent(data);
  } catch (error) {
    if (!(error instanceof BadJson)) {
      throw error;
    }
    throw malformed(error.message, error);
  }
}

/**
 * @param {string} what
 * @param {unknown} [cause]
 */
function malformed(what, cause) {
  return new TransportError(
    "malformed",
    `This page does not understand what the server sent. ${what} Reload the page: it may be older` +
      " than the server.",
    { cause },
  );
}
