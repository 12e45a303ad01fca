/**
 * What can go wrong between a client and its server, as one tree:
 *
 *     DriplineError             has a `code`, a `message` for a person, and `retryable`
 *     ├── RequestRefused        the server answered with an HTTP error status
 *     ├── RunFailed             the run ended in an `error` event
 *     ├── ServerUnreachable     connecting to the server failed
 *     ├── ServerTimeout         the server sent nothing for too long
 *     ├── StreamTruncated       the stream stopped before its `end` event
 *     ├── RunGone               the server does not know the run, or no longer
 *     ├── EventsDropped         the server has discarded events that were not read
 *     ├── NotAnEventStream      the answer is not `text/event-stream`
 *     ├── MalformedEvent        an event does not follow the protocol
 *     └── EventTooLarge         an event is larger than the limit
 *
 * The names are those of dripline's Python library. The codes that a server sends are listed in
 * dripline's README.
 */

import { CodedError } from "../chat/coded-error.js";

/** The base class of the client's errors. */
export class DriplineError extends CodedError {
  /** Whether the same request can succeed later. */
  retryable;

  /**
   * @param {string} code
   * @param {string} message
   * @param {{retryable?: boolean, cause?: unknown}} [details]
   */
  constructor(code, message, { retryable = false, cause } = {}) {
    super(code, message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.retryable = retryable;
  }
}

/** The server answered with an HTTP error status. The code is the server's; "" if it sent none. */
export class RequestRefused extends DriplineError {
  /** The HTTP status. */
  status;
  /** The response's headers. */
  headers;

  /**
   * @param {number} status
   * @param {string} code
   * @param {string} message
   * @param {Headers} [headers]
   */
  constructor(status, code, message, headers = new Headers()) {
    const retryable = status === 408 || status === 425 || status === 429 || status >= 500;
    super(code, `${message} (HTTP ${status})`, { retryable });
    this.status = status;
    this.headers = headers;
  }

  /** Milliseconds that the server asks to wait before the next try; 0 if it does not. */
  get retryAfter() {
    const seconds = this.headers.get("Retry-After") ?? "";
    return /^[0-9]+$/.test(seconds) ? 1000 * Number(seconds) : 0;
  }
}

/** The run ended with an `error` event, whose code, message and `retryable` this has. */
export class RunFailed extends DriplineError {}

/** Connecting to the server failed. */
export class ServerUnreachable extends DriplineError {
  /**
   * @param {string} url The server's address.
   * @param {unknown} cause
   */
  constructor(url, cause) {
    const reason = reasonOf(cause);
    // A browser does not tell a page which of them it was.
    const message = `no server answers at ${url} (${reason}); is it running, and does it allow this origin?`;
    super("server_unreachable", message, { retryable: true, cause });
  }
}

/** The server sent nothing, not even a heartbeat, for longer than the limit. */
export class ServerTimeout extends DriplineError {
  /** @param {number} silence The limit, in milliseconds. */
  constructor(silence) {
    super("server_timeout", `the server sent nothing for ${silence / 1000} s`, { retryable: true });
  }
}

/** The stream stopped before its `end` event, so the answer is incomplete. */
export class StreamTruncated extends DriplineError {
  /** The id of the last event that was received; "" before the first. */
  lastEventId;
  /** How the stream stopped. */
  reason;

  /**
   * @param {string} lastEventId
   * @param {string} reason
   * @param {unknown} [cause]
   */
  constructor(lastEventId, reason, cause) {
    const where = lastEventId ? `after event ${lastEventId}` : "before any event";
    const message = `the stream stopped ${where}, without its end (${reason})`;
    super("stream_truncated", message, { retryable: true, cause });
    this.lastEventId = lastEventId;
    this.reason = reason;
  }
}

/**
 * The server does not know the run: it ended a while ago, or the server was restarted. The message
 * leaves out the run's id, because whoever knows it may read the run.
 */
export class RunGone extends DriplineError {
  /** @param {unknown} [cause] */
  constructor(cause) {
    const message = "The server no longer has this answer: it was restarted, or the answer ended a while ago.";
    super("run_gone", message, { cause });
  }
}

/**
 * The server has discarded events that were not read, so the answer has a gap. `attach` with `after`
 * one less than `firstEventId` reads the others.
 */
export class EventsDropped extends DriplineError {
  /** The id of the last event that was received; "" before the first. */
  lastEventId;
  /** The first id that is still available; "" if the server does not say. */
  firstEventId;

  /**
   * @param {string} lastEventId
   * @param {string} firstEventId
   * @param {unknown} [cause]
   */
  constructor(lastEventId, firstEventId, cause) {
    const from = lastEventId || "the start";
    const message = `events after ${from} have been discarded; the first available one is ${firstEventId || "not known"}`;
    super("position_gone", message, { cause });
    this.lastEventId = lastEventId;
    this.firstEventId = firstEventId;
  }
}

/** The answer is not an event stream, so whatever answers is not dripline. */
export class NotAnEventStream extends DriplineError {
  /**
   * @param {string} url The address that answered.
   * @param {string} contentType
   */
  constructor(url, contentType) {
    const answer = contentType || "nothing typed";
    const message = `${url} answered ${answer}, not text/event-stream: it is not dripline's server, or is another version.`;
    super("not_an_event_stream", message);
  }
}

/** An event does not follow dripline's protocol. */
export class MalformedEvent extends DriplineError {
  /**
   * @param {string} problem
   * @param {unknown} [cause]
   */
  constructor(problem, cause) {
    const message = `What the server sent is not understood: ${problem} This program may be older than the server.`;
    super("malformed_event", message, { cause });
  }
}

/** An event is beyond the decoder's limit; the decoder takes no more. */
export class EventTooLarge extends DriplineError {
  /** The limit in bytes. */
  limit;

  /** @param {number} limit */
  constructor(limit) {
    super("event_too_large", `an event is larger than ${limit} bytes`);
    this.limit = limit;
  }
}

/**
 * Return why a request failed, in words. Node.js hides it in the cause.
 *
 * @param {unknown} error
 * @returns {string}
 */
export function reasonOf(error) {
  if (error instanceof StreamTruncated) {
    return error.reason;
  }
  if (!(error instanceof Error)) {
    return String(error);
  }
  const inner = error.cause instanceof Error ? error.cause : error;
  const code = /** @type {{code?: unknown}} */ (inner).code;
  return inner.message || (typeof code === "string" ? code : error.message || error.name);
}
