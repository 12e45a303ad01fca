/**
 * A `fetch` that goes on where a dropped connection left off, for AG-UI's `HttpAgent`:
 *
 *     new HttpAgent({ url: "/agui", fetch: createAguiFetch() })
 *
 * and for the AI SDK's `DefaultChatTransport` the same. What it hands on is one unbroken stream of
 * whole frames: nothing is lost, nothing comes twice. It needs nothing but this file.
 *
 * dripline's answer says in `Content-Location` where the run goes on, and every frame has an id.
 * An answer without that header is handed on as it is.
 */

const LF = 10;
const MAX_FRAME = 16 * 1024 * 1024;
const FINAL_STATUS = /^(?!408|425|429|5)/;

/**
 * @typedef {object} AguiFetchOptions
 * @property {typeof globalThis.fetch} [fetch] What makes the requests.
 * @property {number} [attempts] How often in a row it tries to attach again before it gives up.
 * @property {number} [firstWait] Milliseconds before the first of them; each further one waits twice
 *   as long.
 * @property {number} [longestWait] Milliseconds that it waits at most; what a server asks for with
 *   `Retry-After` is held to that too.
 * @property {number} [silence] Milliseconds without a byte after which a connection counts as
 *   dropped. The server sends a heartbeat every 15 s.
 */

/** The stream could not be brought to its end: what came of it is not the whole answer. */
export class StreamLost extends Error {
  name = "StreamLost";
}

/**
 * Return a `fetch` for streams that can be resumed.
 *
 * Aborting its signal, or cancelling the body, stops the run: the server then stops Ollama. Where
 * the run cannot be had any more, or after `attempts` in vain, the body fails with `StreamLost`; it
 * never just ends.
 *
 * @param {AguiFetchOptions} [options]
 * @returns {(url: string | URL | Request, init?: RequestInit) => Promise<Response>}
 */
export function createAguiFetch(options = {}) {
  const settings = {
    // Not as a method of `settings`: browsers refuse that.
    fetch: options.fetch ?? ((url, init) => globalThis.fetch(url, init)),
    attempts: options.attempts ?? 10,
    firstWait: options.firstWait ?? 250,
    longestWait: options.longestWait ?? 10_000,
    silence: options.silence ?? 60_000,
  };
  return async (url, init = {}) => {
    const headers = new Headers(init.headers);
    // The run is to wait for us when the connection drops.
    headers.set("X-On-Disconnect", "grace");
    const response = await settings.fetch(url, { ...init, headers });
    const place = response.headers.get("Content-Location");
    const runId = response.headers.get("X-Run-Id");
    if (!isEventStream(response) || !place || !runId) return response;
    const run = new ResumedRun(response, new URL(place, response.url), runId, init, settings);
    return new Response(run.body, { status: response.status, headers: response.headers });
  };
}

/** One run's bytes, over as many connections as it takes. */
class ResumedRun {
  #reader;
  #place;
  #runId;
  #init;
  #settings;
  #signal;
  #frames = new WholeFrames();
  #failures = 0;
  #over = false;

  /**
   * @param {Response} response The first one.
   * @param {URL} place Where it goes on.
   * @param {string} runId
   * @param {RequestInit} init What the first request was made with.
   * @param {Required<AguiFetchOptions>} settings
   */
  constructor(response, place, runId, init, settings) {
    this.#reader = readerOf(response);
    this.#place = place;
    this.#runId = runId;
    this.#init = init;
    this.#settings = settings;
    this.#signal = init.signal ?? new AbortController().signal;
    this.#signal.addEventListener("abort", this.#stop, { once: true });
    if (this.#signal.aborted) this.#stop();
    this.body = new ReadableStream(
      { pull: (controller) => this.#pull(controller), cancel: this.#stop },
      { highWaterMark: 0 },
    );
  }

  /** @param {ReadableStreamDefaultController<Uint8Array>} controller */
  async #pull(controller) {
    try {
      const bytes = await this.#next();
      if (bytes) {
        controller.enqueue(bytes);
      } else {
        controller.close();
      }
    } catch (error) {
      this.#end();
      controller.error(this.#signal.aborted ? this.#signal.reason : error);
    }
  }

  /** Return the next whole frames, or null after the last one. */
  async #next() {
    while (!this.#frames.complete) {
      try {
        const bytes = this.#frames.take(await this.#read());
        if (bytes.length > 0) {
          this.#failures = 0;
          return bytes;
        }
      } catch (error) {
        this.#signal.throwIfAborted();
        if (error instanceof StreamLost) throw error;
        await this.#attachAgain(error);
      }
    }
    this.#end();
    return null;
  }

  /** Return the next bytes of this connection. */
  async #read() {
    // Cancelling ends the read as if the stream had ended.
    const timer = setTimeout(() => hangUp(this.#reader), this.#settings.silence);
    try {
      const { done, value } = await this.#reader.read();
      if (done) throw new Error("the connection was closed before the run's end");
      return value;
    } finally {
      clearTimeout(timer);
    }
  }

  /** @param {unknown} cause What broke the connection. */
  async #attachAgain(cause) {
    hangUp(this.#reader);
    this.#frames.dropUnfinished();
    let asked = 0;
    for (;;) {
      if (this.#failures >= this.#settings.attempts) {
        throw new StreamLost(`gave up after ${this.#failures} attempts to attach again`, { cause });
      }
      await this.#wait(asked);
      this.#failures += 1;
      try {
        const response = await this.#request(this.#place, { "Last-Event-ID": this.#frames.lastId });
        if (isEventStream(response)) {
          this.#reader = readerOf(response);
          return;
        }
        asked = 1000 * Number(response.headers.get("Retry-After") ?? 0) || 0;
        cause = new Error(`HTTP ${response.status}: ${await response.text()}`);
        if (FINAL_STATUS.test(String(response.status))) {
          throw new StreamLost("the run cannot be had any more", { cause });
        }
      } catch (error) {
        this.#signal.throwIfAborted();
        if (error instanceof StreamLost) throw error;
        cause = error;
      }
    }
  }

  /** @param {number} asked Milliseconds that the server asks for. */
  #wait(asked) {
    const { firstWait, longestWait } = this.#settings;
    // With jitter, so that the readers of a server that was restarted do not all come at once.
    const wait = firstWait * 2 ** this.#failures * (0.5 + Math.random() / 2);
    const signal = this.#signal;
    return /** @type {Promise<void>} */ (
      new Promise((resolve, reject) => {
        const abort = () => {
          clearTimeout(timer);
          reject(signal.reason);
        };
        const timer = setTimeout(
          () => {
            signal.removeEventListener("abort", abort);
            resolve();
          },
          Math.min(Math.max(wait, asked), longestWait),
        );
        signal.addEventListener("abort", abort, { once: true });
      })
    );
  }

  /**
   * @param {URL} url
   * @param {Record<string, string>} more Further headers.
   * @param {RequestInit} [init]
   */
  #request(url, more, init = {}) {
    const { body, method, headers: given, ...rest } = this.#init;
    const headers = new Headers(given);
    headers.delete("Content-Type");
    for (const [name, value] of Object.entries(more)) headers.set(name, value);
    return this.#settings.fetch(url, { cache: "no-store", ...rest, headers, ...init });
  }

  #stop = () => {
    if (this.#over) return;
    this.#end();
    hangUp(this.#reader);
    // `keepalive` lets it outlive the page. Where it fails the run ends by its grace time.
    const stopped = this.#request(
      new URL(`../${encodeURIComponent(this.#runId)}`, this.#place),
      {},
      { method: "DELETE", signal: null, keepalive: true },
    );
    stopped.catch(() => {});
  };

  #end() {
    this.#over = true;
    this.#signal.removeEventListener("abort", this.#stop);
  }
}

/**
 * Holds back the frame that is still coming: where the connection drops inside it, it comes again.
 * The server ends lines with LF alone, so a frame ends with two of them.
 */
class WholeFrames {
  /** The id of the last whole frame. */
  lastId = "0";
  /** Whether that was the run's last one. */
  complete = false;
  /** @type {Uint8Array[]} */
  #pieces = [];
  #size = 0;

  /**
   * Take the next bytes, and return what is whole of all that came.
   *
   * @param {Uint8Array} chunk
   */
  take(chunk) {
    const end = this.#endOfLastFrame(chunk);
    if (end === 0) {
      this.#keep(chunk);
      return new Uint8Array(0);
    }
    this.#keep(chunk.subarray(0, end));
    const whole = new Uint8Array(this.#size);
    let at = 0;
    for (const piece of this.#pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    this.dropUnfinished();
    this.#keep(chunk.subarray(end));
    this.#note(whole);
    return whole;
  }

  /** Forget the beginning of a frame whose rest will not come. */
  dropUnfinished() {
    this.#pieces = [];
    this.#size = 0;
  }

  /** @param {Uint8Array} chunk */
  #endOfLastFrame(chunk) {
    for (let at = chunk.lastIndexOf(LF); at > 0; at = chunk.lastIndexOf(LF, at - 1)) {
      if (chunk[at - 1] === LF) return at + 1;
    }
    const before = this.#pieces.at(-1);
    return chunk[0] === LF && before?.at(-1) === LF ? 1 : 0;
  }

  /** @param {Uint8Array} piece */
  #keep(piece) {
    if (piece.length === 0) return;
    this.#pieces.push(piece.slice());
    this.#size += piece.length;
    if (this.#size > MAX_FRAME) throw new StreamLost(`a frame is larger than ${MAX_FRAME} bytes`);
  }

  /** @param {Uint8Array} whole */
  #note(whole) {
    let start = whole.length - 2;
    while (start > 0 && !(whole[start] === LF && whole[start - 1] === LF)) start -= 1;
    const frame = new TextDecoder().decode(whole.subarray(start));
    this.lastId = /^id: (.*)$/m.exec(frame)?.[1] ?? this.lastId;
    this.complete = isTerminal(/^data: (.*)$/m.exec(frame)?.[1] ?? "");
  }
}

/** @param {string} data A frame's. */
function isTerminal(data) {
  if (data === "[DONE]") return true;
  if (!data.includes("RUN_")) return false;
  return ["RUN_FINISHED", "RUN_ERROR"].includes(JSON.parse(data).type);
}

/** @param {Response} response */
function isEventStream(response) {
  const type = response.headers.get("Content-Type") ?? "";
  return response.status === 200 && /^text\/event-stream\b/i.test(type) && response.body !== null;
}

/** @param {Response} response */
function readerOf(response) {
  return /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
}

/** @param {ReadableStreamDefaultReader<Uint8Array>} reader */
function hangUp(reader) {
  reader.cancel().catch(() => {}); // it rejects where the connection is broken already
}
