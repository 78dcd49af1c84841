/* SPDX-License-Identifier: Apache-2.0 */
/* Texts that were changed and not saved stay while the tab does, also when somebody looks at another page meanwhile. */
import { useEffect, useState } from "preact/hooks";

const drafts = new Map<string, string>();
let guarded = false;

export function useDraft(key: string): [draft: string | undefined, set: (text: string | undefined) => void] {
  const [, redraw] = useState(0);
  useEffect(() => {
    if (guarded) return;
    guarded = true;
    addEventListener("beforeunload", (e) => { if (drafts.size) e.preventDefault(); });
  }, []);
  return [drafts.get(key), (text) => {
    if (text === undefined) drafts.delete(key);
    else drafts.set(key, text);
    redraw((n) => n + 1);
  }];
}
