/* SPDX-License-Identifier: Apache-2.0 */
/* The theme that a person chose, else the system's. boot.ts sets it before the first paint. */
import { signal } from "@preact/signals";

export type Theme = "system" | "dark" | "light";
const KEY = "bulkhead-theme";

function stored(): Theme {
  try {
    const t = localStorage.getItem(KEY);
    return t === "dark" || t === "light" ? t : "system";
  } catch {
    return "system";
  }
}

export const theme = signal<Theme>(stored());

export function setTheme(t: Theme): void {
  theme.value = t;
  try {
    if (t === "system") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, t);
  } catch {
    /* private mode: it holds for this page */
  }
  applyTheme();
}

export function applyTheme(): void {
  const light = theme.value === "light" || (theme.value === "system" && matchMedia("(prefers-color-scheme: light)").matches);
  document.documentElement.dataset.theme = light ? "light" : "dark";
}

export function startTheme(): void {
  applyTheme();
  matchMedia("(prefers-color-scheme: light)").addEventListener("change", applyTheme);
  addEventListener("storage", (e) => {
    if (e.key !== KEY) return;
    theme.value = stored();
    applyTheme();
  });
}
