/**
 * Conversations in the browser's database (IndexedDB).
 *
 * Each message is a record of its own, so that an answer that grows is the only thing written again.
 * Pictures are apart: whoever searches texts need not read megabytes of them.
 */

import { snippetOfMessage } from "../chat/chat-list.js";
import { withNewIds } from "../chat/conversation.js";
import { isEmpty } from "../chat/draft-keeper.js";
import { isFurther } from "../chat/message.js";

/**
 * @typedef {import("../chat/conversation.js").Conversation} Conversation
 * @typedef {import("../chat/message.js").Message} Message
 * @typedef {import("../chat/conversation.js").Whole} Whole
 * @typedef {import("../chat/draft-keeper.js").Draft} Draft
 *
 * @typedef {object} Imported What came of adding conversations.
 * @property {Whole[]} added
 * @property {Whole[]} grown Were there, and have further messages now: those that are told here.
 * @property {number} known How many were there as they are.
 */

const NAME = "dripline";
const STORES = ["conversations", "messages", "images", "drafts"];

/** Milliseconds. Some browsers never say that they do not open a database. */
const LONGEST_OPENING = 10_000;

/**
 * The steps from each version of the database to the next; a step that was released never changes.
 *
 * @type {((database: IDBDatabase, transaction: IDBTransaction) => void)[]}
 */
const STEPS = [
  (database) => {
    database.createObjectStore("conversations", { keyPath: "id" });
    for (const name of ["messages", "images"]) {
      const store = database.createObjectStore(name, { keyPath: "id" });
      store.createIndex("conversation", "conversation");
    }
  },
  (_, transaction) => transaction.objectStore("messages").createIndex("status", "status"),
  (database) => database.createObjectStore("drafts", { keyPath: "id" }),
];

/** The browser does not keep what it should; the message is a sentence. */
export class StoreError extends Error {}

/**
 * Open the database.
 *
 * @param {() => void} onReplaced Called when a newer page has taken the database over; nothing can be
 *   kept any more.
 * @returns {Promise<Database>}
 * @throws {StoreError} It cannot be opened.
 */
export function openDatabase(onReplaced) {
  return new Promise((resolve, reject) => {
    /** @param {unknown} cause */
    const refuse = (cause) => reject(new StoreError(reasonOf(cause), { cause }));
    const timer = setTimeout(
      () => refuse("the browser's database does not open; restart the browser"),
      LONGEST_OPENING,
    );
    try {
      const opening = indexedDB.open(NAME, STEPS.length);
      opening.onupgradeneeded = ({ oldVersion }) => {
        for (const step of STEPS.slice(oldVersion)) {
          step(opening.result, /** @type {IDBTransaction} */ (opening.transaction));
        }
      };
      opening.onerror = () => refuse(opening.error);
      opening.onblocked = () => refuse("another tab has an older version of this page open; close it");
      opening.onsuccess = () => {
        clearTimeout(timer);
        const database = opening.result;
        database.onversionchange = () => {
          database.close();
          onReplaced();
        };
        resolve(new Database(database));
      };
    } catch (error) {
      refuse(error); // there is none, or it is not allowed
    }
  });
}

/** The database, once it is open. Each method throws `StoreError` where the browser does not do it. */
export class Database {
  #database;

  /** @param {IDBDatabase} database */
  constructor(database) {
    this.#database = database;
  }

  /** @returns {Promise<Conversation[]>} */
  async conversations() {
    return this.#do("readonly", ({ conversations }) => conversations.getAll());
  }

  /**
   * @param {string} id
   * @returns {Promise<Whole | null>} Null where it is not kept, or not any more.
   */
  async read(id) {
    /** @type {Conversation | undefined} */
    let conversation;
    /** @type {Message[]} */
    let messages = [];
    /** @type {{id: string, images: string[]}[]} */
    let pictures = [];
    await this.#do("readonly", (stores) => {
      listen(stores.conversations.get(id), (found) => (conversation = found));
      listen(stores.messages.index("conversation").getAll(id), (found) => (messages = found));
      return listen(stores.images.index("conversation").getAll(id), (found) => (pictures = found));
    });
    const images = new Map(pictures.map((picture) => [picture.id, picture.images]));
    const whole = messages.map((message) => ({ ...message, images: images.get(message.id) ?? [] }));
    return conversation ? { conversation, messages: whole } : null;
  }

  /**
   * Return one message, or undefined where it is not kept.
   *
   * @param {string} id
   * @returns {Promise<Message | undefined>}
   */
  async message(id) {
    /** @type {Message | undefined} */
    let message;
    /** @type {{images: string[]} | undefined} */
    let pictures;
    await this.#do("readonly", ({ messages, images }) => {
      listen(images.get(id), (found) => (pictures = found));
      return listen(messages.get(id), (found) => (message = found));
    });
    return message && { ...message, images: pictures?.images ?? [] };
  }

  /**
   * Return the conversations in which answers were coming when they were last kept.
   *
   * @returns {Promise<string[]>} Their ids; one may be there more than once.
   */
  async running() {
    const messages = await this.#do("readonly", (stores) =>
      stores.messages.index("status").getAll("running"),
    );
    return messages.map(({ conversation }) => conversation);
  }

  /**
   * Keep changes of a conversation: fields that are not among them stay as another tab has set them.
   *
   * @param {Conversation} conversation What to keep where it is not kept yet.
   * @param {Partial<Conversation>} changes
   */
  async update(conversation, changes) {
    await this.#do("readwrite", ({ conversations }) =>
      listen(conversations.get(conversation.id), (kept) => {
        conversations.put({ ...(kept ?? conversation), ...changes });
      }),
    );
  }

  /**
   * Take a message out of a conversation's queue. One tab alone gets it.
   *
   * @param {string} id The conversation's.
   * @param {string} queued The message's.
   * @returns {Promise<boolean>} Whether it was there.
   */
  async takeQueued(id, queued) {
    let isThere = false;
    await this.#do("readwrite", ({ conversations }) =>
      listen(conversations.get(id), (kept) => {
        /** @type {import("../chat/conversation.js").Queued[]} */
        const queue = kept?.queue ?? [];
        isThere = queue.some((each) => each.id === queued);
        if (isThere) {
          conversations.put({ ...kept, queue: queue.filter((each) => each.id !== queued) });
        }
      }),
    );
    return isThere;
  }

  /**
   * Keep a message, unless what is kept of it has come further.
   *
   * @param {Message} message
   */
  async put(message) {
    const { images, ...record } = message;
    await this.#do("readwrite", (stores) => {
      if (images.length > 0) {
        const { id, conversation } = message;
        stores.images.put({ id, conversation, images });
      }
      return listen(stores.messages.get(message.id), (kept) => {
        if (!kept || isFurther(message, kept)) {
          stores.messages.put(record);
        }
      });
    });
  }

  /** @param {string} id A message's. */
  async removeMessage(id) {
    await this.#do("readwrite", ({ messages, images }) => {
      images.delete(id);
      return messages.delete(id);
    });
  }

  /** @param {Whole} whole */
  async write({ conversation, messages }) {
    await this.#do("readwrite", (stores) => {
      putMessages(stores, messages);
      return stores.conversations.put(conversation);
    });
  }

  /**
   * Add conversations that come from elsewhere, in one go. What is kept stays as it is: of one that is
   * there already, only messages that are not there are added.
   *
   * @param {Whole[]} wholes Whose ids were given where they were written.
   * @returns {Promise<Imported>}
   */
  async merge(wholes) {
    /** @type {Imported} */
    const imported = { added: [], grown: [], known: 0 };
    await this.#do("readwrite", (stores) => {
      /** @type {Set<IDBValidKey>} */
      let conversations = new Set();
      listen(stores.conversations.getAllKeys(), (keys) => (conversations = new Set(keys)));
      return listen(stores.messages.getAllKeys(), (keys) => {
        const messages = new Set(keys);
        for (const whole of wholes) {
          const { id } = whole.conversation;
          const isKnown = conversations.has(id);
          const further = whole.messages.filter((message) => !messages.has(message.id));
          if (isKnown && further.length === 0) {
            imported.known += 1;
            continue;
          }
          // Somebody else's message has such an id: a file must not reach into another conversation.
          const isForeign = !isKnown && further.length < whole.messages.length;
          const next = isForeign ? withNewIds(whole) : { ...whole, messages: further };
          putMessages(stores, next.messages);
          if (isKnown) {
            imported.grown.push(next);
          } else {
            stores.conversations.put(next.conversation);
            conversations.add(next.conversation.id);
            imported.added.push(next);
          }
          next.messages.forEach((message) => messages.add(message.id));
        }
      });
    });
    return imported;
  }

  /**
   * Return the draft of a conversation.
   *
   * @param {string} id "" is the one that is not kept yet.
   * @returns {Promise<Draft | undefined>}
   */
  async draft(id) {
    /** @type {Draft | undefined} */
    let draft;
    /** @type {Pick<Draft, "attachments"> | undefined} */
    let attached;
    await this.#do("readonly", ({ drafts }) => {
      listen(drafts.get(attachmentsOf(id)), (found) => (attached = found));
      return listen(drafts.get(id), (found) => (draft = found));
    });
    return draft && { ...draft, attachments: attached?.attachments ?? [] };
  }

  /**
   * Keep a draft; an empty one is removed.
   *
   * @param {Omit<Draft, "attachments"> & Partial<Draft>} draft Without attachments those that are kept stay:
   *   whoever writes a text does not write megabytes again with each word.
   */
  async putDraft({ attachments, ...text }) {
    await this.#do("readwrite", ({ drafts }) => {
      const { id } = text;
      if (attachments?.length) {
        drafts.put({ id: attachmentsOf(id), attachments });
      } else if (attachments) {
        drafts.delete(attachmentsOf(id));
      }
      const isGone = attachments?.length === 0 && isEmpty({ ...text, attachments });
      return isGone ? /** @type {IDBRequest<any>} */ (drafts.delete(id)) : drafts.put(text);
    });
  }

  /** Remove the drafts of conversations that there are no more. */
  async removeLostDrafts() {
    await this.#do("readwrite", ({ conversations, drafts }) =>
      listen(conversations.getAllKeys(), (ids) => {
        listen(drafts.getAllKeys(), (keys) => {
          const there = new Set(["", ...ids].flatMap((id) => [id, attachmentsOf(String(id))]));
          keys.filter((key) => !there.has(key)).forEach((key) => drafts.delete(key));
        });
      }),
    );
  }

  /** @param {string} id A conversation's. */
  async remove(id) {
    await this.#do("readwrite", ({ conversations, messages, images }) => {
      for (const store of [messages, images]) {
        listen(store.index("conversation").getAllKeys(id), (keys) => keys.forEach((key) => store.delete(key)));
      }
      return conversations.delete(id);
    });
  }

  /**
   * Return which conversations have a message with a text in it, in small or capital letters.
   *
   * @param {string} text
   * @returns {Promise<Map<string, import("../chat/chat-list.js").Snippet>>} By their ids.
   */
  async search(text) {
    const wanted = text.toLowerCase();
    /** @type {Map<string, import("../chat/chat-list.js").Snippet>} */
    const found = new Map();
    await this.#do("readonly", ({ messages }) =>
      listen(messages.openCursor(), function next(cursor) {
        if (cursor) {
          const { conversation } = cursor.value;
          const snippet = found.has(conversation) ? null : snippetOfMessage(cursor.value, wanted);
          if (snippet) {
            found.set(conversation, snippet);
          }
          cursor.continue();
        }
      }),
    );
    return found;
  }

  /**
   * Do something in one transaction, and wait until it is kept.
   *
   * @template T
   * @param {IDBTransactionMode} mode
   * @param {(stores: Record<string, IDBObjectStore>) => IDBRequest<T>} work
   * @returns {Promise<T>}
   */
  #do(mode, work) {
    return new Promise((resolve, reject) => {
      /** @param {unknown} cause */
      const refuse = (cause) => reject(new StoreError(reasonOf(cause), { cause }));
      try {
        const transaction = this.#database.transaction(STORES, mode);
        const stores = STORES.map((name) => [name, transaction.objectStore(name)]);
        const request = work(Object.fromEntries(stores));
        transaction.oncomplete = () => resolve(request.result);
        transaction.onabort = () => refuse(transaction.error ?? request.error);
      } catch (error) {
        refuse(error);
      }
    });
  }
}

/**
 * Return the key of a draft's attachments.
 *
 * @param {string} id The draft's.
 */
function attachmentsOf(id) {
  return `${id} attachments`;
}

/**
 * @param {Record<string, IDBObjectStore>} stores
 * @param {Message[]} messages
 */
function putMessages(stores, messages) {
  for (const { images, ...record } of messages) {
    stores.messages?.put(record);
    if (images.length > 0) {
      stores.images?.put({ id: record.id, conversation: record.conversation, images });
    }
  }
}

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @param {(result: T) => void} onSuccess
 */
function listen(request, onSuccess) {
  request.addEventListener("success", () => onSuccess(request.result));
  return request;
}

/** @param {unknown} cause */
function reasonOf(cause) {
  if (typeof cause === "string") {
    return cause;
  }
  const { name = "", message = "" } = Object(cause);
  // What browsers say then is for programmers: "The operation is insecure.", "Cannot read properties of ...".
  if (!(cause instanceof DOMException) || name === "InvalidStateError" || /insecure/i.test(message)) {
    return "the browser does not let this page keep anything; private windows and its settings do that";
  }
  if (name === "QuotaExceededError") {
    return "the browser's storage is full; delete or export old chats to make room";
  }
  if (name === "VersionError") {
    return "a newer version of this page has been used here; reload the page";
  }
  return message.replace(/\.+$/, "") || "the browser does not allow it";
}
