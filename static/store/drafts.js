/** Drafts in the database: texts a moment after the last key, attachments at once. */

/** @typedef {import("../chat/draft-keeper.js").Draft} Draft */

/** Milliseconds after the first key that is not kept yet. */
const SAVE_AFTER = 300;

/** One draft a chat. */
export class Drafts {
  #keep;
  /** @type {Map<string, Draft>} Those that are not kept as they are. */
  #waiting = new Map();
  /** @type {Map<string, Draft["attachments"]>} The attachments that are kept. */
  #attachments = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {(work: (database: import("./database.js").Database) => Promise<any>) => Promise<any>} keep
   *   Does something with the database, if there is one.
   */
  constructor(keep) {
    this.#keep = keep;
  }

  /**
   * Return the draft of a chat; undefined where there is none.
   *
   * @param {string} id
   * @returns {Promise<Draft | undefined>}
   */
  async read(id) {
    const waiting = this.#waiting.get(id);
    const draft = waiting ? { ...waiting } : await this.#keep((database) => database.draft(id));
    if (draft) {
      this.#attachments.set(id, draft.attachments);
    }
    return draft;
  }

  /**
   * Keep a draft soon, and at once where its attachments are others; an empty one is removed.
   *
   * @param {Draft} draft
   */
  saveSoon(draft) {
    this.#waiting.set(draft.id, { ...draft });
    if (draft.attachments !== this.#attachments.get(draft.id)) {
      void this.save();
    } else {
      this.#timer ??= setTimeout(() => void this.save(), SAVE_AFTER);
    }
  }

  /** Keep now what waits. */
  async save() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await Promise.all([...this.#waiting.values()].map((draft) => this.#saveOne(draft)));
  }

  /** @param {Draft} draft */
  async #saveOne(draft) {
    const { attachments, ...text } = draft;
    const isKept = attachments.length > 0 && attachments === this.#attachments.get(draft.id);
    this.#attachments.set(draft.id, attachments);
    await this.#keep((database) => database.putDraft(isKept ? text : draft));
    if (this.#waiting.get(draft.id) === draft) {
      this.#waiting.delete(draft.id);
    }
  }

  /** What is not kept yet. */
  get unsaved() {
    return [...this.#waiting.values()];
  }
}
