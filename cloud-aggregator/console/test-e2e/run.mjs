// Runs the browser tests; the last line counts them.

import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { report } from "../test/report.mjs";

const here = dirname(fileURLToPath(import.meta.url));
process.exitCode = (await report(["console.test.mjs", "conditions.test.mjs"].map((name) => join(here, name)))) ? 0 : 1;
