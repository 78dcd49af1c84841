/* SPDX-License-Identifier: Apache-2.0 */
/* The panel at the right: not modal, so that the list beside it can be walked with the drawer open. Escape closes it. */
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { useNarrow } from "./media";
import { Button } from "./ui";

export function Drawer({ label, head, children, onClose, focusKey }: { label: string; head: ComponentChildren; children: ComponentChildren; onClose: () => void; focusKey: string }) {
  const box = useRef<HTMLDivElement>(null);
  const narrow = useNarrow();
  useLayoutEffect(() => {
    const key = (e: KeyboardEvent) => {
      if (e.key !== "Escape" || e.defaultPrevented || document.querySelector("dialog[open], .menu-panel, .search-panel")) return;
      e.preventDefault();
      onClose();
    };
    document.addEventListener("keydown", key);
    return () => document.removeEventListener("keydown", key);
  }, [onClose]);
  useEffect(() => {
    box.current?.querySelector(".drawer-body")?.scrollTo({ top: 0 });
    /* On a phone the drawer covers the list: the focus must follow. Beside the list it stays where the person walks. */
    if (narrow) box.current?.focus({ preventScroll: true });
  }, [focusKey, narrow]);
  return (
    <div ref={box} class="drawer" role={narrow ? "dialog" : "complementary"} aria-label={label} tabIndex={-1}>
      <header class="drawer-head">
        <div class="drawer-title">{head}</div>
        <Button kind="quiet" glyph={narrow ? "back" : "close"} aria-label="Close" onClick={onClose} />
      </header>
      <div class="drawer-body" tabIndex={0} role="group" aria-label={`${label}, details`}>{children}</div>
    </div>
  );
}
