/* SPDX-License-Identifier: Apache-2.0 */
/* A text with numbered lines, its problems marked where they are and listed below. The text area is the browser's own: undo, search and screen readers work as anywhere. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { Problem } from "../lib/rules";
import { offsetOf } from "../lib/rules";
import { Icon } from "./icons";
import { T } from "./ui";

const LINE = 19; /* px, as in the style */

export function Editor({ label, value, onInput, problems, readOnly, onCheck, onSave }: { label: string; value: string; onInput: (v: string) => void; problems: Problem[]; readOnly?: boolean; onCheck?: () => void; onSave?: () => void }) {
  const area = useRef<HTMLTextAreaElement>(null);
  const [top, setTop] = useState(0);
  const lines = value.split("\n").length;
  const marks = new Map<number, Problem>();
  for (const p of problems) if (p.line && (!marks.has(p.line) || p.severity === "error")) marks.set(p.line, p);
  const goTo = (p: Problem) => {
    const el = area.current;
    if (!el || !p.line) return;
    const at = offsetOf(value, p.line, p.column || 1);
    el.focus();
    el.setSelectionRange(at, at);
    el.scrollTop = Math.max(0, (p.line - 4) * LINE);
  };
  /* After a check the first error is in sight. */
  const first = problems.find((p) => p.severity === "error" && p.line);
  useEffect(() => {
    const el = area.current;
    if (!el || !first) return;
    const y = (first.line - 1) * LINE;
    if (y < el.scrollTop || y > el.scrollTop + el.clientHeight - 2 * LINE) el.scrollTop = Math.max(0, y - 3 * LINE);
  }, [problems]);
  const from = Math.max(0, Math.floor(top / LINE) - 2);
  const numbers = Array.from({ length: Math.min(lines - from, 120) }, (_, i) => from + i + 1);
  return (
    <div class="editor">
      <div class="editor-box" style={{ height: `${Math.max(14, Math.min(lines + 3, 40)) * LINE + 16}px` }}>
        <div class="editor-gutter" aria-hidden="true"><div style={{ transform: `translateY(${from * LINE - top}px)` }}>
          {numbers.map((n) => <span key={n} class={marks.has(n) ? `mark ${marks.get(n)!.severity}` : ""}>{n}</span>)}
        </div></div>
        <div class="editor-text">
          <div class="editor-marks" aria-hidden="true">{[...marks].filter(([n]) => n > from && n <= from + 120).map(([n, p]) => <i key={n} class={p.severity} style={{ top: `${8 + (n - 1) * LINE - top}px` }} />)}</div>
          <textarea ref={area} aria-label={label} wrap="off" spellcheck={false} autocomplete="off" autocapitalize="none" readOnly={readOnly} value={value} aria-invalid={first ? true : undefined} aria-describedby={problems.length ? "editor-problems" : undefined}
            onInput={(e) => onInput(e.currentTarget.value)} onScroll={(e) => setTop(e.currentTarget.scrollTop)}
            onKeyDown={(e) => {
              if (!e.ctrlKey && !e.metaKey) return;
              if (e.key === "Enter" && onCheck) { e.preventDefault(); onCheck(); }
              if (e.key.toLowerCase() === "s" && onSave) { e.preventDefault(); onSave(); }
            }} />
        </div>
      </div>
      {problems.length > 0 && (
        <ul id="editor-problems" class="editor-problems" aria-label="Problems">
          {problems.slice(0, 100).map((p, n) => (
            <li key={n} class={p.severity}><Icon name={p.severity === "error" ? "bad" : "warn"} size={14} />
              {p.line ? <button type="button" class="link mono" onClick={() => goTo(p)}>line {p.line}, column {p.column}</button> : <span class="dim">{p.file ? <T s={p.file} max={80} /> : "file"}</span>}
              <span class="wrap"><strong class="sr">{p.severity}: </strong><T s={p.what} max={600} />{p.object && <span class="faint"> <T s={p.object} max={120} /></span>}</span></li>))}
        </ul>
      )}
    </div>
  );
}
