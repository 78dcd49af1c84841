// SPDX-License-Identifier: Apache-2.0
// Imports a module of ui/src in Node: bundled by the same esbuild that builds the page, in memory.
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const REPO = resolve(fileURLToPath(import.meta.url), "../../../..");
export const require = createRequire(join(REPO, "ui/package.json"));

export async function load(path) {
  const { build } = require("esbuild");
  const out = await build({ entryPoints: [join(REPO, "ui/src", path)], bundle: true, write: false, format: "esm", target: "es2022", jsx: "automatic", jsxImportSource: "preact", absWorkingDir: join(REPO, "ui"), logLevel: "silent" });
  return import(`data:text/javascript;base64,${Buffer.from(out.outputFiles[0].contents).toString("base64")}`);
}
