/** The page: what the user does goes to the server, and what the server says is drawn. */

import { AnswerView } from "./answer-view.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { listenToKeys, showHelp } from "./keyboard.js";
import { LookView } from "./look-view.js";
import { part } from "./dom.js";
import { PageLook } from "./page-look.js";
import { PageView } from "./page-view.js";
import { Preferences } from "./preferences.js";
import { readModels, readService, Run, TransportError } from "./transport.js";

const conversation = new Conversation();
const look = new PageLook();
let ownSystem = "";

/**
 * The run that answers now.
 *
 * @type {Run | null}
 */
let run = null;

const composer = new Composer({
  onMessage: ask,
  onStop: () => run?.stop(),
  onEditLast: () => {},
  onSay: (said) => page.announce(said),
});
const page = new PageView(ask);
const lookView = new LookView({
  onMessage: ask,
  onUndoColor() {
    look.undoColor();
    lookView.show(look);
    page.announce("The colour is undone.");
  },
  onRemoveButton(label) {
    look.removeButton(label);
    lookView.show(look);
    page.announce(`The button ${label} is gone.`);
  },
});
const preferences = new Preferences({
  onLookAtModels: () => void readServer(),
  onOwnSystem: (text) => (ownSystem = text),
  onModel: (blind) => composer.allowPictures(blind),
});

listenToKeys({
  stop: () => run?.stop() ?? false,
  "focus-message": () => composer.focus(),
  settings: () => preferences.open(ownSystem),
  help: showHelp,
});
part(document, "#open-settings").addEventListener("click", () => preferences.open(ownSystem));
part(document, "#open-help").addEventListener("click", showHelp);

/**
 * @param {string} text
 * @param {string[]} [images] Base64.
 */
function ask(text, images = []) {
  if (run) {
    return;
  }
  conversation.ask(text, images);
  page.addQuestion(text, images);
  void answerLast();
}

/** Answer the conversation's last question; a failure becomes part of the answer. */
async function answerLast() {
  const answer = conversation.answer();
  const view = new AnswerView(answer, function retry() {
    conversation.drop(answer);
    view.element.remove();
    composer.focus();
    void answerLast();
  });
  page.addAnswer(view.element);
  setBusy(true);
  page.announce("Answering.");
  run = new Run({
    messages: [...preferences.systemMessages(ownSystem), ...conversation.messages],
    ...preferences.requestFields(),
  });
  try {
    for await (const event of run.events()) {
      if (event.type === "ui_control") {
        look.add(event.data);
        lookView.show(look);
      } else {
        answer.add(event);
        view.add(event);
      }
    }
  } catch (error) {
    answer.fail(sentenceOf(error));
  }
  run = null;
  view.finish();
  setBusy(false);
  page.announce(answer.status === "completed" ? "Answer complete." : "The answer has stopped.");
  void readServer();
}

/** @param {boolean} busy */
function setBusy(busy) {
  composer.setBusy(busy);
  lookView.setBusy(busy);
}

/** Fill in what the server tells of itself. */
async function readServer() {
  try {
    const [service, found] = await Promise.all([readService(), readModels()]);
    page.showDemo(service.demo);
    composer.allowPictures(preferences.showModels(found), service.maxBody);
    page.showTrouble(
      found.models.length > 0
        ? null
        : { code: "no_models", message: "Ollama has no models yet. Get one, then try again." },
      readServer,
    );
  } catch (error) {
    const code = error instanceof TransportError ? error.code : "page_fault";
    page.showTrouble({ code, message: sentenceOf(error) }, readServer);
  }
}

/** @param {unknown} error */
function sentenceOf(error) {
  if (error instanceof TransportError) {
    return error.message;
  }
  reportError(error);
  return "A fault in this page; the browser's console says more. Reload the page and try again.";
}

void readServer();
