/** Draws one message with all that can be done with it. */

import { canContinue, isRunning } from "../../chat/message.js";
import { copy, copyRich, showDone } from "../copying.js";
import { fromTemplate, part } from "../dom.js";
import { problemBox } from "../problem-view.js";
import { ActivityView } from "./activity-view.js";
import { AnswerView } from "./answer-view.js";
import { editForm } from "./edit-view.js";
import { questionElement } from "./question-view.js";

/**
 * @typedef {import("../../chat/app.js").Shown} Shown
 * @typedef {import("../../chat/message.js").Message} Message
 *
 * @typedef {object} MessageHandlers
 * @property {(message: Message, text: string) => void} onEdit
 * @property {() => void} onEditEnd The edit was given up.
 * @property {(message: Message, text: string | null) => void} onEditChange What is made of it so far;
 *   null once the edit is over.
 * @property {(message: Message) => void} onRegenerate
 * @property {(message: Message) => void} onContinue
 * @property {(message: Message, by: number) => void} onStep Another alternative is to be seen.
 * @property {(said: string) => void} onSay Something to be told to screen readers.
 * @property {Partial<Record<import("../ways-out.js").Action, () => void>>} ways What else can be done
 *   where something went wrong.
 */

/** A question, or an answer that may be growing. */
export class MessageView {
  /** The element to put into the page. */
  element;
  message;
  /** Which of its runs is drawn. */
  attempt;
  #handlers;
  #actions = fromTemplate("actions-template");
  /** @type {AnswerView | null} */
  #answer = null;
  /** @type {ActivityView | null} */
  #activity = null;
  #isLast = false;
  #finished = false;

  /**
   * @param {Message} message
   * @param {MessageHandlers} handlers
   */
  constructor(message, handlers) {
    this.message = message;
    this.attempt = message.attempt;
    this.#handlers = handlers;
    if (message.role === "assistant") {
      this.#answer = new AnswerView(message);
      this.element = this.#answer.element;
      this.#activity = new ActivityView(part(this.element, ".waiting"), message);
    } else {
      this.element = questionElement(message);
    }
    this.element.append(this.#actions);
    this.#listen();
  }

  /** Whether it is being put in other words now. */
  get isEdited() {
    return this.element.classList.contains("edited");
  }

  /**
   * Show how things are with it.
   *
   * @param {Shown} shown
   * @param {boolean} isLast Whether nothing comes after it.
   */
  show({ place, count, activity }, isLast) {
    this.#isLast = isLast;
    this.element.classList.toggle("last", isLast);
    this.#activity?.show(activity);
    this.#drawActions(place, count);
    if (this.#answer && !isRunning(this.message) && !this.#finished) {
      this.#finished = true;
      this.#answer.finish();
    }
    this.#drawFailure();
  }

  /** @param {import("../../net/run-stream.js").NumberedEvent[]} events The message has taken them. */
  add(events) {
    for (const { event } of events) {
      if (event) {
        this.#answer?.add(event);
      }
    }
    this.#activity?.draw();
  }

  /**
   * Give the focus to what can be done with it.
   *
   * @param {string} name Of the button, as the template has it.
   */
  focusAction(name) {
    /** @type {HTMLElement | null} */ (this.#actions.querySelector(`[data-does="${name}"]`))?.focus();
  }

  /** @param {import("../../chat/answering.js").Activity | null} activity */
  showActivity(activity) {
    this.#activity?.show(activity);
  }

  /**
   * Have it put in other words.
   *
   * @param {string} [kept] The words that it was put in before the page was left.
   */
  edit(kept) {
    if (this.isEdited) {
      return;
    }
    const { content, role } = this.message;
    const { element, start } = editForm({
      text: content,
      ...(kept !== undefined && { kept }),
      onChange: (text) => this.#handlers.onEditChange(this.message, text),
      done: role === "user" ? "Send" : "Save",
      onDone: (text) => {
        this.#endEdit(element);
        this.#handlers.onEdit(this.message, text);
      },
      onCancel: () => {
        this.#endEdit(element);
        this.#button("edit").focus();
        this.#handlers.onEditEnd();
      },
    });
    this.element.classList.add("edited");
    this.element.append(element);
    if (kept === undefined) {
      this.#handlers.onEditChange(this.message, content);
    }
    start();
  }

  /** Copy it as the model, or the person, wrote it. */
  copy() {
    const { content } = this.message;
    void (this.#answer ? copyRich(content, this.#answer.html) : copy(content)).then((copied) => {
      this.#handlers.onSay(copied ? "Copied." : "Not copied: the browser does not allow it.");
      if (copied) {
        showDone(this.#button("copy"));
      }
    });
  }

  /** @param {HTMLElement} form */
  #endEdit(form) {
    this.element.classList.remove("edited");
    form.remove();
    this.#handlers.onEditChange(this.message, null);
  }

  #listen() {
    const { onRegenerate, onContinue, onStep } = this.#handlers;
    /** @type {Record<string, () => void>} */
    const does = {
      copy: () => this.copy(),
      edit: () => this.edit(),
      again: () => onRegenerate(this.message),
      continue: () => onContinue(this.message),
      back: () => onStep(this.message, -1),
      forth: () => onStep(this.message, 1),
    };
    for (const [name, act] of Object.entries(does)) {
      this.#button(name).addEventListener("click", act);
    }
  }

  /**
   * @param {number} place
   * @param {number} count
   */
  #drawActions(place, count) {
    const isAnswer = this.#answer !== null;
    this.#actions.hidden = isRunning(this.message) && count === 1;
    this.#button("copy").hidden = isRunning(this.message) || !this.message.content;
    this.#button("edit").hidden = isRunning(this.message);
    this.#button("again").hidden = !isAnswer || isRunning(this.message);
    this.#button("continue").hidden = !this.#isLast || !canContinue(this.message);
    const steps = part(this.#actions, ".steps");
    steps.hidden = count === 1;
    part(steps, "span").textContent = count === 1 ? "" : `${place} / ${count}`;
    this.#button("back").ariaDisabled = String(place === 1);
    this.#button("forth").ariaDisabled = String(place === count);
  }

  #drawFailure() {
    const place = /** @type {HTMLElement | null} */ (this.element.querySelector(".failure"));
    const { error, content, model } = this.message;
    if (!place || place.hasChildNodes() === Boolean(error)) {
      return;
    }
    place.hidden = !error;
    if (!error) {
      place.replaceChildren();
      return;
    }
    const kept = content ? "The answer above is incomplete. " : "";
    const { onRegenerate, onContinue, ways } = this.#handlers;
    const box = problemBox(
      { code: error.code, message: kept + error.message, model },
      {
        ...ways,
        retry: () => onRegenerate(this.message),
        ...(content && { continue: () => onContinue(this.message) }),
      },
    );
    place.replaceChildren(box);
  }

  /** @param {string} name */
  #button(name) {
    return part(this.#actions, `[data-does="${name}"]`);
  }
}
