/**
 * All conversations: in memory what is open, in the database what there is, and the same in every tab.
 */

import { snippetOfMessage } from "../chat/chat-list.js";
import { newConversation, Tree } from "../chat/conversation.js";
import { isEmpty } from "../chat/draft-keeper.js";
import { isFurther, isRunning } from "../chat/message.js";
import { openDatabase, StoreError } from "./database.js";
import { Drafts } from "./drafts.js";
import { Tabs } from "./tabs.js";
import { forgetUnsaved, keepUnsaved, takeUnsaved } from "./unsaved.js";

/**
 * @typedef {import("../chat/conversation.js").Conversation} Conversation
 * @typedef {import("../chat/message.js").Message} Message
 * @typedef {import("./database.js").Database} Database
 * @typedef {import("../chat/conversation.js").Whole} Whole
 *
 * @typedef {object} ChatsHandlers
 * @property {() => void} onList The list has changed.
 * @property {(message: Message) => void} onMessage Another tab has a new message, or a newer copy of
 *   one, in a conversation that was opened here.
 * @property {(id: string) => void} onConversation Another tab has changed a conversation's own fields,
 *   removed it, or taken out one of its messages.
 * @property {(sentence: string) => void} onTrouble Something cannot be kept.
 */

// Milliseconds. An answer that grows is kept so often; the run has the rest of it.
const SAVE_EVERY = 1000;
// Nobody waits longer for a browser that takes its time to keep something.
const LONGEST_WAIT = 3000;

/** Conversations by id, newest first. What cannot be kept is told once, and held until the page closes. */
export class Chats {
  /** @type {Promise<Database | null>} Null where the browser does not keep anything. */
  #database = Promise.resolve(null);
  #tabs;
  #handlers;
  /** @type {Map<string, Conversation>} */
  #conversations = new Map();
  /** @type {Map<string, Tree>} The messages of those that were opened. */
  #trees = new Map();
  /** @type {Map<string, {message: Message, timer: ReturnType<typeof setTimeout>}>} Kept soon. */
  #waiting = new Map();
  #drafts = new Drafts((work) => this.#keep(work));
  #asked = false;
  /** @type {Promise<unknown>} Settled when all that was to be kept is: the database keeps in order. */
  #kept = Promise.resolve();
  /** How many times a conversation's own fields were changed here. */
  #updates = 0;
  #troubled = false;

  /** @param {ChatsHandlers} handlers */
  constructor(handlers) {
    this.#handlers = handlers;
    this.#tabs = new Tabs((news) => void this.#hear(news));
  }

  /** Read what is kept. */
  async open() {
    this.#database = this.#openDatabase();
    await this.#keep((database) => takeOver(database));
    for (const conversation of (await this.#keep((database) => database.conversations())) ?? []) {
      this.#conversations.set(conversation.id, conversation);
    }
    this.#handlers.onList();
  }

  async #openDatabase() {
    try {
      return await openDatabase(() => {
        this.#database = Promise.resolve(null);
        this.#say("a newer version of this page is open in another tab; reload this one");
      });
    } catch (error) {
      this.#say(sentenceOf(error));
      return null;
    }
  }

  /** What is written and not sent. */
  get drafts() {
    return this.#drafts;
  }

  /**
   * Keep at once what is to be kept soon: the page may be closed now. Where it is not,
   * `continueAfterFlush` says so.
   *
   * @param {import("../chat/draft-keeper.js").Draft[]} unstored Drafts that were not given here yet.
   */
  flush(unstored) {
    const messages = [...this.#waiting.values()].map(({ message: { images: _, ...record } }) => record);
    const drafts = [...this.#drafts.unsaved, ...unstored].map((draft) => {
      const { attachments: _, ...text } = draft;
      return { ...text, isEmpty: isEmpty(draft), isUnread: unstored.includes(draft) };
    });
    if (messages.length > 0 || drafts.length > 0) {
      keepUnsaved({ messages, drafts });
    }
    void this.#drafts.save();
  }

  /** Take that the page goes on. */
  continueAfterFlush() {
    forgetUnsaved();
  }

  /** All conversations: those that are pinned, then the last used first. */
  get list() {
    return [...this.#conversations.values()].sort(
      (one, other) => Number(other.isPinned ?? false) - Number(one.isPinned ?? false) || other.updatedAt - one.updatedAt,
    );
  }

  /** @param {string} id */
  get(id) {
    return this.#conversations.get(id);
  }

  /**
   * Return the messages of a conversation, read from the database where they are not in memory.
   *
   * @param {string} id
   * @returns {Promise<Tree | null>} Null where there is no such conversation.
   */
  async tree(id) {
    const present = this.#trees.get(id);
    if (present) {
      return present;
    }
    const whole = await this.#read(id);
    // While it was read another call may have done the same.
    const tree = this.#trees.get(id) ?? (whole ? new Tree(whole.messages) : null);
    if (whole && tree) {
      this.#conversations.set(id, whole.conversation);
      this.#trees.set(id, tree);
    }
    return tree;
  }

  /**
   * Return the messages of the conversations in which answers are coming, here or in another tab.
   *
   * @returns {Promise<Tree[]>}
   */
  async running() {
    const ids = new Set(await this.#keep((database) => database.running()));
    const trees = await Promise.all([...ids].map((id) => this.tree(id)));
    return trees.filter((tree) => tree !== null);
  }

  /** Wait until all that was said so far is kept, so that a reload finds it. */
  async settle() {
    await Promise.race([this.#kept, new Promise((resolve) => setTimeout(resolve, LONGEST_WAIT))]);
  }

  /**
   * Return a new conversation and its messages, none; it is kept from its first message on.
   *
   * @param {Partial<Conversation>} [given]
   */
  create(given) {
    const conversation = newConversation(given);
    const tree = new Tree();
    this.#trees.set(conversation.id, tree);
    return { conversation, tree };
  }

  /**
   * Change a conversation's own fields.
   *
   * @param {Conversation} conversation
   * @param {Partial<Conversation>} changes
   */
  async update(conversation, changes) {
    this.#updates += 1;
    Object.assign(conversation, changes);
    this.#conversations.set(conversation.id, conversation);
    this.#handlers.onList();
    await this.#write((database) => database.update(conversation, changes));
    this.#tabs.tell({ kind: "conversation", conversation: conversation.id, id: conversation.id });
  }

  /**
   * Take a message out of a conversation's queue. One tab alone gets it.
   *
   * @param {Conversation} conversation
   * @param {string} queued The message's id.
   * @returns {Promise<boolean>} Whether it was there.
   */
  async takeQueued(conversation, queued) {
    const isHere = conversation.queue?.some(({ id }) => id === queued) ?? false;
    const isThere = await this.#write((database) => database.takeQueued(conversation.id, queued));
    // What is kept has changed already. Writing the queue as this tab knows it would bring back what
    // another tab has taken meanwhile.
    this.#updates += 1;
    conversation.queue = (conversation.queue ?? []).filter(({ id }) => id !== queued);
    this.#handlers.onList();
    this.#tabs.tell({ kind: "conversation", conversation: conversation.id, id: conversation.id });
    return isThere ?? isHere; // nothing is kept here
  }

  /**
   * Keep a message now.
   *
   * @param {Message} message
   */
  async put(message) {
    this.#forgetTimer(message.id);
    if (!this.#conversations.has(message.conversation)) {
      return; // it was removed while its answer came
    }
    this.#askToPersist();
    this.#trees.get(message.conversation)?.put(message);
    await this.#write((database) => database.put(message));
    this.#tabs.tell({ kind: "message", conversation: message.conversation, id: message.id });
  }

  /**
   * Keep a message soon: it grows, and is written whole.
   *
   * @param {Message} message
   */
  putSoon(message) {
    if (!this.#waiting.has(message.id) && this.#conversations.has(message.conversation)) {
      const save = () => {
        this.#forgetTimer(message.id);
        void this.#write((database) => database.put(message));
      };
      this.#waiting.set(message.id, { message, timer: setTimeout(save, SAVE_EVERY) });
    }
  }

  /**
   * Take out a message that nothing follows.
   *
   * @param {Message} message
   */
  async removeMessage(message) {
    this.#forgetTimer(message.id);
    this.#trees.get(message.conversation)?.remove(message.id);
    await this.#write((database) => database.removeMessage(message.id));
    const { conversation, id } = message;
    this.#tabs.tell({ kind: "message-removed", conversation, id });
  }

  /**
   * Remove a conversation, and return it so that it can be put back.
   *
   * @param {string} id
   * @returns {Promise<Whole | null>}
   */
  async remove(id) {
    const tree = await this.tree(id);
    const conversation = this.#conversations.get(id);
    this.#forget(id);
    await this.#write((database) => database.remove(id));
    // The list does not say so before it is true: the page may be closed at any moment.
    this.#handlers.onList();
    this.#tabs.tell({ kind: "conversation-removed", conversation: id, id });
    return conversation && tree ? { conversation, messages: tree.messages } : null;
  }

  /**
   * Put in a whole conversation: an imported one, or one that was removed.
   *
   * @param {Whole} whole
   */
  async add(whole) {
    const { id } = whole.conversation;
    this.#conversations.set(id, whole.conversation);
    this.#trees.set(id, new Tree(whole.messages));
    this.#handlers.onList();
    await this.#write((database) => database.write(whole));
    this.#tabs.tell({ kind: "conversation", conversation: id, id });
  }

  /**
   * Add conversations that come from elsewhere; one that is here already gets what it does not have.
   *
   * @param {Whole[]} wholes
   * @returns {Promise<import("./database.js").Imported>}
   */
  async addAll(wholes) {
    const imported = (await this.#write((database) => database.merge(wholes))) ?? {
      added: wholes, // nothing is kept here
      grown: [],
      known: 0,
    };
    for (const { conversation, messages } of imported.added) {
      this.#conversations.set(conversation.id, conversation);
      this.#trees.set(conversation.id, new Tree(messages));
    }
    for (const { conversation, messages } of imported.grown) {
      messages.forEach((message) => this.#trees.get(conversation.id)?.put(message));
    }
    this.#handlers.onList();
    const [first] = [...imported.added, ...imported.grown];
    if (first) {
      const { id } = first.conversation;
      this.#tabs.tell({ kind: "imported", conversation: id, id });
    }
    return imported;
  }

  /**
   * Return a conversation with all its messages.
   *
   * @param {string} id
   * @returns {Promise<Whole | null>}
   */
  async whole(id) {
    const tree = await this.tree(id);
    const conversation = this.#conversations.get(id);
    return tree && conversation ? { conversation, messages: tree.messages } : null;
  }

  /**
   * Return the conversations with a text in their title or in a message, and where it stands there.
   *
   * @param {string} text "" finds all.
   * @returns {Promise<import("../chat/chat-list.js").Found[]>}
   */
  async search(text) {
    const wanted = text.trim().toLowerCase();
    if (!wanted) {
      return this.list.map((conversation) => ({ conversation, snippet: null }));
    }
    const found = (await this.#keep((database) => database.search(wanted))) ?? new Map();
    for (const [id, tree] of this.#trees) {
      const snippet = tree.messages.map((message) => snippetOfMessage(message, wanted)).find(Boolean);
      if (snippet) {
        found.set(id, snippet);
      }
    }
    return this.list
      .filter(({ id, title }) => found.has(id) || title.toLowerCase().includes(wanted))
      .map((conversation) => ({ conversation, snippet: found.get(conversation.id) ?? null }));
  }

  /**
   * Let go of messages that the database has as well.
   *
   * @param {string} id Of the one conversation that is needed, besides those where answers come.
   */
  release(id) {
    for (const [other, tree] of this.#troubled ? [] : this.#trees) {
      if (other !== id && !tree.messages.some(isRunning)) {
        this.#trees.delete(other);
      }
    }
  }

  /** @param {import("./tabs.js").News} news */
  async #hear({ kind, conversation, id }) {
    switch (kind) {
      case "message":
        return this.#hearMessage(conversation, id);
      case "message-removed":
        await this.#readAgain(conversation); // what takes its place
        this.#trees.get(conversation)?.remove(id);
        break;
      case "conversation":
        await this.#readAgain(conversation);
        break;
      case "conversation-removed":
        this.#forget(conversation);
        break;
      case "imported":
        await this.#hearImport();
        break;
    }
    this.#handlers.onList();
    this.#handlers.onConversation(conversation);
  }

  /**
   * @param {string} conversation
   * @param {string} id
   */
  async #hearMessage(conversation, id) {
    const tree = this.#trees.get(conversation);
    const message = tree && (await this.#keep((database) => database.message(id)));
    const known = tree?.get(id);
    // What is followed here comes by itself.
    const comes = known && isRunning(known) && known.attempt === message?.attempt;
    if (tree && message && !comes && (!known || isFurther(message, known))) {
      tree.put(message);
      this.#handlers.onMessage(message);
    }
  }

  async #hearImport() {
    for (const conversation of (await this.#keep((database) => database.conversations())) ?? []) {
      if (!this.#conversations.has(conversation.id)) {
        this.#conversations.set(conversation.id, conversation);
      }
    }
    for (const id of this.#trees.keys()) {
      await this.#readAgain(id);
    }
  }

  /** Ask the browser not to clear what is kept when it runs short of room. */
  #askToPersist() {
    if (!this.#asked) {
      this.#asked = true;
      // Missing where the page comes over plain HTTP from another machine.
      navigator.storage?.persist?.().catch(() => {});
    }
  }

  /** @param {string} id */
  async #readAgain(id) {
    const found = await this.#read(id);
    if (found) {
      const known = this.#conversations.get(id);
      // Who holds the old one must see the changes.
      this.#conversations.set(id, Object.assign(known ?? found.conversation, found.conversation));
      const tree = this.#trees.get(id);
      for (const message of tree ? found.messages : []) {
        if (!tree?.get(message.id)) {
          tree?.put(message);
          this.#handlers.onMessage(message);
        }
      }
    }
  }

  /**
   * Read a conversation, with what is changed here while it is read.
   *
   * @param {string} id
   */
  async #read(id) {
    for (;;) {
      const before = this.#updates;
      const found = await this.#keep((database) => database.read(id));
      if (before === this.#updates) {
        return found;
      }
    }
  }

  /** @param {string} id A conversation's. */
  #forget(id) {
    this.#conversations.delete(id);
    for (const message of this.#trees.get(id)?.messages ?? []) {
      this.#forgetTimer(message.id);
    }
    this.#trees.delete(id);
  }

  /** @param {string} id A message's. */
  #forgetTimer(id) {
    clearTimeout(this.#waiting.get(id)?.timer);
    this.#waiting.delete(id);
  }

  /**
   * Keep something.
   *
   * @template T
   * @param {(database: Database) => Promise<T>} work
   */
  #write(work) {
    const done = this.#keep(work);
    this.#kept = done;
    return done;
  }

  /**
   * Do something with the database. Where it fails that is told, and the page goes on without.
   *
   * @template T
   * @param {(database: Database) => Promise<T>} work
   * @returns {Promise<T | undefined>}
   */
  async #keep(work) {
    const database = await this.#database;
    try {
      return database ? await work(database) : undefined;
    } catch (error) {
      this.#say(sentenceOf(error));
      return undefined;
    }
  }

  /** @param {string} reason */
  #say(reason) {
    if (!this.#troubled) {
      this.#handlers.onTrouble(
        `Chats can't be saved: ${reason}. You can go on chatting, but closing this page loses them.`,
      );
    }
    this.#troubled = true;
  }
}

/**
 * Write what other tabs could not write when they were closed, unless it is older than what there is.
 *
 * @param {Database} database
 */
async function takeOver(database) {
  for (const { messages, drafts } of takeUnsaved()) {
    for (const message of messages) {
      if (await database.message(message.id)) {
        await database.put({ ...message, images: [] });
      }
    }
    for (const { isEmpty: isGone, isUnread, ...draft } of drafts) {
      const kept = isUnread ? await database.draft(draft.id) : undefined;
      const text = [kept?.text, draft.text].filter(Boolean).join("\n");
      const edit = draft.edit ?? kept?.edit ?? null;
      await database.putDraft(isGone && !kept ? { ...draft, attachments: [] } : { ...draft, text, edit });
    }
  }
  await database.removeLostDrafts();
}

/** @param {unknown} error */
function sentenceOf(error) {
  if (!(error instanceof StoreError)) {
    throw error;
  }
  return error.message;
}
