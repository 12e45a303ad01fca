/**
 * Turns at holding a connection, for answers that nobody looks at. A browser opens six connections to a
 * server over HTTP/1.1, for all of its tabs together: if every answer held one, nothing could be stopped
 * or asked any more.
 */

const NAME = "dripline-turn";

/** Missing where the page comes over plain HTTP from another machine; then nobody waits. */
const locks = /** @type {LockManager | undefined} */ (navigator.locks);

/**
 * Wait for a turn: one at a time, in whichever tab, who came first is first.
 *
 * @param {AbortSignal} signal Ends the waiting, not the turn.
 * @returns {Promise<() => void>} Ends the turn.
 */
export function takeTurn(signal) {
  /** @type {PromiseWithResolvers<void>} */
  const { promise: over, resolve: end } = Promise.withResolvers();
  if (!locks) {
    return Promise.resolve(end);
  }
  return new Promise((resolve, reject) => {
    const begin = () => {
      resolve(end);
      return over;
    };
    locks.request(NAME, { signal }, begin).catch(reject);
  });
}

/** Whether somebody waits for a turn. */
export async function isTurnWanted() {
  const { pending = [] } = (await locks?.query()) ?? {};
  return pending.some(({ name }) => name === NAME);
}
