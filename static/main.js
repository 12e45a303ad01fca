/** The page: what the user does goes to the server, and what the server says is drawn. */

import { AnswerView } from "./answer-view.js";
import { Conversation } from "./conversation.js";
import { PageView } from "./page-view.js";
import { readDemo, readModels, Run, TransportError } from "./transport.js";

const conversation = new Conversation();

/**
 * The run that answers now.
 *
 * @type {Run | null}
 */
let run = null;

const page = new PageView({
  onMessage(text) {
    conversation.ask(text);
    page.addQuestion(text);
    void answerLast();
  },
  onStop: () => run?.stop(),
  onReload: () => void readServer(),
});

/** Answer the conversation's last question; a failure becomes part of the answer. */
async function answerLast() {
  const answer = conversation.answer();
  const view = new AnswerView(answer, function retry() {
    conversation.drop(answer);
    view.element.remove();
    page.focus();
    void answerLast();
  });
  page.addAnswer(view.element);
  page.setBusy(true);
  page.announce("Answering.");
  run = new Run({ messages: conversation.messages, model: page.model });
  try {
    for await (const event of run.events()) {
      if (event.type === "ui_control") {
        obey(event.data);
      } else {
        answer.add(event);
        view.update();
      }
    }
  } catch (error) {
    answer.fail(sentenceOf(error));
  }
  run = null;
  view.finish();
  page.setBusy(false);
  page.announce(answer.status === "completed" ? "Answer complete." : "The answer has stopped.");
}

/** @param {import("./events.js").UiControl} control */
function obey(control) {
  if (control.action === "change_theme") {
    page.setColor(control.color);
  } else {
    page.addButton(control);
  }
}

/** Fill in what the server tells of itself. */
async function readServer() {
  try {
    const [demo, found] = await Promise.all([readDemo(), readModels()]);
    page.showDemo(demo);
    const names = found.models.map((model) => model.name);
    page.showModels(names, chosenModel(names, found.default));
    page.showTrouble(
      names.length > 0
        ? ""
        : "Ollama has no models yet. Get one with `ollama pull llama3.2`, then try again.",
    );
  } catch (error) {
    page.showTrouble(sentenceOf(error));
  }
}

/**
 * Return which model to begin with. Ollama lists `demo` as `demo:latest`.
 *
 * @param {string[]} names
 * @param {string} preferred The server's default; "" where it has none.
 */
function chosenModel(names, preferred) {
  return names.find((name) => name === preferred || name === `${preferred}:latest`) ?? names[0];
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
