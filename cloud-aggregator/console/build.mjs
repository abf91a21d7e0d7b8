// Builds the console into dist/: index.html and assets/ with the content's hash in each name.
// Invariant: the page needs nothing but its own origin, so that `default-src 'self'` holds; no inline script or style.

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "dist");

const result = await build({
  absWorkingDir: here,
  entryPoints: { console: "src/main.tsx", theme: "src/theme.ts" },
  outdir: "dist/assets",
  entryNames: "[name]-[hash]",
  bundle: true,
  minify: true,
  format: "iife",
  target: ["es2022"],
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  metafile: true,
  write: false,
});

rmSync(out, { recursive: true, force: true });
mkdirSync(join(out, "assets"), { recursive: true });
for (const file of result.outputFiles) writeFileSync(join(out, "assets", basename(file.path)), file.contents);

const icon = readFileSync(join(here, "icon.svg"));
const iconName = `icon-${createHash("sha256").update(icon).digest("hex").slice(0, 8).toUpperCase()}.svg`;
writeFileSync(join(out, "assets", iconName), icon);

/** The built file whose name begins with `stem` and ends with `end`. */
const named = (stem, end) => {
  const file = result.outputFiles.map((f) => basename(f.path)).find((n) => n.startsWith(stem) && n.endsWith(end));
  if (!file) throw new Error(`the build made no ${stem}*${end}`);
  return `/assets/${file}`;
};
const page = readFileSync(join(here, "index.html"), "utf8")
  .replace("{{style}}", named("console-", ".css"))
  .replace("{{theme}}", named("theme-", ".js"))
  .replace("{{script}}", named("console-", ".js"))
  .replace("{{icon}}", `/assets/${iconName}`);
writeFileSync(join(out, "index.html"), page);
for (const file of result.outputFiles) console.error(`${basename(file.path)}: ${(file.contents.length / 1024).toFixed(1)} KiB`);
