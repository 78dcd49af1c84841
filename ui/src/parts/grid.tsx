/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A long table of equal rows of which only the seen ones exist. The grid is the one tab stop; the arrow keys, Page Up and Down,
 * Home and End move the active row, Enter opens it. Screen readers get the row's number and the true number of rows.
 */
import type { ComponentChildren, RefObject } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { reveal, span, step } from "../lib/virtual";

export interface GridProps {
  id: string;
  label: string;
  class: string;
  total: number;
  rowHeight: number;
  columns: number;
  head: ComponentChildren; /* role="row" with its column headers */
  row: (index: number) => { key: string | number; class?: string; cells: ComponentChildren };
  active: number;
  onActive: (index: number) => void;
  onOpen: (index: number) => void;
  selected?: number;
  onTop?: (atTop: boolean) => void;
  scroller?: RefObject<HTMLDivElement | null>;
  footer?: ComponentChildren;
}

export function Grid(p: GridProps) {
  const own = useRef<HTMLDivElement>(null);
  const box = p.scroller ?? own;
  const head = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 800 });
  const frame = useRef(0);

  const measure = () => {
    frame.current = 0;
    const el = box.current;
    if (!el) return;
    const height = el.clientHeight - (head.current?.offsetHeight ?? 0);
    setView((v) => (v.top === el.scrollTop && v.height === height ? v : { top: el.scrollTop, height }));
    p.onTop?.(el.scrollTop < 4);
  };
  const ask = () => (frame.current ||= requestAnimationFrame(measure));

  useLayoutEffect(() => {
    const watcher = new ResizeObserver(ask);
    watcher.observe(box.current!);
    measure();
    return () => {
      watcher.disconnect();
      cancelAnimationFrame(frame.current);
      frame.current = 0;
    };
  }, []);
  useEffect(() => void ask(), [p.total, p.rowHeight]);

  const move = (e: KeyboardEvent) => {
    if (e.target !== box.current) return;
    if (e.key === "Enter" || (e.key === " " && p.active >= 0)) {
      if (p.active >= 0) {
        e.preventDefault();
        p.onOpen(p.active);
      }
      return;
    }
    const to = step(e.key, p.active, p.total, Math.max(1, Math.floor(view.height / p.rowHeight) - 1));
    if (to < 0) return;
    e.preventDefault();
    p.onActive(to);
    const el = box.current!;
    el.scrollTop = reveal(to, el.scrollTop, view.height, p.rowHeight);
  };

  const { start, end } = span(view.top, view.height, p.rowHeight, p.total);
  const rows = [];
  for (let i = start; i < end; i++) {
    const { key, class: c, cells } = p.row(i);
    rows.push(
      <div key={key} id={`${p.id}-${i}`} role="row" aria-rowindex={i + 2} aria-selected={i === p.selected}
        class={`row ${c ?? ""} ${i === p.active ? "active" : ""} ${i === p.selected ? "selected" : ""} ${i % 2 ? "odd" : ""}`}
        style={{ transform: `translateY(${i * p.rowHeight}px)`, height: `${p.rowHeight}px` }}
        onClick={() => { p.onActive(i); p.onOpen(i); }}>
        {cells}
      </div>);
  }
  return (
    <div ref={box} class={`grid ${p.class}`} role="grid" tabIndex={0} aria-label={p.label} aria-rowcount={p.total + 1} aria-colcount={p.columns}
      aria-activedescendant={p.active >= start && p.active < end ? `${p.id}-${p.active}` : undefined} onScroll={ask} onKeyDown={move}>
      <div ref={head} role="rowgroup" class="grid-head">{p.head}</div>
      <div role="rowgroup" class="grid-body" style={{ height: `${p.total * p.rowHeight}px` }}>{rows}</div>
      {p.footer}
    </div>
  );
}
