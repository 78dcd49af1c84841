// SPDX-License-Identifier: Apache-2.0
// node build.mjs OUTDIR: the web interface as static files: index.html and assets/NAME-HASH.EXT, each also as .gz. The page has
// no inline script or style and asks for nothing outside its own host, so that it runs under "default-src 'self'".
// --watch is left out on purpose: a build takes a fraction of a second.
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = resolve(process.argv[2] ?? join(here, "dist"));
const JS_BUDGET = 120 * 1024; // bytes of gzip, all scripts of the page together
const files = new Map(); // path below the output → bytes

const options = {
  bundle: true, minify: true, write: false, target: ["es2022", "chrome105", "firefox110", "safari16"], format: "esm", legalComments: "none",
  jsx: "automatic", jsxImportSource: "preact", logLevel: "warning", absWorkingDir: here, charset: "utf8",
};

function keep(name, ext, bytes) {
  const hash = createHash("sha256").update(bytes).digest("hex").slice(0, 10);
  const path = `assets/${name}-${hash}.${ext}`;
  files.set(path, Buffer.from(bytes));
  return path;
}

async function bundle(entry, extra = {}) {
  const result = await build({ ...options, ...extra, entryPoints: [join(here, entry)] });
  return result.outputFiles[0].contents;
}

const worker = keep("stream", "js", await bundle("src/live/worker.ts", { format: "iife" }));
const boot = keep("boot", "js", await bundle("src/boot.ts", { format: "iife" }));
const main = keep("main", "js", await bundle("src/main.tsx", { define: { __WORKER__: JSON.stringify(`/${worker}`) } }));
const style = keep("style", "css", await bundle("src/styles/index.css"));
const icon = keep("icon", "svg", readFileSync(join(here, "src/icon.svg")));

const page = readFileSync(join(here, "src/index.html"), "utf8")
  .replace("%BOOT%", boot).replace("%MAIN%", main).replace("%STYLE%", style).replace("%ICON%", icon);
if (/%[A-Z]+%/.test(page) || /<script(?![^>]*\ssrc=)|<style|\son\w+=|\sstyle=/i.test(page)) throw new Error("index.html has an unfilled place or something inline");
files.set("index.html", Buffer.from(page));

// What is bundled is ours or under licences that ask for their text to go along.
const notices = ["preact", "@preact/signals", "@preact/signals-core"].map((name) => {
  const dir = join(here, "node_modules", name);
  const { version, license } = JSON.parse(readFileSync(join(dir, "package.json"), "utf8"));
  const file = ["LICENSE", "LICENSE.md", "LICENSE.txt"].map((f) => join(dir, f)).find(existsSync);
  return `${name} ${version} (${license})\n\n${file ? readFileSync(file, "utf8").trim() : ""}\n`;
});
files.set("licenses.txt", Buffer.from(notices.join("\n----\n\n")));

const sizes = [...files].map(([path, bytes]) => ({ path, bytes: bytes.length, gzip: gzipSync(bytes, { level: 9 }) }));
const js = sizes.filter((s) => s.path.endsWith(".js")).reduce((n, s) => n + s.gzip.length, 0);
if (js > JS_BUDGET) throw new Error(`scripts are ${js} bytes gzipped, over the budget of ${JS_BUDGET}`);

// Written beside and swapped in: a central that serves the directory never sees half of it.
const fresh = join(dirname(out), `.${basename(out)}.new`);
rmSync(fresh, { recursive: true, force: true });
for (const { path, gzip } of sizes) {
  mkdirSync(dirname(join(fresh, path)), { recursive: true });
  writeFileSync(join(fresh, path), files.get(path));
  writeFileSync(join(fresh, `${path}.gz`), gzip);
}
rmSync(out, { recursive: true, force: true });
try {
  renameSync(fresh, out);
} catch {
  cpSync(fresh, out, { recursive: true });
  rmSync(fresh, { recursive: true, force: true });
}
for (const s of sizes) console.log(`${String(s.bytes).padStart(8)} ${String(s.gzip.length).padStart(7)} gzip  ${s.path}`);
console.log(`scripts ${js} bytes gzip of ${JS_BUDGET}`);
