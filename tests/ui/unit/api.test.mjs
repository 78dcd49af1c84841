// SPDX-License-Identifier: Apache-2.0
// The page and the API's description agree: types are fresh, every call exists with its parameters, every field of a container is shown.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { REPO, require } from "./load.mjs";

const yaml = readFileSync(join(REPO, "api/openapi.yaml"), "utf8");
const api = require("yaml").parse(yaml);
const sources = readdirSync(join(REPO, "ui/src"), { recursive: true, withFileTypes: true }).filter((e) => e.isFile() && /\.tsx?$/.test(e.name))
  .map((e) => readFileSync(join(e.parentPath ?? e.path, e.name), "utf8"));

test("the types are those of the description; node types.mjs makes them anew", async () => {
  const { generate } = await import(pathToFileURL(join(REPO, "ui/types.mjs")));
  assert.equal(readFileSync(join(REPO, "ui/src/api/openapi.ts"), "utf8"), generate(yaml));
});

test("every call that the page makes is described", () => {
  const described = Object.entries(api.paths).flatMap(([path, item]) => Object.keys(item).map((m) => `${m.toUpperCase()} ${path.replace(/\{\w+\}/g, "{}")}`));
  const made = new Set();
  for (const text of sources) {
    for (const m of text.matchAll(/\b(get|post)(?:<[^>(]*(?:\{[^}]*\}[^>(]*)?>)?\(\s*(["`])(\/[^"`]*)\2/g)) made.add(`${m[1].toUpperCase()} ${m[3]}`);
    for (const m of text.matchAll(/\bcall(?:<[^>(]*>)?\(\s*"([A-Z]+)",\s*(["`])(\/[^"`]*)\2/g)) made.add(`${m[1]} ${m[3]}`);
    for (const m of text.matchAll(/\baddress\(\s*"(\/[^"]*)"/g)) made.add(`GET ${m[1]}`);
  }
  assert.ok(made.size >= 14, [...made].join("\n"));
  for (const m of made) {
    const [method, path] = m.split(" ");
    assert.ok(described.includes(`${method} /api/v1${path.replace(/\$\{[^}]*\}/g, "{}")}`), m);
  }
});

test("every field of a container has its place in the drawer", () => {
  const drawer = readFileSync(join(REPO, "ui/src/features/containers/drawer.tsx"), "utf8");
  const shown = new Set([...drawer.slice(drawer.indexOf("SHOWN = "), drawer.indexOf("]);", drawer.indexOf("SHOWN = "))).matchAll(/"(\w+)"/g)].map((m) => m[1]));
  for (const field of Object.keys(api.components.schemas.Container.properties)) assert.ok(shown.has(field), field);
});
