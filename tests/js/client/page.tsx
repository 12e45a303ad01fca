// The example in a page whose network cuts everything: `pieces` bytes at a time.
import { createRoot } from "react-dom/client";
import { Chat } from "./react/Chat";
import { usualLoop } from "./react/usual-loop";

const { server, pieces } = Object.fromEntries(new URLSearchParams(location.search));
const realFetch = window.fetch;
window.fetch = async (url, init) => {
  const response = await realFetch(url, init);
  const split = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      for (let at = 0; at < chunk.length; at += Number(pieces)) {
        controller.enqueue(chunk.slice(at, at + Number(pieces)));
      }
    },
  });
  return new Response(response.body!.pipeThrough(split), response);
};

createRoot(document.querySelector("#chat")!).render(<Chat server={server} />);

/** How many messages the usual loop gets, and what became of it. */
Object.assign(window, {
  async usual(content: string) {
    const messages: unknown[] = [];
    const response = await fetch(`${server}/chat`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ messages: [{ role: "user", content }] }),
    });
    try {
      await usualLoop(response, (message) => messages.push(message));
    } catch (error) {
      return [messages.length, String(error)];
    }
    return [messages.length, ""];
  },
});
