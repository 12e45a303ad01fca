// Runs the page's decoder over inputs from standard input and prints what it says, as JSON.
// Input: [{"limit": bytes or null, "pieces": [base64, ...]}, ...]
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { EventDecoder, EventTooLarge } = await import(pathToFileURL(process.argv[2]).href);

function decode({ limit, pieces }) {
  const decoder = new EventDecoder(limit ?? undefined);
  const events = [];
  let tooLarge = false;
  for (const piece of pieces) {
    try {
      for (const { event, data, id } of decoder.feed(new Uint8Array(Buffer.from(piece, "base64"))))
        events.push([event, data, id]);
    } catch (error) {
      if (!(error instanceof EventTooLarge)) throw error;
      tooLarge = true;
    }
  }
  return [events, decoder.lastEventId, decoder.retry, decoder.pending, tooLarge];
}

process.stdout.write(JSON.stringify(JSON.parse(readFileSync(0, "utf-8")).map(decode)));
