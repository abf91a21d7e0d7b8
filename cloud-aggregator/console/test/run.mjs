// Bundles the unit tests and runs them; the last line counts them.

import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { report } from "./report.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "../build/test");
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const tests = readdirSync(here).filter((name) => name.endsWith(".test.ts"));
await build({
  entryPoints: tests.map((name) => join(here, name)),
  outdir: out,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node18",
  logLevel: "warning",
});
process.exitCode = (await report(tests.map((name) => join(out, name.replace(/\.ts$/, ".mjs"))))) ? 0 : 1;
