// Prints the CPU seconds that the page's decoder takes for a stream, and for one eight times as long.
// Input: {"unit": base64 of what is repeated, "times": how often at first, "size": of the chunks}
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { EventDecoder } = await import(pathToFileURL(process.argv[2]).href);
const { unit, times, size } = JSON.parse(readFileSync(0, "utf-8"));

function stream(times) {
  const part = Buffer.from(unit, "base64");
  return new Uint8Array(Buffer.alloc(part.length * times, part));
}

function seconds(bytes) {
  const decoder = new EventDecoder(bytes.length + 1);
  const before = process.cpuUsage();
  for (let at = 0; at < bytes.length; at += size) decoder.feed(bytes.subarray(at, at + size));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

const small = stream(times);
const large = stream(8 * times);
const best = (bytes) => Math.min(...Array.from({ length: 4 }, () => seconds(bytes)));
seconds(small); // so that it is compiled
process.stdout.write(JSON.stringify([best(small), best(large)]));
