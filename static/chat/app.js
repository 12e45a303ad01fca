/**
 * What the page does: between the views, which draw and hear, and the conversations and their runs.
 */

import { Answering } from "./answering.js";
import { messageParts } from "./attachments.js";
import { requestMessages, titleOf } from "./conversation.js";
import { newId } from "./ids.js";
import { canContinue, hasBegun, isRunning, newMessage } from "./message.js";

/**
 * @typedef {import("./answering.js").Activity} Activity
 * @typedef {import("./conversation.js").Conversation} Conversation
 * @typedef {import("./conversation.js").Tree} Tree
 * @typedef {import("./events.js").UiControl} UiControl
 * @typedef {import("./message.js").Message} Message
 * @typedef {import("./events.js").NumberedEvent} NumberedEvent
 * @typedef {import("../store/chats.js").Chats} Chats
 * @typedef {import("../store/chats.js").ChatsHandlers} ChatsHandlers
 *
 * @typedef {object} Shown A message with its place among its alternatives.
 * @property {Message} message
 * @property {number} place From 1.
 * @property {number} count
 * @property {Activity | null} activity
 *
 * @typedef {object} Views What the app tells the page.
 * @property {(path: Shown[]) => void} showPath The messages to be seen, in place of those before.
 * @property {(message: Message, events: NumberedEvent[]) => void} addEvents A message that may be
 *   seen has taken events.
 * @property {(message: Message, activity: Activity | null) => void} showActivity
 * @property {(busy: boolean) => void} setBusy Whether an answer is coming at the end of the path.
 * @property {(conversation: Conversation) => void} showConversation Another is open now, or its own
 *   fields have changed.
 * @property {() => void} showList
 * @property {(control: UiControl, conversation: Conversation) => void} obey
 * @property {(message: Message) => void} answered An answer is over.
 * @property {(sentence: string) => void} announce Have screen readers say it.
 * @property {(sentence: string) => void} showTrouble Something cannot be kept.
 *
 * @typedef {object} Choices What is to answer, and how.
 * @property {{model: string} & Record<string, unknown>} fields Of `POST /chat`, but the messages.
 * @property {string} system The system prompt where the conversation has none of its own.
 * @property {boolean} images Whether the model sees.
 * @property {boolean} isDemo Whether the built-in fake answers instead of Ollama.
 *
 * @typedef {object} Outside How the app reaches what is not on this page.
 * @property {(handlers: ChatsHandlers) => Chats} openChats Where conversations are kept.
 * @property {(run: import("./answering.js").RunRequest) => import("./answering.js").RunFollower} followRun
 */

/** The page's conversations, of which one is open. */
export class App {
  #views;
  #choices;
  #chats;
  #answering;
  /** @type {Tree} */
  #tree;
  /** @type {Conversation} */
  #conversation;
  #isSeen = true;
  /** Counts what was opened: what comes late is of no use. */
  #opened = 0;

  /**
   * @param {Views} views
   * @param {() => Promise<Choices>} choices
   * @param {Outside} outside
   */
  constructor(views, choices, { openChats, followRun }) {
    this.#views = views;
    this.#choices = choices;
    this.#chats = openChats({
      onList: () => views.showList(),
      onMessage: (message) => this.#hearMessage(message),
      onConversation: (id) => this.#hearConversation(id),
      onTrouble: (sentence) => views.showTrouble(sentence),
    });
    this.#answering = new Answering(this.#chats, followRun, {
      onEvents: (message, events) => this.#addEvents(message, events),
      onActivity: (message, activity) => views.showActivity(message, activity),
      onEnd: (message) => this.#end(message),
    });
    const { conversation, tree } = this.#chats.create();
    this.#conversation = conversation;
    this.#tree = tree;
    this.#watch();
  }

  /** The open conversation. */
  get conversation() {
    return this.#conversation;
  }

  /** The messages that are seen, the first one first. */
  get path() {
    return this.#tree.path(this.#conversation.leaf);
  }

  /** All conversations, the last used first, and how to put them in, take them out and find them. */
  get chats() {
    return this.#chats;
  }

  /** Whether an answer is coming at the end of what is seen. */
  get isBusy() {
    return this.#lastMessage !== undefined && isRunning(this.#lastMessage);
  }

  /**
   * Read what is kept, open a conversation unless one was begun meanwhile, and go on with the answers
   * that were coming when the page was closed, in whichever conversations.
   *
   * @param {string} id
   */
  async start(id) {
    const opened = this.#opened;
    await this.#chats.open();
    if (opened === this.#opened) {
      await this.open(id);
    }
    for (const tree of await this.#chats.running()) {
      this.#attach(tree);
    }
    this.#views.showList();
  }

  /**
   * Whether an answer is coming in a conversation.
   *
   * @param {string} id
   */
  isAnswering(id) {
    return this.#answering.isBusy(id);
  }

  /** Begin a conversation with nothing in it. */
  create() {
    this.#opened += 1;
    const { conversation, tree } = this.#chats.create();
    this.#show(conversation, tree);
  }

  /**
   * Open a conversation; a new one where there is none with this id. "run=ID" watches that run.
   *
   * @param {string} id
   */
  async open(id) {
    if (id.startsWith("run=")) {
      this.#watchRun(id.slice("run=".length));
      return;
    }
    this.#opened += 1;
    const opened = this.#opened;
    const tree = await this.#chats.tree(id);
    const conversation = this.#chats.get(id);
    if (opened === this.#opened) {
      if (tree && conversation) {
        this.#show(conversation, tree);
      } else {
        this.create();
      }
    }
  }

  /**
  /**
   * Follow the answer of a run that another program has started, in a conversation of its own.
   *
   * @param {string} runId
   */
  #watchRun(runId) {
    this.create();
    const answer = this.#say({ role: "assistant", parent: null, content: "", runId, status: "running" });
    this.#answering.attach(answer);
    this.#change({ title: "Chat of another program" });
    this.#select(answer);
  }

  /**
   * Say something, and have it answered; while an answer is coming it waits its turn. Returns whether
   * there is something to say.
   *
   * @param {string} content
   * @param {import("./attachments.js").Attachment[]} [attachments]
   */
  send(content, attachments = []) {
    if (!content.trim() && attachments.length === 0) {
      return false;
    }
    if (this.isBusy) {
      const queue = [...(this.#conversation.queue ?? []), { id: newId(), content, attachments }];
      this.#change({ queue });
      this.#views.announce("The message waits for the answer.");
      return true;
    }
    this.#opened += 1; // what is still being read comes too late
    if (!this.#conversation.title) {
      this.#change({ title: titleOf(content) || attachments[0]?.name || "Pictures" });
    }
    const parent = this.#conversation.leaf;
    this.#answer(this.#say({ role: "user", content, ...messageParts(attachments), parent }));
    return true;
  }

  /**
   * Take a message back that waits its turn.
   *
   * @param {import("./conversation.js").Queued} queued
   * @returns {Promise<boolean>} Whether it was still waiting.
   */
  async takeBack(queued) {
    const isThere = await this.#chats.takeQueued(this.#conversation, queued.id);
    this.#views.showConversation(this.#conversation);
    return isThere;
  }

  /**
   * Say a message that waits its turn, unless an answer is coming.
   *
   * @param {import("./conversation.js").Queued} queued
   */
  async sendQueued(queued) {
    const conversation = this.#conversation;
    if (!this.isBusy && (await this.takeBack(queued)) && conversation === this.#conversation) {
      this.send(queued.content, queued.attachments);
    }
  }

  /**
   * Say what was said before in other words. A question is answered then; an answer stays as it is put.
   *
   * @param {Message} message
   * @param {string} content
   */
  edit(message, content) {
    const { role, images, alts = [], files = [], parent, model } = message;
    const edited = this.#say({ role, images, alts, files, parent, model, content });
    if (role === "user") {
      this.#answer(edited);
    } else {
      this.#select(edited);
    }
  }

  /**
   * Have a question answered anew; the answer that there is stays beside the new one, unless there is
   * nothing in it.
   *
   * @param {Message} message The answer.
   */
  regenerate(message) {
    const question = this.#tree.get(message.parent);
    if (question && !isRunning(message)) {
      this.#answer(question);
      if (!hasBegun(message) && !this.#tree.hasChildren(message)) {
        void this.#chats.removeMessage(message);
        this.#showPath();
      }
    }
  }

  /** Have the last question answered anew. Returns whether that is possible now. */
  regenerateLast() {
    const last = this.#lastMessage;
    if (!last || isRunning(last)) {
      return false;
    }
    if (last.role === "assistant") {
      this.regenerate(last);
    } else {
      this.#answer(last);
    }
    return true;
  }

  /**
   * Have the model go on where an answer stopped.
   *
   * @param {Message} message
   */
  continueAnswer(message) {
    if (canContinue(message) && !this.#tree.hasChildren(message)) {
      this.#answering.begin(message, this.#body(message, message));
      this.#touch();
      this.#showPath();
    }
  }

  /**
   * Show an alternative of a message.
   *
   * @param {Message} message
   * @param {number} by How many further on; below 0, back.
   */
  step(message, by) {
    const siblings = this.#tree.siblings(message);
    const other = siblings[siblings.indexOf(message) + by];
    if (other) {
      this.#select(this.#tree.leafBelow(other));
    }
  }

  /** Stop the answer that is coming. Returns whether there is one. */
  stop() {
    const message = this.#lastMessage;
    if (message && isRunning(message)) {
      this.#answering.stop(message);
      return true;
    }
    return false;
  }

  /** The network may be back, or the page awake again. */
  wake() {
    this.#answering.wake();
  }

  /**
   * Take that the page is seen, or not any more: another tab is in front of it.
   *
   * @param {boolean} isSeen
   */
  setSeen(isSeen) {
    this.#isSeen = isSeen;
    this.#watch();
    if (isSeen) {
      this.#markRead();
      this.wake();
    }
  }

  /**
   * @param {string} id A conversation's.
   * @param {string} title
   */
  rename(id, title) {
    const conversation = this.#chats.get(id);
    const line = title.trim().replaceAll(/\s+/g, " ");
    if (conversation && line) {
      void this.#chats.update(conversation, { title: line });
      this.#hearConversation(id);
    }
  }

  /**
   * Have a conversation stand first in the list, or not any more.
   *
   * @param {string} id
   */
  pin(id) {
    const conversation = this.#chats.get(id);
    if (conversation) {
      void this.#chats.update(conversation, { isPinned: !conversation.isPinned });
    }
  }

  /**
   * Remove a conversation, with what is being answered in it.
   *
   * @param {string} id
   * @returns {Promise<() => Promise<void>>} Puts it back.
   */
  async remove(id) {
    const tree = await this.#chats.tree(id);
    for (const message of tree?.messages ?? []) {
      this.#answering.stop(message);
    }
    const removed = await this.#chats.remove(id);
    if (id === this.#conversation.id) {
      this.create();
    }
    return async () => {
      if (removed) {
        await this.#chats.add(removed);
        await this.open(id);
      }
    };
  }

  /**
   * Add conversations from files.
   *
   * @param {import("./conversation.js").Whole[]} wholes
   */
  async addAll(wholes) {
    const imported = await this.#chats.addAll(wholes);
    if (imported.grown.some(({ conversation }) => conversation.id === this.#conversation.id)) {
      this.#showPath();
    }
    return imported;
  }

  /**
   * Change fields of the open conversation.
   *
   * @param {Partial<Conversation>} changes
   */
  update(changes) {
    Object.assign(this.#conversation, changes);
    if (this.#conversation.leaf) {
      void this.#chats.update(this.#conversation, changes);
    }
  }

  get #lastMessage() {
    return this.#tree.get(this.#conversation.leaf);
  }

  /**
   * Add a message of either side, and show it.
   *
   * @param {Pick<Message, "role" | "parent" | "content"> & Partial<Message>} given
   */
  #say(given) {
    const message = newMessage({ conversation: this.#conversation.id, ...given });
    this.#tree.put(message);
    void this.#chats.put(message);
    return message;
  }

  /** @param {Message} question */
  #answer(question) {
    const { id: parent, conversation } = question;
    const answer = newMessage({ conversation, parent, role: "assistant" });
    this.#tree.put(answer);
    this.#answering.begin(answer, this.#body(answer, question));
    this.#select(answer);
    this.#views.announce("Answering.");
  }

  /**
   * Return the body of `POST /chat`, once it is known what there is to answer.
   *
   * @param {Message} answer
   * @param {Message} last The last message that the model is told.
   */
  async #body(answer, last) {
    const path = this.#tree.path(last.id);
    const conversation = this.#conversation;
    const { system: own } = conversation;
    const { fields, images, system, isDemo } = await this.#choices();
    if (conversation.model !== fields.model && this.#chats.get(conversation.id)) {
      void this.#chats.update(conversation, { model: fields.model });
    }
    await this.#chats.settle();
    answer.model = fields.model;
    answer.isDemo = isDemo;
    return { ...fields, messages: requestMessages(path, { system: own ?? system, images }) };
  }

  /** @param {Message} leaf */
  #select(leaf) {
    this.#change({ leaf: leaf.id, updatedAt: Date.now() });
    this.#showPath();
  }

  #touch() {
    this.#change({ updatedAt: Date.now() });
  }

  /** @param {Partial<Conversation>} changes */
  #change(changes) {
    void this.#chats.update(this.#conversation, changes);
    this.#views.showConversation(this.#conversation);
  }

  /**
   * @param {Conversation} conversation
   * @param {Tree} tree
   */
  #show(conversation, tree) {
    this.#conversation = conversation;
    this.#tree = tree;
    this.#watch();
    this.#chats.release(conversation.id);
    this.#markRead();
    this.#views.showConversation(conversation);
    this.#attach(tree);
    this.#showPath();
    this.#sendNext();
  }

  /** Take that what has come in the open conversation is seen. */
  #markRead() {
    if (this.#conversation.isUnread) {
      void this.#chats.update(this.#conversation, { isUnread: false });
    }
  }

  /** Say what waits in the open conversation, where its last answer is complete. */
  #sendNext() {
    const [next] = this.#conversation.queue ?? [];
    if (next && this.#lastMessage?.role === "assistant" && this.#lastMessage.status === "completed") {
      void this.sendQueued(next);
    }
  }

  #watch() {
    this.#answering.watch(this.#isSeen ? this.#conversation.id : "");
  }

  /** @param {Tree} tree Of which to follow the answers that are coming. */
  #attach(tree) {
    for (const message of tree.messages) {
      this.#answering.attach(message);
    }
  }

  #showPath() {
    const path = this.#tree.path(this.#conversation.leaf).map((message) => {
      const siblings = this.#tree.siblings(message);
      const place = siblings.indexOf(message) + 1;
      return { message, place, count: siblings.length, activity: this.#answering.activityOf(message) };
    });
    this.#views.showPath(path);
    this.#views.setBusy(this.isBusy);
  }

  /**
   * @param {Message} message
   * @param {NumberedEvent[]} events
   */
  #addEvents(message, events) {
    this.#views.addEvents(message, events);
    const conversation = this.#chats.get(message.conversation);
    for (const { event } of events) {
      if (event?.type === "ui_control" && conversation) {
        this.#views.obey(event.data, conversation);
      }
    }
  }

  /** @param {Message} message */
  #end(message) {
    const conversation = this.#chats.get(message.conversation);
    if (conversation && (!this.#isSeen || conversation.id !== this.#conversation.id)) {
      void this.#chats.update(conversation, { isUnread: true });
    }
    this.#views.showList();
    this.#views.answered(message);
    if (message.conversation === this.#conversation.id) {
      this.#showPath();
      this.#views.showConversation(this.#conversation);
      this.#sendNext();
      this.#views.announce(
        message.status === "completed" ? "Answer complete." : "The answer has stopped.",
      );
    }
  }

  /** @param {Message} message Of another tab. */
  #hearMessage(message) {
    this.#answering.attach(message);
    if (message.conversation === this.#conversation.id) {
      this.#showPath();
    }
  }

  /** @param {string} id Of the conversation that another tab has changed. */
  #hearConversation(id) {
    if (id !== this.#conversation.id) {
      return;
    }
    const conversation = this.#chats.get(id);
    if (conversation) {
      this.#conversation = conversation;
      this.#views.showConversation(conversation);
      this.#showPath();
    } else {
      this.create();
    }
  }
}
