/**
 * What must be known before anything is drawn: the chosen scheme, the chat's colours, and whether the
 * list of chats shows. A classic script, because modules run after the first paint. It reads what
 * chat/preferences.js and store/storage.js keep.
 */
document.documentElement.dataset.sidebar = "";
try {
  const { appearance, sidebar } = JSON.parse(localStorage.getItem("dripline.settings") ?? "{}");
  document.documentElement.dataset.scheme = appearance ?? "";
  document.documentElement.dataset.sidebar = sidebar ?? "";
  const { id, style } = JSON.parse(sessionStorage.getItem("dripline.look") ?? "{}");
  if (id && id === location.hash.slice(1)) {
    document.documentElement.style.cssText = style;
  }
} catch {
  // The browser keeps nothing, or nothing that can be read: the page starts as the system looks.
}
