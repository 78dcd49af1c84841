/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text that an attacker may have written (names, labels, arguments, paths), made fit for eyes. It reaches the page through
 * text nodes alone, so markup in it is inert; what is left are characters that hide or reorder what stands around them.
 * visible() writes those out. Nothing here ever returns markup.
 */

/* Controls, bidirectional overrides and isolates, zero-width and other invisible characters, line separators, tags, BOM. */
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]|\udb40[\udc00-\udc7f]/g;
/* More than three combining marks on one letter only serve to scribble over the neighbours. */
const STACKED = /(\p{M}{3})\p{M}+/gu;

export const MAX_SHOWN = 4096;

export function visible(text: string, max = MAX_SHOWN): string {
  const cut = text.length > max;
  const shown = (cut ? text.slice(0, max) : text)
    .replace(HIDDEN, (c) => {
      if (c === "\n") return "⏎";
      if (c === "\t") return "⇥";
      return "‹" + (c.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0") + "›";
    })
    .replace(STACKED, "$1");
  return cut ? shown + "…" : shown;
}

/* Twelve characters are what people use of a container's id. */
export function shortId(id: string): string {
  return /^[0-9a-f]{40,}$/.test(id) ? id.slice(0, 12) : id;
}

/* "registry.example/team/app:1.2@sha256:…" → without the digest and the registry; for a table's column. */
export function shortImage(image: string): string {
  const at = image.indexOf("@");
  const named = at > 0 ? image.slice(0, at) : image;
  if (/^sha256:[0-9a-f]{64}$/.test(named)) return named.slice(0, 19);
  const slash = named.indexOf("/");
  if (slash > 0 && /[.:]/.test(named.slice(0, slash))) return named.slice(slash + 1);
  return named;
}

/* The image without its tag: what a facet groups by. */
export function repository(image: string): string {
  const short = shortImage(image);
  const colon = short.lastIndexOf(":");
  return colon > short.lastIndexOf("/") && !short.startsWith("sha256:") ? short.slice(0, colon) : short;
}

export function plural(n: number, one: string, many = one + "s"): string {
  return n === 1 ? one : many;
}
