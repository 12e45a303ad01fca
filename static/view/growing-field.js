/** Text fields that are as high as their text. */

/** Whether the style sheet does it: `field-sizing`, which Firefox and Safari learnt late or not yet. */
const BY_STYLE = CSS.supports("field-sizing", "content");

/**
 * Keep a field as high as its text, within the bounds that the style sheet sets.
 *
 * @param {HTMLElement} field A textarea.
 * @returns {() => void} To be called when its text was changed by a script, or it came into the page.
 */
export function growWithText(field) {
  const fit = () => {
    if (BY_STYLE) {
      return;
    }
    const { style, parentElement: parent } = field;
    // While it is measured, what is around it stays as high as it is: the conversation would move.
    parent?.style.setProperty("min-height", `${parent.offsetHeight}px`);
    style.height = "0";
    const borders = field.offsetHeight - field.clientHeight;
    style.height = `${field.scrollHeight + borders}px`;
    parent?.style.removeProperty("min-height");
    // A scroll bar that is not needed takes the line's last word.
    style.overflowY = field.scrollHeight > field.clientHeight ? "auto" : "hidden";
  };
  field.addEventListener("input", fit);
  return fit;
}
