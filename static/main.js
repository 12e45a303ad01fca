/** The page: its parts are made here, and connected. */

import { App } from "./chat/app.js";
import { CodedError } from "./chat/coded-error.js";
import { DraftKeeper } from "./chat/draft-keeper.js";
import { PageLook } from "./chat/page-look.js";
import { followRun } from "./net/page-run.js";
import { readModels, readService, TransportError } from "./net/transport.js";
import { Chats } from "./store/chats.js";
import { keepForFirstPaint } from "./store/storage.js";
import { address, addressed } from "./view/address.js";
import { Composer } from "./view/compose/composer.js";
import { ConversationList } from "./view/conversation-list.js";
import { part } from "./view/dom.js";
import { Drawer } from "./view/drawer.js";
import { importAndExport } from "./view/import-export.js";
import { listenToKeys, showHelp } from "./view/keyboard.js";
import { LookView } from "./view/look-view.js";
import { MessagesView } from "./view/messages/messages-view.js";
import { announce, offerUndo, showNotice, showTrouble } from "./view/notices-view.js";
import { ScrollView } from "./view/scroll-view.js";
import { SettingControls } from "./view/settings/controls.js";
import { askForToken } from "./view/token-dialog.js";

const app = new App(
  {
    showPath: (path) => messages.show(path),
    addEvents: (message, events) => messages.add(message, events),
    showActivity: (message, activity) => messages.showActivity(message, activity),
    setBusy(busy) {
      composer.setBusy(busy);
      lookView.setBusy(busy);
    },
    showConversation(conversation) {
      showLook(conversation.look);
      if (conversation.id !== openId) {
        openId = conversation.id;
        settings.useModel(conversation.model ?? "");
      }
      document.title = conversation.title ? `${conversation.title} – dripline` : "dripline";
      address(conversation.leaf ? conversation.id : "", addressed() === "");
      void drafts.open(conversation.leaf ? conversation.id : "");
      void showList();
    },
    showList: () => void showList(),
    obey,
    announce,
    answered: () => void readServer(), // a model is in memory that was not
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
/** The conversation that was opened last. */
let openId = "";
/** What the open conversation has made of the page. */
let look = new PageLook();

const UNDONE = { color: "Colour undone.", accent: "Accent undone.", size: "Text size undone." };
const troubleWays = {
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
  onChange: (written) => drafts.change(written),
});
const drafts = new DraftKeeper(app.chats.drafts, ({ text, pictures, edit }) => {
  composer.show({ text, pictures });
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
  onModel: (blind) => composer.allowPictures(blind),
  onEnter: (sends) => composer.setEnter(sends),
});
const drawer = new Drawer(
  settings.sidebarWanted,
  (wanted) => (settings.sidebarWanted = wanted),
);
const list = new ConversationList({
  onNew: newChat,
  onOpen: open,
  onRename: (id, title) => app.rename(id, title),
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
  help: showHelp,
});
part(document, "#open-settings").addEventListener("click", openSettings);
part(document, "#open-help").addEventListener("click", showHelp);
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
 * @param {string[]} [images] Base64.
 */
function ask(text, images = []) {
  if (app.send(text, images)) {
    scroll.follow();
  }
}

function askToken() {
  askForToken(() => void readServer());
}

function openSettings() {
  settings.open(app.conversation.system ?? "");
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
    composer.allowPictures(settings.showModels(found), service.maxBody);
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
