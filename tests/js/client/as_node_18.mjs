// Takes away what Node.js 18 does not have, and later ones do: node --import ./as_node_18.mjs PROGRAM
// Node.js loads its own `fetch` late, which uses newer things too.
await fetch("data:,");

const NEWER = {
  Array: ["fromAsync", "prototype.toReversed", "prototype.toSorted", "prototype.toSpliced", "prototype.with"],
  ArrayBuffer: ["prototype.resize", "prototype.transfer"],
  Iterator: ["from", "prototype.filter", "prototype.map", "prototype.take", "prototype.toArray"],
  Map: ["groupBy"],
  Object: ["groupBy"],
  Promise: ["try", "withResolvers"],
  ReadableStream: ["from"],
  RegExp: ["escape"],
  Request: ["prototype.bytes"],
  Response: ["prototype.bytes"],
  Set: ["prototype.difference", "prototype.intersection", "prototype.union"],
  URL: ["parse"],
  Uint8Array: ["fromBase64", "prototype.toBase64", "prototype.with"],
  globalThis: ["CloseEvent", "Crypto", "CustomEvent", "File", "Iterator", "Navigator", "URLPattern", "WebSocket", "crypto", "navigator"],
};

for (const [owner, names] of Object.entries(NEWER)) {
  for (const name of names) {
    const path = name.split(".");
    const last = path.pop();
    const holder = path.reduce((value, key) => value?.[key], globalThis[owner]);
    if (holder) delete holder[last];
  }
}
