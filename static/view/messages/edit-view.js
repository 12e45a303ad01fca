/** Draws a message while it is put in other words. */

import { fromTemplate, isComposing, part } from "../dom.js";
import { growWithText } from "../growing-field.js";

/**
 * Return a form to change a text in; it has the focus once `start` is called.
 *
 * @param {object} edit
 * @param {string} edit.text
 * @param {string} [edit.kept] What was made of it before the page was left.
 * @param {string} edit.done What the button says: "Send" or "Save".
 * @param {(text: string) => void} edit.onDone
 * @param {() => void} edit.onCancel
 * @param {(text: string) => void} edit.onChange
 * @returns {{element: HTMLElement, start: () => void}}
 */
export function editForm({ text, kept, done, onDone, onCancel, onChange }) {
  const form = fromTemplate("edit-template");
  const field = /** @type {HTMLTextAreaElement} */ (part(form, "textarea"));
  field.value = kept ?? text;
  const fit = growWithText(field);
  part(form, ".main").textContent = done;
  const finish = () => (field.value.trim() && field.value !== text ? onDone(field.value) : onCancel());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    finish();
  });
  form.addEventListener("keydown", (event) => {
    if (isComposing(event)) {
      return;
    }
    if (event.key === "Escape") {
      event.preventDefault(); // it would stop the answer as well
      onCancel();
    } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      finish();
    }
  });
  field.addEventListener("input", () => onChange(field.value));
  part(form, ".cancel").addEventListener("click", onCancel);
  return {
    element: form,
    start() {
      fit();
      field.focus();
      field.setSelectionRange(field.value.length, field.value.length);
    },
  };
}
