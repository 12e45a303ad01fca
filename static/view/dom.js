/** What the drawing modules share. Text goes into the page as text, never as markup. */

/** `keyCode` of a key that an input method has taken (UI Events, 7.3.1). */
const INPUT_METHOD = 229;

/**
 * Return the element that a selector finds.
 *
 * @param {ParentNode} parent
 * @param {string} selector
 * @returns {HTMLElement}
 */
export function part(parent, selector) {
  const found = parent.querySelector(selector);
  if (!(found instanceof HTMLElement)) {
    throw new Error(`the page has no ${selector}`);
  }
  return found;
}

/**
 * Return a copy of the one element in a template of the page.
 *
 * @param {string} id
 * @returns {HTMLElement}
 */
export function fromTemplate(id) {
  const template = /** @type {HTMLTemplateElement} */ (part(document, `#${id}`));
  return part(/** @type {DocumentFragment} */ (template.content.cloneNode(true)), "*");
}

/**
 * Whether a key belongs to an input method that composes a word: Enter takes its suggestion then. Only
 * this asks, as Safari ends the composition before it tells of the Enter that ended it; that press has
 * the code of an input method instead.
 *
 * @param {KeyboardEvent} event
 */
export function isComposing(event) {
  return event.isComposing || event.keyCode === INPUT_METHOD;
}

/**
 * Show a sentence; what stands in backticks is set as code.
 *
 * @param {HTMLElement} element
 * @param {string} sentence
 */
export function showSentence(element, sentence) {
  const pieces = sentence.split("`").map((piece, index) => {
    if (index % 2 === 0) {
      return piece;
    }
    const code = document.createElement("code");
    code.textContent = piece;
    return code;
  });
  element.replaceChildren(...pieces);
}

/**
 * Have a parent hold these elements, in this order. Those that are in their place already are not
 * touched: they would lose the focus.
 *
 * @param {Element} parent
 * @param {Element[]} elements
 */
export function arrange(parent, elements) {
  for (const child of [...parent.children]) {
    if (!elements.includes(child)) {
      child.remove();
    }
  }
  elements.forEach((element, place) => {
    const there = parent.children[place] ?? null;
    if (there !== element) {
      parent.insertBefore(element, there);
    }
  });
}
