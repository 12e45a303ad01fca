/** A run's events, over as many connections as it takes: none is lost and none comes twice. */

import { parseEvent } from "../chat/events.js";
import { BadJson } from "../chat/json-check.js";
import {
  DriplineError,
  MalformedEvent,
  NotAnEventStream,
  reasonOf,
  RunGone,
  ServerTimeout,
  StreamTruncated,
} from "./errors.js";
import { EventDecoder } from "./sse.js";

/**
 * @typedef {import("../chat/events.js").ChatEvent} ChatEvent
 * @typedef {import("../chat/events.js").NumberedEvent} NumberedEvent
 * @typedef {import("../chat/events.js").Phase} Phase
 *
 * @typedef {object} RunRequest What is needed to follow a run.
 * @property {string} runId Chosen by this side, so that it is known before the server answers.
 * @property {number} lastEventId What comes after it is wanted.
 * @property {string} [path] Where a `POST` starts the run; "/chat" if it is not given.
 * @property {Promise<object> | null} body Of that `POST`; null where that is done.
 * @property {boolean} [isWatched] Whether somebody looks at it; else it is read in turns.
 * @property {(phase: Phase, error?: Error) => void} onPhase Hears what is going on, and of which error
 *   a connection was lost.
 *
 * @typedef {object} Surroundings What a stream has to do with besides its run.
 * @property {(path: string, init: RequestInit & {headers?: Record<string, string>}) => Promise<Response>} request
 *   Resolves to an answer whose status is 2xx. An error with a true `retryable` is worth another try.
 * @property {(signal: AbortSignal) => Promise<() => void>} [takeTurn] Waits for a turn at holding a
 *   connection; the result ends the turn.
 * @property {() => Promise<boolean>} [isTurnWanted]
 * @property {boolean} [isBeginningElsewhere] Whether a run that the server does not know may be on its
 *   way to it: another tab tells of it as it begins it.
 *
 * @typedef {object} Patience Times are in milliseconds.
 * @property {number} attempts How often in a row it tries to attach again before it gives up.
 * @property {number} firstWait Before the first of them; each further one waits up to twice as long.
 * @property {number} longestWait
 * @property {number} silence Without a byte for this long, a connection counts as lost. The server
 *   sends a heartbeat every 15 s; see its `--heartbeat`.
 * @property {number} [maxEventSize] In bytes.
 */

// Milliseconds.
const LOOK_EVERY = 5_000;
const SUSPICIOUS_SILENCE = 5_000;
// Nobody waits long to hear that there is no server or no such run; one that goes on is worth more.
const MOST_TRIES = 4;

const NOTHING = new Uint8Array();

/** The run is over, and the server has nothing after the last event ID. */
export class NothingLeft extends RunGone {
  name = "RunGone";
}

/** Follows one run to its end, and can stop it. */
export class RunStream {
  #startPath;
  #runId;
  #last;
  #promised;
  /** @type {object | void | null} What was promised. */
  #body = null;
  #onPhase;
  #isWatched;
  #surroundings;
  #patience;
  /** Whether to connect anew at once: it is to have a turn, or to need none any more. */
  #isMoved = false;
  /** Whether the server is known to have the run. */
  #accepted;
  /** Whether the server may have it. */
  #isBegun;
  #ended = false;
  #stopping = false;
  /** Aborted when it is given up: nothing more is wanted of it. */
  #closing = new AbortController();
  #abort = new AbortController();
  #heardAt = 0;
  /** @type {DriplineError | null} Why what came next cannot be taken. */
  #fault = null;
  /** @type {Set<() => void>} What ends each pause before a next try. */
  #pauses = new Set();
  /** @type {Promise<unknown>} Settled while no `POST` is on its way. */
  #post = Promise.resolve();

  /**
   * @param {RunRequest} run
   * @param {Surroundings} surroundings
   * @param {Patience} patience
   */
  constructor(
    { path = "/chat", runId, lastEventId, body, isWatched = true, onPhase },
    surroundings,
    patience,
  ) {
    this.#startPath = path;
    this.#runId = runId;
    this.#last = lastEventId;
    this.#promised = body;
    this.#accepted = body === null;
    this.#isBegun = body === null;
    this.#isWatched = isWatched;
    this.#onPhase = onPhase;
    this.#surroundings = surroundings;
    this.#patience = patience;
  }

  /** The id of the last event that was received; "" before the first. */
  get lastEventId() {
    return this.#last ? String(this.#last) : "";
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
   * `end` where it was given up.
   *
   * @returns {AsyncGenerator<NumberedEvent[], void>}
   * @throws {Error} The server refused, or nothing more can be had.
   */
  async *batches() {
    let failures = 0;
    /** @type {Promise<void>} */
    const closed = new Promise((resolve) => {
      this.#closing.signal.addEventListener("abort", () => resolve(), { once: true });
    });
    this.#body = await Promise.race([this.#promised, closed]);
    this.#isBegun = true;
    while (!this.#cancelled) {
      const before = this.#last;
      /** @type {unknown} */
      let loss;
      this.#isMoved = false;
      try {
        yield* this.#connection();
      } catch (error) {
        const isAwaited = this.#mayCome && isGone(error);
        if (!isPassing(error) && !isAwaited && !this.#cancelled) {
          throw error;
        }
        loss = error;
        failures = this.#last > before || this.#isMoved ? 0 : failures + 1;
        this.#checkPatience(error, failures, isAwaited);
      }
      if (this.#ended || this.#cancelled) {
        return;
      }
      if (!this.#isMoved) {
        this.#onPhase(this.#stopping ? "stopping" : "reconnecting", /** @type {Error} */ (loss));
        await this.#pause(failures, loss);
      }
    }
  }

  /**
   * Stop the run: the server stops Ollama, and the events end. Tries until the server has heard; a
   * second call gives up, and the events end without it, as they do where nothing was asked yet.
   *
   * @throws {Error} The server cannot be asked, or refuses; then the events have ended without `end`.
   */
  async stop() {
    if (this.#stopping || !this.#isBegun) {
      this.close();
      return;
    }
    this.#stopping = true;
    this.#onPhase("stopping");
    for (let failures = 1; !this.#ended && !this.#cancelled; failures += 1) {
      // What has not arrived cannot be stopped.
      await this.#post.catch(() => {});
      try {
        const { signal } = this.#closing;
        const { body } = await this.#surroundings.request(this.#path, { method: "DELETE", signal });
        hangUp(body);
        this.#accepted = true;
        this.#endPauses();
        return;
      } catch (error) {
        if (!isPassing(error) || failures > this.#patience.attempts) {
          this.close();
          throw error;
        }
        await this.#pause(failures, error);
      }
    }
  }

  /** Give up: the connection is closed, and the events end here. The run goes on, unless stopped. */
  close() {
    this.#closing.abort();
    this.#endPauses();
    this.#abort.abort();
  }

  /** The network may be back, or this page awake again: see at once whether the connection holds. */
  wake() {
    this.#endPauses();
    if (this.#heardAt > 0 && performance.now() - this.#heardAt > SUSPICIOUS_SILENCE) {
      this.#abort.abort();
    }
  }

  get #cancelled() {
    return this.#closing.signal.aborted;
  }

  get #path() {
    return `/runs/${encodeURIComponent(this.#runId)}`;
  }

  /** Whether it may be on its way to the server. */
  get #mayCome() {
    return !!this.#surroundings.isBeginningElsewhere && this.#promised === null && this.#last === 0;
  }

  /**
   * Throw where it is not to be tried again.
   *
   * @param {unknown} error
   * @param {number} failures In a row.
   * @param {boolean} isAwaited
   */
  #checkPatience(error, failures, isAwaited) {
    const { attempts } = this.#patience;
    const isNew = isAwaited || !this.#accepted;
    if (this.#cancelled || failures <= (isNew ? Math.min(attempts, MOST_TRIES - 1) : attempts)) {
      return;
    }
    if (!isNew) {
      const reason = `${reasonOf(error)}; attempts to attach again: ${attempts}`;
      throw new StreamTruncated(this.lastEventId, reason, error);
    }
    if (!this.#stopping) {
      throw error;
    }
  }

  #move() {
    this.#isMoved = true;
    this.#endPauses();
    this.#abort.abort();
  }

  /** @returns {AsyncGenerator<NumberedEvent[], void>} */
  async *#connection() {
    this.#abort = new AbortController();
    const { takeTurn, isTurnWanted } = this.#surroundings;
    const isFree = !takeTurn || this.#isWatched || !this.#accepted;
    const endTurn = isFree ? null : await this.#lossOf(takeTurn(this.#abort.signal));
    const looks = isTurnWanted && setInterval(() => void this.#look(isTurnWanted), LOOK_EVERY);
    this.#heardAt = performance.now();
    try {
      yield* this.#read(await this.#soon(this.#open()), this.#abort.signal);
    } finally {
      clearInterval(looks);
      this.#heardAt = 0;
      this.#abort.abort();
      endTurn?.();
    }
  }

  /**
   * See whether the connection is to go on.
   *
   * @param {() => Promise<boolean>} isTurnWanted
   */
  async #look(isTurnWanted) {
    if (this.#accepted && (await isTurnWanted()) && !this.#isWatched) {
      this.#move(); // to the end of the line
    }
  }

  /**
   * Wait for what the server sends next. Only this counts as silence: while whoever reads is busy, the
   * server may well have sent something.
   *
   * @template T
   * @param {Promise<T>} coming
   */
  async #soon(coming) {
    const { silence } = this.#patience;
    const timer = setTimeout(() => this.#abort.abort(new ServerTimeout(silence)), silence);
    try {
      return await coming;
    } finally {
      clearTimeout(timer);
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
      throw new NothingLeft();
    }
    const type = response.headers.get("Content-Type") ?? "";
    if (!/^text\/event-stream\b/i.test(type) || !response.body) {
      hangUp(response.body);
      throw new NotAnEventStream(response.url, type);
    }
    return response.body;
  }

  /** @param {AbortSignal} signal */
  #start(signal) {
    const post = this.#surroundings.request(this.#startPath, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ ...this.#body, run_id: this.#runId }),
      signal,
    });
    this.#post = post;
    return post;
  }

  /** @param {AbortSignal} signal */
  async #attach(signal) {
    try {
      return await this.#surroundings.request(`${this.#path}/events`, {
        headers: { "Last-Event-ID": String(this.#last) },
        cache: "no-store",
        signal,
      });
    } catch (error) {
      throw statusOf(error) === 404 ? new RunGone(error) : error;
    }
  }

  /**
   * @template T
   * @param {Promise<T>} reading
   * @throws {StreamTruncated} It failed: the connection is over and the run is not.
   */
  async #lossOf(reading) {
    try {
      return await reading;
    } catch (error) {
      throw new StreamTruncated(this.lastEventId, reasonOf(error), error);
    }
  }

  /**
   * @param {ReadableStream<Uint8Array>} body
   * @param {AbortSignal} signal
   */
  async *#read(body, signal) {
    this.#onPhase(this.#stopping ? "stopping" : "open");
    const decoder = new EventDecoder(this.#patience.maxEventSize);
    const reader = body.getReader();
    // Whatever makes the requests may forget the signal once it has answered.
    signal.addEventListener("abort", () => hangUp(reader), { once: true });
    try {
      for (;;) {
        const { done, value } = await this.#lossOf(this.#soon(reader.read()));
        if (done) {
          const reason = signal.aborted ? reasonOf(signal.reason) : "the connection was closed";
          throw new StreamTruncated(this.lastEventId, reason, signal.reason);
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
      hangUp(reader);
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
      for (const { data, id } of decoder.feed(chunk)) {
        if (!this.#ended) {
          events.push(this.#next(id, data));
        }
      }
      decoder.feed(NOTHING); // throws where what came after these events is too large
    } catch (error) {
      if (!(error instanceof DriplineError)) {
        throw error;
      }
      this.#fault = error;
    }
    return events;
  }

  /**
   * @param {string} id
   * @param {string} data
   * @returns {NumberedEvent}
   */
  #next(id, data) {
    const wanted = this.#last + 1;
    if (id !== String(wanted)) {
      throw new MalformedEvent(`an event's id should be ${wanted}, is ${JSON.stringify(id)}.`);
    }
    const event = parse(data);
    this.#last = wanted;
    this.#ended = event?.type === "end";
    return { id: wanted, event };
  }

  /**
   * Wait before the next try, longer each time and never exactly as long as others do.
   *
   * @param {number} failures
   * @param {unknown} error What has failed; it may say how long to wait.
   */
  async #pause(failures, error) {
    if (this.#cancelled) {
      return;
    }
    const { firstWait, longestWait } = this.#patience;
    const wait = firstWait * 2 ** Math.min(failures, 1000) * (0.5 + Math.random() / 2);
    const asked = Number(/** @type {{retryAfter?: number}?} */ (error)?.retryAfter ?? 0);
    await new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#pauses.delete(end);
        resolve(undefined);
      };
      const timer = setTimeout(end, Math.min(Math.max(wait, asked), longestWait));
      this.#pauses.add(end);
    });
  }

  #endPauses() {
    for (const end of this.#pauses) {
      end();
    }
  }
}

/** @param {ReadableStream | ReadableStreamDefaultReader | null} body */
function hangUp(body) {
  // Rejects where the connection is what broke; that has been told.
  body?.cancel().catch(() => {});
}

/** @param {unknown} error */
function isPassing(error) {
  return /** @type {{retryable?: unknown}?} */ (error)?.retryable === true;
}

/** @param {unknown} error */
function isGone(error) {
  return error instanceof RunGone;
}

/** @param {unknown} error */
function statusOf(error) {
  return /** @type {{status?: unknown}?} */ (error)?.status;
}

/** @param {string} data */
function parse(data) {
  try {
    return parseEvent(data);
  } catch (error) {
    throw error instanceof BadJson ? new MalformedEvent(error.message, error) : error;
  }
}
