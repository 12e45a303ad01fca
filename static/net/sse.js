/**
 * Server-Sent Events as bytes: the page's decoder. No I/O, no DOM.
 *
 * It follows the WHATWG HTML standard, section 9.2, and does exactly what `dripline.sse` does in
 * Python; the tests drive both through the same cases. Lines are cut as bytes and decoded whole, so
 * a chunk that ends inside a character cannot hurt.
 */

import { EventTooLarge } from "./errors.js";

export { EventTooLarge };

const LF = 10;
const CR = 13;
const COLON = 58;
const SPACE = 32;
const BOM = [0xef, 0xbb, 0xbf];
const SMALL = 4096;
const MAX_RETRY = Number.MAX_SAFE_INTEGER;

/**
 * @typedef {object} ServerSentEvent
 * @property {string} event The event type; "message" where the stream names none.
 * @property {string} data The data lines, joined by LF.
 * @property {string} id The last event ID when the event was dispatched.
 */

/** Turns the bytes of one event stream into events, however the bytes are cut into chunks. */
export class EventDecoder {
  /**
   * @param {number} [maxEventSize] The limit in bytes for the data collected for one event (each
   *   data line's value and one LF) and the line being read, together.
   * @param {string} [lastEventId] What events without an id of their own carry at first.
   */
  constructor(maxEventSize = 16 * 1024 * 1024, lastEventId = "") {
    /** The last event ID string: what `Last-Event-ID` says on reconnection. */
    this.lastEventId = lastEventId;
    /** @type {number | null} The reconnection time in milliseconds that the stream asked for. */
    this.retry = null;
    this._limit = maxEventSize;
    this._room = maxEventSize; // for the next line; negative once the limit was passed
    this._bom = 0; // bytes of a BOM seen at the stream's start; -1 once that is decided
    this._afterCr = false; // an LF that comes next belongs to the CR before it
    // The unfinished line: bytes, not the pieces they came in, of which each would take 170 bytes.
    this._line = new Uint8Array(SMALL);
    this._lineSize = 0;
    this._text = new TextDecoder("utf-8", { ignoreBOM: true });
    this._open = false; // lines of an unfinished block have been read into these:
    /** @type {string[]} */
    this._data = [];
    this._event = "";
    /** @type {string | null} */
    this._id = null;
  }

  /** Whether something is half-received: a stream that ends here was cut. */
  get pending() {
    return this._bom > 0 || this._lineSize > 0 || this._open || this._room < 0;
  }

  /**
   * Takes the next bytes and returns the events that they complete.
   *
   * @param {Uint8Array} chunk
   * @returns {ServerSentEvent[]}
   * @throws {EventTooLarge} The limit was passed; events completed before that come first, and
   *   every further call throws.
   */
  feed(chunk) {
    /** @type {ServerSentEvent[]} */
    const events = [];
    try {
      this._read(this._withoutBom(chunk), events);
    } catch (error) {
      if (!(error instanceof EventTooLarge) || events.length === 0) throw error;
    }
    return events;
  }

  /**
   * @param {Uint8Array} chunk
   * @param {ServerSentEvent[]} events
   */
  _read(chunk, events) {
    if (this._room < 0) throw new EventTooLarge(this._limit);
    let start = 0;
    let lf = chunk.indexOf(LF);
    let cr = chunk.indexOf(CR);
    while (start < chunk.length) {
      if (this._afterCr) {
        this._afterCr = false;
        if (chunk[start] === LF) {
          start += 1;
          continue;
        }
      }
      if (lf !== -1 && lf < start) lf = chunk.indexOf(LF, start);
      if (cr !== -1 && cr < start) cr = chunk.indexOf(CR, start);
      const end = lf === -1 ? cr : cr === -1 ? lf : Math.min(lf, cr);
      this._add(chunk.subarray(start, end === -1 ? chunk.length : end));
      if (end === -1) return;
      this._endLine(events);
      this._afterCr = end === cr;
      start = end + 1;
    }
  }

  /**
   * Drops one BOM at the start of the stream, however it is cut.
   *
   * @param {Uint8Array} chunk
   */
  _withoutBom(chunk) {
    let start = 0;
    while (this._bom >= 0 && start < chunk.length) {
      if (chunk[start] === BOM[this._bom]) {
        start += 1;
        this._bom += 1;
        if (this._bom === BOM.length) this._bom = -1;
      } else {
        this._add(Uint8Array.from(BOM.slice(0, this._bom)));
        this._bom = -1;
      }
    }
    return chunk.subarray(start);
  }

  /** @param {Uint8Array} part What comes next of the unfinished line. */
  _add(part) {
    if (part.length === 0) return;
    this._lineSize += part.length;
    if (this._lineSize > this._room) {
      this._room = -1;
      this._line = new Uint8Array(0);
      this._data = [];
      throw new EventTooLarge(this._limit);
    }
    if (this._lineSize > this._line.length) {
      const larger = new Uint8Array(2 * this._lineSize); // doubled, so that copying stays linear
      larger.set(this._line.subarray(0, this._lineSize - part.length));
      this._line = larger;
    }
    this._line.set(part, this._lineSize - part.length);
  }

  /** @param {ServerSentEvent[]} events */
  _endLine(events) {
    const line = this._line.subarray(0, this._lineSize);
    this._lineSize = 0;
    if (line.length > SMALL) this._line = new Uint8Array(SMALL); // give back what a long one took
    if (line.length === 0) {
      this._dispatch(events);
      return;
    }
    const colon = line.indexOf(COLON);
    const field = this._text.decode(colon === -1 ? line : line.subarray(0, colon));
    const from = colon === -1 ? line.length : colon + (line[colon + 1] === SPACE ? 2 : 1);
    this._processField(field, line.subarray(from));
  }

  /**
   * @param {string} field
   * @param {Uint8Array} bytes
   */
  _processField(field, bytes) {
    if (field === "data") {
      this._data.push(this._text.decode(bytes));
      this._room -= bytes.length + 1;
      this._open = true;
    } else if (field === "event") {
      this._event = this._text.decode(bytes);
      this._open = true;
    } else if (field === "id") {
      if (bytes.includes(0)) return;
      this._id = this._text.decode(bytes);
      this._open = true;
    } else if (field === "retry") {
      const digits = this._text.decode(bytes);
      if (/^[0-9]+$/.test(digits)) this.retry = Math.min(Number(digits), MAX_RETRY);
    }
  }

  /** @param {ServerSentEvent[]} events */
  _dispatch(events) {
    if (this._id !== null) this.lastEventId = this._id;
    if (this._data.length > 0) {
      const data = this._data.join("\n");
      events.push({ event: this._event || "message", data, id: this.lastEventId });
    }
    this._id = null;
    this._data = [];
    this._event = "";
    this._room = this._limit;
    this._open = false;
  }
}
