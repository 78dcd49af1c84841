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
/* The page's own script and, fetched when they are needed, those of pages and what these share. What a script imports gets its name first, as that is part of its bytes. */
const split = await build({
  ...options, entryPoints: { main: join(here, "src/main.tsx") }, define: { __WORKER__: JSON.stringify(`/${worker}`) }, splitting: true, metafile: true,
  outdir: join(here, "assets"), chunkNames: "[name]-[hash]",
});
const parts = new Map(Object.entries(split.metafile.outputs).map(([path, o]) => [basename(path), { needs: o.imports.filter((i) => !i.external).map((i) => ({ name: basename(i.path), lazy: i.kind === "dynamic-import" })), entry: o.entryPoint }]));
function settle(name) {
  const part = parts.get(name);
  if (part.path) return part.path;
  let text = split.outputFiles.find((f) => basename(f.path) === name).text;
  for (const n of part.needs) text = text.replaceAll(`"./${n.name}"`, `"./${basename(settle(n.name))}"`);
  return (part.path = keep(name.replace(/-[^-]*$|\.js$/, ""), "js", Buffer.from(text)));
}
const main = settle("main.js");
/* What one script brings along at once. */
const along = (name, seen = new Set()) => {
  if (seen.has(name)) return seen;
  seen.add(name);
  for (const n of parts.get(name).needs) if (!n.lazy) along(n.name, seen);
  return seen;
};
const scriptsOf = (name) => [...along(name)].map((n) => parts.get(n).path);
const style = keep("style", "css", await bundle("src/styles/index.css"));
const icon = keep("icon", "svg", readFileSync(join(here, "src/icon.svg")));

const page = readFileSync(join(here, "src/index.html"), "utf8")
  .replace("%BOOT%", boot).replace("%MAIN%", main).replace("%STYLE%", style).replace("%ICON%", icon)
  /* all that the first script needs at once, not one after the other */
  .replace("%PRELOAD%", scriptsOf("main.js").slice(1).map((path) => `<link rel="modulepreload" href="/${path}">`).join("\n"));
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
const gzipped = (paths) => sizes.filter((s) => paths.has(s.path)).reduce((n, s) => n + s.gzip.length, 0);
const first = new Set([worker, boot, ...scriptsOf("main.js")]);
/* The budget is of what any page makes a browser fetch. */
const js = Math.max(gzipped(first), ...[...parts.keys()].map((name) => gzipped(new Set([...first, ...scriptsOf(name)]))));
if (js > JS_BUDGET) throw new Error(`scripts of a page are ${js} bytes gzipped, over the budget of ${JS_BUDGET}`);

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
console.log(`scripts ${gzipped(first)} bytes gzip at the start, ${js} with the largest page, of ${JS_BUDGET}; all ${sizes.filter((s) => s.path.endsWith(".js")).reduce((n, s) => n + s.gzip.length, 0)}`);
