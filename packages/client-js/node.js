/** The client in Node.js, of which version 18 hides `crypto`; runs get their ids with it. */

import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto;

export * from "./client.js";
