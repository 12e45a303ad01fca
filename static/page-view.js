/** Draws the page around the answers, and keeps their end in view. Knows nothing of the network. */

import { addressOf } from "./images.js";
import { fromTemplate, part, showSentence } from "./dom.js";
import { problemBox } from "./problem-view.js";

const scroller = part(document, "#scroller");
const log = part(document, "#log");

/** What is said, above the composer. */
export class PageView {
  #atEnd = true;

  /** @param {(text: string) => void} onSuggestion A suggested message was pressed. */
  constructor(onSuggestion) {
    part(document, "#welcome .chips").addEventListener("click", ({ target }) => {
      if (target instanceof HTMLButtonElement) {
        onSuggestion(target.textContent ?? "");
      }
    });
    this.#followEnd();
  }

  /**
   * Say that a fake stands in for Ollama; "" where it does not.
   *
   * @param {string} sentence
   */
  showDemo(sentence) {
    showSentence(part(document, "#demo"), sentence);
    part(document, "#demo").hidden = !sentence;
  }

  /**
   * Say what is wrong with the server as a whole; null where nothing is.
   *
   * @param {import("./ways-out.js").Problem | null} problem
   * @param {() => void} onRetry
   */
  showTrouble(problem, onRetry) {
    const boxes = problem ? [problemBox(problem, { retry: onRetry, reload: () => location.reload() })] : [];
    part(document, "#trouble").replaceChildren(...boxes);
  }

  /**
   * @param {string} text
   * @param {string[]} images Base64.
   */
  addQuestion(text, images) {
    part(document, "#welcome").hidden = true;
    this.#atEnd = true;
    const question = fromTemplate("question-template");
    part(question, ".prose").textContent = text;
    for (const data of images) {
      const image = document.createElement("img");
      image.src = addressOf(data);
      image.alt = "A picture that you sent";
      question.prepend(image);
    }
    log.append(question);
  }

  /** @param {HTMLElement} answer */
  addAnswer(answer) {
    log.append(answer);
  }

  /**
   * Have screen readers say a sentence. Answers are told at their boundaries, not token by token.
   *
   * @param {string} sentence
   */
  announce(sentence) {
    part(document, "#announcer").textContent = sentence;
  }

  /** Keep the end in view, but only while it is: nobody is dragged away from what they read. */
  #followEnd() {
    let place = scroller.scrollTop;
    scroller.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = scroller;
      if (scrollHeight - scrollTop - clientHeight < 16) {
        this.#atEnd = true;
      } else if (scrollTop < place) {
        // Only going up leaves the end. To be away from it is not enough: the event comes a frame
        // after the scrolling, and the answer may have grown in between.
        this.#atEnd = false;
      }
      place = scrollTop;
    });
    const observer = new ResizeObserver(() => {
      if (this.#atEnd) {
        scroller.scrollTop = scroller.scrollHeight;
        place = scroller.scrollTop;
      }
    });
    observer.observe(part(document, "#content"));
    observer.observe(scroller);
  }
}
