// Assembles the npm package in a folder: node build.mjs FOLDER. What the folder had is removed.
//
// The modules are the page's own, as they are: static/client.js and all that it imports. TypeScript
// makes a .d.ts of each, and checks that they use nothing newer than ES2022, which is Node.js 18's.
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = join(HERE, "../..");
const TSC = join(ROOT, "tests/js/node_modules/.bin/tsc");
const OWN = ["package.json", "README.md", "node.js"];

const folder = process.argv[2];
if (!folder) {
  console.error("usage: node build.mjs FOLDER");
  process.exit(2);
}
if (!existsSync(TSC)) {
  console.error("TypeScript is not installed; `make npm-pack` installs it and builds the package.");
  process.exit(1);
}
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
const { status } = spawnSync(TSC, ["-p", HERE, "--outDir", folder], { stdio: "inherit" });
if (status !== 0) {
  process.exit(1);
}
// One declaration for each module.
for (const name of readdirSync(folder, { recursive: true })) {
  if (name.endsWith(".d.ts")) {
    const module = name.replace(/\.d\.ts$/, ".js");
    copyFileSync(join(ROOT, "static", module), join(folder, module));
  }
}
for (const name of OWN) {
  copyFileSync(join(HERE, name), join(folder, name));
}
copyFileSync(join(ROOT, "LICENSE"), join(folder, "LICENSE"));
