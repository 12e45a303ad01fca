/** Draws nodes of Markdown, and changes what is drawn where they have changed. */

import { createCodeBlock } from "./code-block.js";
import { createMaths } from "./maths.js";

/**
 * @typedef {import("./tree.js").MarkdownNode} MarkdownNode
 *
 * @typedef {object} Drawn A node on the page.
 * @property {MarkdownNode} node
 * @property {ChildNode} dom What stands in its parent.
 * @property {ParentNode & Node} inside Where its children stand.
 * @property {Drawn[]} children Those that may still change: the last ones.
 */

/**
 * Make the last children of an element those that are wanted. Translators and extensions put nodes of
 * their own in the place of ours: those that have gone are drawn again from what is kept.
 *
 * @param {ParentNode} parent
 * @param {Drawn[]} drawn The children that may change. They become those wanted.
 * @param {MarkdownNode[]} wanted
 */
export function redraw(parent, drawn, wanted) {
  if (drawn.some(({ dom }) => dom instanceof Text && dom.parentNode !== parent)) {
    // Where there is text, all of the children may change, and none is of anybody else.
    parent.replaceChildren();
    drawn.length = 0;
  }
  wanted.forEach((node, index) => {
    const old = drawn[index];
    if (!old) {
      drawn.push(draw(node));
      parent.append(/** @type {Drawn} */ (drawn[index]).dom);
    } else if (old.dom.parentNode === parent && isAlike(old.node, node)) {
      change(old, node);
    } else {
      const made = draw(node);
      const next = drawn.slice(index).find(({ dom }) => dom.parentNode === parent);
      parent.insertBefore(made.dom, next?.dom ?? null);
      old.dom.remove();
      drawn[index] = made;
    }
  });
  for (const { dom } of drawn.splice(wanted.length)) {
    dom.remove();
  }
}

/**
 * @param {MarkdownNode} one
 * @param {MarkdownNode} other
 */
function isAlike(one, other) {
  // A list may be drawn on from one of its items; its number is not the list's.
  return one.tag === other.tag && (one.tag === "ol" || isSame(one.attributes, other.attributes));
}

/**
 * @param {Record<string, string>} one
 * @param {Record<string, string>} other
 */
function isSame(one, other) {
  const names = Object.keys(one);
  return (
    names.length === Object.keys(other).length && names.every((name) => one[name] === other[name])
  );
}

/**
 * @param {Drawn} drawn
 * @param {MarkdownNode} node
 */
function change(drawn, node) {
  if (drawn.dom instanceof Text) {
    changeText(drawn.dom, drawn.node.text, node.text);
  } else {
    redraw(drawn.inside, drawn.children, node.children);
  }
  drawn.node = node;
}

/**
 * @param {Text} dom
 * @param {string} before
 * @param {string} after
 */
function changeText(dom, before, after) {
  if (after.startsWith(before) && dom.data === before) {
    // What is on the page already stays, and with it what is selected there.
    if (after.length > before.length) {
      dom.appendData(after.slice(before.length));
    }
  } else if (dom.data !== after) {
    dom.data = after;
  }
}

/**
 * @param {MarkdownNode} node
 * @returns {Drawn}
 */
function draw(node) {
  if (node.tag === "") {
    const dom = new Text(node.text);
    return { node, dom, inside: document.createDocumentFragment(), children: [] };
  }
  const { dom, inside } = createElement(node);
  /** @type {Drawn[]} */
  const children = [];
  redraw(inside, children, node.children);
  return { node, dom, inside, children };
}

/** @param {MarkdownNode} node */
function createElement({ tag, attributes }) {
  if (tag === "code-block") {
    return createCodeBlock(attributes.language ?? "");
  }
  if (tag === "maths") {
    return createMaths(attributes);
  }
  const inside = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value) {
      inside.setAttribute(name, value);
    }
  }
  if (tag !== "table") {
    return { dom: inside, inside };
  }
  // What is wider than the page scrolls by itself.
  const dom = document.createElement("div");
  dom.className = "table";
  dom.tabIndex = 0; // so that keys scroll it
  dom.role = "region";
  dom.ariaLabel = "Table";
  dom.append(inside);
  return { dom, inside };
}
