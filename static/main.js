/** The page: its parts are made here, and connected. */

import { App } from "./chat/app.js";
import { CodedError } from "./chat/coded-error.js";
import { contextUse } from "./chat/context-use.js";
import { DraftKeeper } from "./chat/draft-keeper.js";
import { PageLook } from "./chat/page-look.js";
import { Pulls } from "./chat/pulls.js";
import { followRun } from "./net/page-run.js";
import { doWithModel, readModels, readService, TransportError } from "./net/transport.js";
import { Chats } from "./store/chats.js";
import { browserStorage, keepForFirstPaint } from "./store/storage.js";
import { address, addressed } from "./view/address.js";
import { Composer } from "./view/compose/composer.js";
import { ConversationList } from "./view/conversation-list.js";
import { showContext } from "./view/compose/context-view.js";
import { showQueue } from "./view/compose/queue-view.js";
import { part } from "./view/dom.js";
import { Drawer } from "./view/drawer.js";
import { importAndExport } from "./view/import-export.js";
import { listenToKeys, showHelp } from "./view/keyboard.js";
import { LookView } from "./view/look-view.js";
import { MessagesView } from "./view/messages/messages-view.js";
import { ModelsDialog } from "./view/settings/models-dialog.js";
import { announce, offerUndo, showNotice, showTrouble } from "./view/notices-view.js";
import { notifyAnswer } from "./view/notifications.js";
import { ScrollView } from "./view/scroll-view.js";
import { SettingControls } from "./view/settings/controls.js";
import { askForToken } from "./view/token-dialog.js";

const app = new App(
  {
    showPath(path) {
      messages.show(path);
      drawContext();
    },
    addEvents: (message, events) => messages.add(message, events),
    showActivity: (message, activity) => messages.showActivity(message, activity),
    setBusy(busy) {
      composer.setBusy(busy);
      drawQueue();
      lookView.setBusy(busy);
    },
    showConversation(conversation) {
      showLook(conversation.look);
      drawQueue();
      if (conversation.id !== openId) {
        openId = conversation.id;
        settings.useModel(conversation.model ?? "");
      }
      settings.useOptions(conversation.options ?? {});
      document.title = conversation.title ? `${conversation.title} – dripline` : "dripline";
      address(conversation.leaf ? conversation.id : "", addressed() === "");
      void drafts.open(conversation.leaf ? conversation.id : "");
      void showList();
    },
    showList: () => void showList(),
    obey,
    announce,
    answered(message) {
      void readServer(); // a model is in memory that was not
      if (document.hidden && settings.notifies && message.status === "completed") {
        const { conversation } = message;
        notifyAnswer(app.chats.get(conversation)?.title ?? "", () => open(conversation));
      }
    },
    showTrouble: (sentence) => showNotice("store", sentence),
  },
  async () => {
    await known;
    const fields = settings.requestFields();
    if (!fields.model && trouble) {
      throw new CodedError(trouble.code, trouble.message); // why there is no model
    }
    return {
      fields,
      isDemo: demo !== "",
      system: settings.systemPrompt,
      images: settings.canSee,
    };
  },
  {
    openChats: (handlers) => new Chats(handlers),
    followRun,
  },
);

/** What is wrong with the server as a whole. @type {import("./view/ways-out.js").Problem | null} */
let trouble = null;
/** Why the built-in fake answers instead of Ollama; "" where it does not. */
let demo = "";
/** What the model is told in all chats, and how many tokens it sees; 0 where that is not known. */
let context = { system: "", length: 0 };
/** The conversation that was opened last. */
let openId = "";
/** What the open conversation has made of the page. */
let look = new PageLook();

const UNDONE = { color: "Colour undone.", accent: "Accent undone.", size: "Text size undone." };
const troubleWays = {
  models: () => modelsDialog.open(),
  retry: () => void readServer(),
  reload: () => location.reload(),
  token: askToken,
};
const scroll = new ScrollView();
const messages = new MessagesView(
  {
    onEdit: (message, text) => app.edit(message, text),
    onEditChange: ({ id }, text) => drafts.change({ edit: text === null ? null : { message: id, text } }),
    // The button that was pressed goes away with what it belongs to.
    onRegenerate(message) {
      composer.focus();
      app.regenerate(message);
    },
    onContinue(message) {
      composer.focus();
      app.continueAnswer(message);
    },
    onStep: (message, by) => app.step(message, by),
    onSay: announce,
    ways: {
      settings: openSettings,
      models: () => modelsDialog.open(),
      model: () => settings.focusModel(),
      "new-chat": newChat,
      reload: () => location.reload(),
      token: askToken,
    },
  },
  ask,
);
const composer = new Composer({
  onMessage: ask,
  onStop: () => app.stop(),
  onEditLast: () => messages.editLast(),
  onSay: announce,
  onChange(written) {
    drafts.change(written);
    drawContext();
  },
});
const drafts = new DraftKeeper(app.chats.drafts, ({ text, attachments, edit }) => {
  composer.show({ text, attachments });
  drawContext();
  if (edit) {
    messages.edit(edit.message, edit.text);
  }
}, addressed());
const lookView = new LookView({
  onMessage: ask,
  onUndo(what) {
    look.undo(what);
    keepLook(UNDONE[what]);
  },
  onRemoveButton(label) {
    look.removeButton(label);
    keepLook(`Button ${label} removed.`);
  },
});
const settings = new SettingControls({
  onLookAtModels: () => void readServer(),
  onOwnSystem: (text) => app.update({ system: text || null }),
  onOwnOptions: (options) => app.update({ options }),
  ownSystem: () => app.conversation.system ?? "",
  onModel(blind, limits) {
    composer.allowPictures(blind);
    context = limits;
    drawContext();
  },
  onEnter: (sends) => composer.setEnter(sends),
});
const modelsDialog = new ModelsDialog({
  onOpen: () => void readServer(),
  onUse: (name) => settings.chooseModel(name),
  describe: (name) => doWithModel("show", name),
  async unload(name) {
    await doWithModel("unload", name);
    await readServer();
  },
  async remove(name) {
    await doWithModel("delete", name);
    await readServer();
  },
  onPull: (name) => pulls.start(name),
  onPause: (name) => pulls.pause(name),
  onForget: (name) => pulls.remove(name),
});
const pulls = new Pulls(browserStorage(), followRun, {
  onChange: () => modelsDialog.showPulls(pulls.all),
  onDone(name) {
    announce(`The model ${name} is there.`);
    void readServer();
  },
});
modelsDialog.showPulls(pulls.all);
const drawer = new Drawer(
  settings.sidebarWanted,
  (wanted) => (settings.sidebarWanted = wanted),
);
const list = new ConversationList({
  onNew: newChat,
  onOpen: open,
  onRename: (id, title) => app.rename(id, title),
  onPin: (id) => app.pin(id),
  onDelete: (id) => void remove(id),
  onSearch: () => void showList(),
  ...importAndExport(app, open),
});

listenToKeys({
  stop: () => app.stop(),
  "focus-message": () => composer.focus(),
  "edit-last": () => messages.editLast(),
  regenerate: () => app.regenerateLast(),
  "copy-answer": () => messages.copyLast(),
  "new-chat": newChat,
  search() {
    drawer.show();
    list.focusSearch();
  },
  "toggle-sidebar": () => drawer.toggle(),
  settings: openSettings,
  help: openHelp,
});
part(document, "#open-settings").addEventListener("click", openSettings);
part(document, "#open-help").addEventListener("click", openHelp);
part(document, "#skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address names the chat
  composer.focus();
});

addEventListener("online", () => app.wake());
document.addEventListener("visibilitychange", () => {
  app.setSeen(!document.hidden);
  if (document.hidden) {
    app.chats.flush(drafts.unstored); // a phone may end the page without a word
  } else {
    app.chats.continueAfterFlush();
  }
});
addEventListener("pagehide", () => app.chats.flush(drafts.unstored));
addEventListener("pageshow", () => app.chats.continueAfterFlush());
addEventListener("popstate", () => void app.open(addressed()));

/**
 * @param {string} text
 * @param {import("./chat/attachments.js").Attachment[]} [attachments]
 */
function ask(text, attachments = []) {
  if (app.send(text, attachments)) {
    scroll.follow();
  }
}

function drawQueue() {
  showQueue(app.conversation.queue ?? [], !app.isBusy, {
    onSend: (queued) => void app.sendQueued(queued).then(() => scroll.follow()),
    async onTakeBack(queued) {
      if (await app.takeBack(queued)) {
        composer.putBack(queued);
      }
    },
  });
}

function drawContext() {
  const system = app.conversation.system ?? context.system;
  showContext(contextUse({ path: app.path, system, ...composer.written }, context.length));
}

function askToken() {
  askForToken(() => void readServer());
}

function openSettings() {
  settings.open(app.conversation.system ?? "");
}

function openHelp() {
  showHelp(composer.enterSends);
}

function newChat() {
  app.create();
  drawer.close();
  composer.focus();
}

/** @param {string} id */
function open(id) {
  drawer.close();
  composer.focus();
  void app.open(id).then(() => scroll.follow());
}

/** @param {string} id */
async function remove(id) {
  const title = app.chats.get(id)?.title ?? "";
  const putBack = await app.remove(id);
  offerUndo(`“${title}” deleted.`, () => void putBack());
}

async function showList() {
  const { searched } = list;
  const found = await app.chats.search(searched);
  if (searched === list.searched) {
    list.show(found, app.conversation.id, (id) => app.isAnswering(id));
  }
}

/**
 * @param {import("./chat/events.js").UiControl} control
 * @param {import("./chat/conversation.js").Conversation} conversation Where it was said.
 */
function obey(control, conversation) {
  const changed = conversation.id === app.conversation.id ? look : PageLook.from(conversation.look);
  changed.add(control);
  drawLook();
  void app.chats.update(conversation, { look: changed.toJSON() });
}

/** @param {unknown} kept What is kept of the open conversation's look. */
function showLook(kept) {
  // Drawn anew, a button would lose the focus.
  if (JSON.stringify(PageLook.from(kept)) !== JSON.stringify(look)) {
    look = PageLook.from(kept);
    drawLook();
  }
}

function drawLook() {
  lookView.show(look);
  keepForFirstPaint(app.conversation.id, document.documentElement.style.cssText);
}

/** @param {string} said */
function keepLook(said) {
  app.update({ look: look.toJSON() });
  drawLook();
  announce(said);
}

/** Fill in what the server tells of itself. */
async function readServer() {
  try {
    const [service, found] = await Promise.all([readService(), readModels()]);
    demo = service.demo;
    showNotice("demo", demo);
    settings.showModels(found);
    modelsDialog.show(found.models, service.modelChanges);
    composer.allowPictures(settings.blind, service.maxBody);
    trouble =
      found.models.length > 0
        ? null
        : { code: "no_models", message: "Ollama has no models yet. Get one, then try again." };
    showTrouble(trouble, troubleWays);
  } catch (error) {
    if (!(error instanceof TransportError)) {
      throw error;
    }
    trouble = { code: error.code, message: error.message };
    showTrouble(trouble, troubleWays);
    if (error.code === "unauthorized") {
      askToken();
    }
  }
}

/** Settled when the models are known, or cannot be. */
const known = readServer();
app.setSeen(!document.hidden);
void app.start(addressed());
