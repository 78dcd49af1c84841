/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the theme that runs before anything is drawn; it must stay small. */
export type Theme = "system" | "dark" | "light";
export const KEY = "bulkhead-theme";

export function stored(): Theme {
  try {
    const t = localStorage.getItem(KEY);
    return t === "dark" || t === "light" ? t : "system";
  } catch {
    return "system";
  }
}

export function applyTheme(t: Theme): void {
  const light = t === "light" || (t === "system" && matchMedia("(prefers-color-scheme: light)").matches);
  document.documentElement.dataset.theme = light ? "light" : "dark";
}
