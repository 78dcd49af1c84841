/* SPDX-License-Identifier: Apache-2.0 */
/* The theme that a person chose, else the system's. boot.ts sets it before the first paint. */
import { signal } from "@preact/signals";
import { applyTheme, KEY, stored, type Theme } from "./theme-apply";
export const theme = signal<Theme>(stored());

export function setTheme(t: Theme): void {
  theme.value = t;
  try {
    if (t === "system") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, t);
  } catch {
    /* private mode: it holds for this page */
  }
  applyTheme(theme.value);
}


export function startTheme(): void {
  applyTheme(theme.value);
  matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => applyTheme(theme.value));
  addEventListener("storage", (e) => {
    if (e.key !== KEY) return;
    theme.value = stored();
    applyTheme(theme.value);
  });
}

export type { Theme };
