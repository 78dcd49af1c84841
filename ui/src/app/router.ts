/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses. Everything that a person would want to send to a colleague is in the part behind '#': page, search, facets, the
 * open container. Behind '#' because the server then needs to know one page only.
 */
import { signal } from "@preact/signals";

export interface Route { path: string; params: URLSearchParams }

export function parse(hash: string): Route {
  const text = hash.replace(/^#/, "") || "/";
  const q = text.indexOf("?");
  let path = q < 0 ? text : text.slice(0, q);
  if (!path.startsWith("/")) path = "/" + path;
  return { path, params: new URLSearchParams(q < 0 ? "" : text.slice(q + 1)) };
}

export function href(path: string, params?: Record<string, string | string[] | undefined>): string {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(params ?? {}))
    for (const one of Array.isArray(v) ? v : [v]) if (one) q.append(k, one);
  const text = q.toString();
  return `#${path}${text ? `?${text}` : ""}`;
}

export const route = signal<Route>(parse(typeof location === "undefined" ? "" : location.hash));

export function go(to: string, replace = false): void {
  const hash = to.startsWith("#") ? to : `#${to}`;
  if (hash === location.hash) return;
  if (replace) {
    history.replaceState(null, "", hash);
    route.value = parse(hash);
  } else {
    location.hash = hash;
  }
}

/* Changes some parameters of the present address: undefined or empty takes one away. */
export function patch(changes: Record<string, string | string[] | undefined>, replace = true): void {
  const params: Record<string, string | string[] | undefined> = {};
  for (const k of new Set(route.value.params.keys())) params[k] = route.value.params.getAll(k);
  Object.assign(params, changes);
  go(href(route.value.path, params), replace);
}

export function startRouter(): void {
  addEventListener("hashchange", () => (route.value = parse(location.hash)));
}
