// Runs test files and says what came of it: each failure in full, and one line that counts.

import { basename } from "node:path";
import { run } from "node:test";

/** True when all passed and there was at least one test. */
export async function report(files) {
  const own = new Set(files.map((f) => basename(f)));
  let passed = 0;
  let failed = 0;
  const stream = run({ files, concurrency: 1 });
  // A file is reported as a test by some versions of node: it is not counted, but its failure to load is.
  const isFile = (data) => own.has(basename(data.name)) || data.details?.type === "suite";
  stream.on("test:pass", (data) => {
    if (isFile(data)) return;
    if (data.skip !== undefined || data.todo !== undefined) {
      failed += 1;
      console.log(`LEFT OUT: ${data.name}`);
      return;
    }
    passed += 1;
    console.log(`ok ${data.name}`);
  });
  let broken = 0;
  stream.on("test:fail", (data) => {
    const error = data.details?.error;
    if (isFile(data)) {
      if (error?.failureType !== "subtestsFailed") broken += 1;
      else return;
    } else failed += 1;
    console.log(`FAILED ${data.name}\n${error?.cause?.stack ?? error?.stack ?? error}`);
  });
  stream.on("test:stderr", (data) => process.stderr.write(data.message));
  for await (const _ of stream);
  failed += failed === 0 ? broken : 0;
  if (passed + failed === 0) failed = 1;
  console.log(`test result: ${failed === 0 ? "ok" : "FAILED"}. ${passed} passed; ${failed} failed; 0 ignored`);
  return failed === 0;
}
