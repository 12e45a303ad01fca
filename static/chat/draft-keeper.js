/**
 * What is written and not sent, for each chat: it is there again after switching and after a reload.
 *
 * @typedef {import("./attachments.js").Attachment} Attachment
 *
 * @typedef {object} Draft
 * @property {string} id The conversation's; "" is the one that has no message yet.
 * @property {string} text The message that is being written.
 * @property {Attachment[]} attachments Pictures and files, to be sent with it.
 * @property {{message: string, text: string} | null} edit The message, by its id, that is being put in
 *   other words, and these.
 *
 * @typedef {object} DraftStore
 * @property {(id: string) => Promise<Draft | undefined>} read
 * @property {(draft: Draft) => void} saveSoon An empty draft is removed.
 */

/** Keeps one draft a chat, and shows that of the chat that is open. */
export class DraftKeeper {
  #store;
  #show;
  #draft;
  /** Whether something was written since the chat was opened: that is newer than what is read. */
  #isTouched = false;
  #isOpen = false;

  /**
   * @param {DraftStore} store
   * @param {(draft: Draft) => void} show Puts it into the fields that it is written in.
   * @param {string} id The chat that will be opened first.
   */
  constructor(store, show, id) {
    this.#store = store;
    this.#show = show;
    this.#draft = newDraft(id);
  }

  /** What is written while the page has not opened a chat yet: the store does not have it. */
  get unstored() {
    return this.#isTouched && !this.#isOpen ? [this.#draft] : [];
  }

  /**
   * Show the draft of a chat, unless it is shown already.
   *
   * @param {string} id "" is the one that has no message yet.
   */
  async open(id) {
    if (this.#isOpen && id === this.#draft.id) {
      return;
    }
    if (this.#isOpen) {
      this.#draft = newDraft(id);
      this.#isTouched = false;
      this.#show(this.#draft);
    } else {
      this.#draft.id = id; // what was typed while the page was loading
    }
    this.#isOpen = true;
    const draft = this.#draft;
    const kept = await this.#store.read(id);
    if (draft !== this.#draft) {
      return; // another chat was opened meanwhile
    }
    if (kept) {
      this.#draft = this.#isTouched ? joined(kept, draft) : kept;
      this.#show(this.#draft);
    }
    if (this.#isTouched) {
      this.#store.saveSoon(this.#draft);
    }
  }

  /**
   * Take what is written now.
   *
   * @param {Partial<Omit<Draft, "id">>} changes
   */
  change(changes) {
    this.#isTouched = true;
    Object.assign(this.#draft, changes);
    if (this.#isOpen) {
      this.#store.saveSoon(this.#draft);
    }
  }
}

/**
 * Return a draft with what was written before it was read, which comes last.
 *
 * @param {Draft} kept
 * @param {Draft} written
 * @returns {Draft}
 */
function joined(kept, written) {
  return {
    id: kept.id,
    text: [kept.text, written.text].filter(Boolean).join("\n"),
    attachments: [...kept.attachments, ...written.attachments],
    edit: written.edit ?? kept.edit,
  };
}

/** @param {Draft} draft */
export function isEmpty({ text, attachments, edit }) {
  return text === "" && attachments.length === 0 && edit === null;
}

/**
 * @param {string} id
 * @returns {Draft}
 */
function newDraft(id) {
  return { id, text: "", attachments: [], edit: null };
}
