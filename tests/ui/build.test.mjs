// SPDX-License-Identifier: Apache-2.0
// What the build makes: names with hashes, compressed twins, nothing inline, nothing of another host, within the budget.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { files } from "./env.mjs";
import { REPO } from "./unit/load.mjs";

const dir = mkdtempSync(join(process.env.BH_TEST_DIR ?? tmpdir(), "bh-ui-build-"));
after(() => rmSync(dir, { recursive: true, force: true }));
const make = (name) => {
  execFileSync(process.execPath, [join(REPO, "ui/build.mjs"), join(dir, name)], { stdio: "pipe" });
  return files(join(dir, name)).sort();
};
const made = make("a");
const bytes = (f) => readFileSync(join(dir, "a", f));

test("two builds are the same to the byte", () => {
  assert.deepEqual(make("b"), made);
  for (const f of made) assert.deepEqual(readFileSync(join(dir, "b", f)), bytes(f), f);
});

test("every file has its compressed twin, and all but the page and the licences carry a hash", () => {
  for (const f of made.filter((x) => !x.endsWith(".gz"))) {
    assert.deepEqual(gunzipSync(bytes(`${f}.gz`)), bytes(f));
    assert.match(f, /^(index\.html|licenses\.txt|assets\/[a-z]+-[0-9a-f]{10}\.(js|css|svg))$/);
  }
});

test("the page holds nothing inline and names only files that exist", () => {
  const page = String(bytes("index.html"));
  assert.doesNotMatch(page, /<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:|http:|https:/i);
  for (const [, path] of page.matchAll(/(?:src|href)="\/([^"]+)"/g)) assert.ok(made.includes(path), path);
});

test("scripts are within 120 KB compressed and hold no address, eval or markup from text", () => {
  const scripts = made.filter((f) => f.endsWith(".js"));
  const size = (set) => [...set].reduce((n, f) => n + bytes(`${f}.gz`).length, 0);
  /* What a script brings along at once; what it fetches later begins with import(. */
  const along = (f, seen = new Set()) => {
    if (seen.has(f)) return seen;
    seen.add(f);
    for (const [, name] of String(bytes(f)).matchAll(/(?<!import\()"\.\/([a-z]+-[0-9a-f]{10}\.js)"/g)) along(`assets/${name}`, seen);
    return seen;
  };
  const page = String(bytes("index.html"));
  const first = new Set([...page.matchAll(/(?:src|href)="\/(assets\/[^"]+\.js)"/g)].flatMap(([, f]) => [...along(f)]).concat(scripts.filter((f) => /\/stream-/.test(f))));
  assert.ok(first.size > 3);
  assert.ok(size(first) <= 90 * 1024, `the first view fetches ${size(first)} bytes`);
  for (const f of scripts) assert.ok(size(new Set([...first, ...along(f)])) <= 120 * 1024, f);
  assert.deepEqual([...page.matchAll(/modulepreload" href="\/([^"]+)"/g)].map(([, f]) => f).concat([page.match(/module" src="\/([^"]+)"/)[1]]).sort(), [...along(page.match(/module" src="\/([^"]+)"/)[1])].sort(), "all that the first view needs is asked for at once");
  for (const f of scripts) {
    const text = String(bytes(f));
    assert.doesNotMatch(text.replaceAll("http://www.w3.org/", ""), /https?:\/\/[a-z]/i, f);
    assert.doesNotMatch(text, /\beval\(|new Function\(|document\.write|insertAdjacentHTML|sourceMappingURL/, f);
  }
});

test("our own sources never make markup from text", () => {
  for (const f of files(join(REPO, "ui/src")).filter((x) => /\.tsx?$/.test(x)))
    assert.doesNotMatch(readFileSync(join(REPO, "ui/src", f), "utf8"), /innerHTML|outerHTML|dangerouslySetInnerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment/, f);
});

test("styles ask for nothing from elsewhere", () => {
  for (const f of made.filter((x) => x.endsWith(".css"))) assert.doesNotMatch(String(bytes(f)), /url\(|@import/);
});

test("the lock file names no registry", () => {
  assert.doesNotMatch(readFileSync(join(REPO, "ui/package-lock.json"), "utf8"), /"resolved"/);
});
