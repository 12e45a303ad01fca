/** Notifications of the system: an answer is done while nobody looks. */

/** Missing where the page comes over plain HTTP from another machine, and on some phones. */
const api = /** @type {typeof Notification | undefined} */ (globalThis.Notification);

/**
 * Ask the person for leave, where that is not settled yet. Returns why it cannot be, as a sentence; ""
 * where it can.
 */
export async function askToNotify() {
  if (!api) {
    return "This browser shows no notifications for this page: it has to come over HTTPS, or from this machine.";
  }
  const answer = api.permission === "default" ? await api.requestPermission() : api.permission;
  return answer === "granted" ? "" : "The browser does not allow it. Allow notifications for this page there first.";
}

/**
 * Tell that an answer is done, where it is allowed.
 *
 * @param {string} title The chat's.
 * @param {() => void} onClick
 */
export function notifyAnswer(title, onClick) {
  if (api?.permission === "granted") {
    const notification = new api("Answer complete", { body: title, tag: title });
    notification.addEventListener("click", () => {
      window.focus();
      notification.close();
      onClick();
    });
  }
}
