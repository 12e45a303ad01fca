/** Runs as the page follows them: with endless patience, and in turns where nobody looks. */

import { RunStream } from "./run-stream.js";
import { request } from "./transport.js";
import { isTurnWanted, takeTurn } from "./turns.js";

/** @type {import("./run-stream.js").Surroundings} */
const PAGE = { request, takeTurn, isTurnWanted, isBeginningElsewhere: true };

/** @type {import("./run-stream.js").Patience} */
const PATIENCE = { attempts: Infinity, firstWait: 250, longestWait: 10_000, silence: 45_000 };

/** @param {import("./run-stream.js").RunRequest} run */
export function followRun(run) {
  // The run goes on without the page, which comes back to it.
  const body = run.body?.then((fields) => ({ ...fields, on_disconnect: "continue" })) ?? null;
  return new RunStream({ ...run, body }, PAGE, PATIENCE);
}
