// SPDX-License-Identifier: Apache-2.0
// node types.mjs: writes src/api/openapi.ts, the types of api/openapi.yaml's schemas and its calls. A test holds the file against the
// description, so an answer that changes its shape breaks the build of the page and not the page.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";

const here = dirname(fileURLToPath(import.meta.url));
const key = (k) => (/^[A-Za-z_]\w*$/.test(k) ? k : JSON.stringify(k));

function type(s, indent = "") {
  if (!s || typeof s !== "object") return "unknown";
  if (s.$ref) return s.$ref.split("/").pop();
  if (s.enum) return s.enum.map((v) => JSON.stringify(v)).join(" | ");
  if (s.const !== undefined) return JSON.stringify(s.const);
  for (const [word, sign] of [["oneOf", " | "], ["anyOf", " | "], ["allOf", " & "]]) if (s[word]) return s[word].map((x) => type(x, indent)).join(sign);
  const kinds = [s.type].flat().filter(Boolean);
  if (!kinds.length && s.properties) kinds.push("object");
  const one = (k) => {
    switch (k) {
      case "string": return "string";
      case "integer":
      case "number": return "number";
      case "boolean": return "boolean";
      case "null": return "null";
      case "array": {
        const of = type(s.items, indent);
        return / [|&] /.test(of) ? `(${of})[]` : `${of}[]`;
      }
      case "object": {
        const inside = Object.entries(s.properties ?? {}).map(([k, v]) => `${indent}  ${key(k)}${(s.required ?? []).includes(k) ? "" : "?"}: ${type(v, `${indent}  `)};`);
        if (inside.length) return `{\n${inside.join("\n")}\n${indent}}`;
        return `Record<string, ${typeof s.additionalProperties === "object" ? type(s.additionalProperties, indent) : "unknown"}>`;
      }
    }
    return "unknown";
  };
  return kinds.length ? kinds.map(one).join(" | ") : "unknown";
}

export function generate(text) {
  const api = parse(text);
  const out = ["/* SPDX-License-Identifier: Apache-2.0 */", "/* Made by types.mjs from api/openapi.yaml; not edited by hand. */"];
  for (const [name, schema] of Object.entries(api.components?.schemas ?? {})) out.push(`export type ${name} = ${type(schema)};`);
  const calls = Object.entries(api.paths).flatMap(([path, item]) => Object.keys(item).filter((m) => /^(get|post|put|patch|delete)$/.test(m)).map((m) => `${m.toUpperCase()} ${path}`));
  out.push(`export type Call =\n${calls.map((c) => `  | ${JSON.stringify(c)}`).join("\n")};`);
  return `${out.join("\n\n")}\n`;
}

const target = join(here, "src/api/openapi.ts");
if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(target, generate(readFileSync(join(here, "../api/openapi.yaml"), "utf8")));
