/* SPDX-License-Identifier: Apache-2.0 */
import { signal } from "@preact/signals";

const query = matchMedia("(max-width: 720px)");
const narrow = signal(query.matches);
query.addEventListener("change", () => (narrow.value = query.matches));

/* TRUE on a phone's width, where tables become two-line rows. */
export function useNarrow(): boolean {
  return narrow.value;
}
