/* SPDX-License-Identifier: Apache-2.0 */
/* Small parts that every page uses. */
import type { ButtonHTMLAttributes, ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { date } from "../lib/format";
import { visible } from "../lib/text";
import { Icon } from "./icons";

/* Text that may be an attacker's. Isolated, so that its direction cannot reorder what stands around it. */
export function T({ s, max, class: c, title }: { s: string | undefined; max?: number; class?: string; title?: boolean }) {
  const text = visible(s ?? "", max);
  return <bdi class={c} title={title ? text : undefined}>{text}</bdi>;
}

/* A moment in the local time, with that of UTC behind it. */
export function Time({ ms }: { ms: number }) {
  return Number.isFinite(ms) ? <time title={new Date(ms).toISOString()}>{date(ms)}</time> : <span class="none">–</span>;
}

type ButtonProps = Partial<ButtonHTMLAttributes<HTMLButtonElement>> & { kind?: "plain" | "primary" | "quiet" | "danger"; glyph?: string; busy?: boolean; class?: string };

export function Button({ kind = "plain", glyph, busy, children, class: c, disabled, ...rest }: ButtonProps) {
  return (
    <button type="button" {...rest} disabled={disabled || busy} aria-busy={busy || undefined} class={`button ${kind} ${c ?? ""}`}>
      {glyph && <Icon name={glyph} />}
      {children}
    </button>
  );
}

export function Empty({ icon = "note", title, children }: { icon?: string; title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <Icon name={icon} size={28} />
      <h2>{title}</h2>
      {children && <div class="empty-text">{children}</div>}
    </div>
  );
}

export function Skeleton({ rows = 6, label = "Loading" }: { rows?: number; label?: string }) {
  return (
    <div class="skeleton" role="status">
      <span class="sr">{label}</span>
      {Array.from({ length: rows }, (_, i) => <span key={i} class={`bone b${i % 4}`} aria-hidden="true" />)}
    </div>
  );
}

export function Notice({ level, children, action }: { level: "bad" | "warn" | "note" | "good"; children: ComponentChildren; action?: ComponentChildren }) {
  return (
    <div class={`notice ${level}`} role={level === "bad" ? "alert" : "status"}>
      <Icon name={level} />
      <div>{children}</div>
      {action}
    </div>
  );
}

export function Copy({ text, label = "Copy" }: { text: string; label?: string }) {
  const [done, setDone] = useState(false);
  useEffect(() => {
    if (!done) return;
    const t = setTimeout(() => setDone(false), 1500);
    return () => clearTimeout(t);
  }, [done]);
  return (
    <button type="button" class="button quiet small" aria-label={done ? "Copied" : label} title={label}
      onClick={() => void navigator.clipboard?.writeText(text).then(() => setDone(true), () => undefined)}>
      <Icon name={done ? "check" : "copy"} size={14} />
    </button>
  );
}

/* Bars of a short series; the text beside it says the number, so it is decoration to a screen reader. */
export function Spark({ values: given, height = 28, width = 120, marks, slots = 0 }: { values: number[]; height?: number; width?: number; marks?: number[]; slots?: number }) {
  const values = given.length < slots ? [...Array<number>(slots - given.length).fill(0), ...given] : given.slice(-slots || undefined);
  const top = Math.max(1, ...values);
  const w = width / Math.max(values.length, 1);
  return (
    <svg class="spark" width={width} height={height} viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" aria-hidden="true" focusable="false">
      {values.map((v, i) => {
        const h = v ? Math.max(1.5, (v / top) * (height - 2)) : 1;
        return <rect key={i} class={v ? "bar" : "bar none"} x={i * w + w * 0.14} width={w * 0.72} y={height - h} height={h} rx={Math.min(1, w * 0.3)} />;
      })}
      {marks?.map((m, i) => (m ? <circle key={`m${i}`} class="mark" cx={i * w + w / 2} cy={3} r={2.4} /> : null))}
    </svg>
  );
}

export function Meter({ part, of, label, warnAt = 0.8 }: { part: number; of: number; label: string; warnAt?: number }) {
  const share = of ? Math.min(1, part / of) : 0;
  return (
    <span class={`meter ${share >= warnAt ? "high" : ""}`} role="img" aria-label={label}>
      <span class="meter-fill" style={{ width: `${share * 100}%` }} />
    </span>
  );
}

/* A menu button: opens below, closes with Escape, a click elsewhere, or when focus leaves. */
export function Menu({ label, button, children, align = "right" }: { label?: string; button: ComponentChildren; children: (close: () => void) => ComponentChildren; align?: "left" | "right" }) {
  const [open, setOpen] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  const close = () => {
    setOpen(false);
    box.current?.querySelector<HTMLElement>("button")?.focus();
  };
  useEffect(() => {
    if (!open) return;
    const away = (e: Event) => {
      if (!box.current?.contains(e.target as Node)) setOpen(false);
    };
    document.addEventListener("pointerdown", away);
    document.addEventListener("focusin", away);
    return () => {
      document.removeEventListener("pointerdown", away);
      document.removeEventListener("focusin", away);
    };
  }, [open]);
  return (
    <div class="menu" ref={box} onKeyDown={(e) => {
      if (e.key === "Escape" && open) {
        e.stopPropagation();
        close();
      }
    }}>
      <button type="button" class="menu-button" aria-expanded={open} aria-label={label} onClick={() => setOpen(!open)}>{button}</button>
      {open && <div class={`menu-panel ${align}`}>{children(close)}</div>}
    </div>
  );
}

/* A modal question; the browser's own dialog keeps the focus inside and closes with Escape. */
export function Dialog({ title, onClose, children }: { title: string; onClose: () => void; children: ComponentChildren }) {
  const ref = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => { /* at once: an Escape that comes before the dialog is open would be lost */
    const d = ref.current!;
    const before = document.activeElement as HTMLElement | null;
    d.showModal();
    return () => {
      if (d.open) d.close();
      before?.focus?.();
    };
  }, []);
  return (
    <dialog ref={ref} class="dialog" aria-labelledby="dialog-title" onCancel={(e) => { if (e.target !== e.currentTarget) return; /* of a file chooser in it */ e.preventDefault(); onClose(); }}>
      <header>
        <h2 id="dialog-title">{title}</h2>
        <Button kind="quiet" aria-label="Close" glyph="close" onClick={onClose} />
      </header>
      {children}
    </dialog>
  );
}

export function Field({ label, hint, error, children }: { label: string; hint?: string; error?: string; children: (props: { id: string; "aria-describedby"?: string; "aria-invalid"?: boolean }) => ComponentChildren }) {
  const [id] = useState(() => `f${Math.random().toString(36).slice(2, 9)}`);
  const described = error || hint ? `${id}-d` : undefined;
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children({ id, "aria-describedby": described, "aria-invalid": error ? true : undefined })}
      {described && <p id={described} class={error ? "field-error" : "field-hint"}>{error ?? hint}</p>}
    </div>
  );
}

/* Definition list of a drawer; a value of "" or null is left out by the caller or shown as a dash. */
export function Facts({ rows }: { rows: [string, ComponentChildren][] }) {
  return (
    <dl class="facts">
      {rows.map(([k, v]) => <div key={k}><dt>{k}</dt><dd>{v === "" || v === null || v === undefined ? <span class="none">–</span> : v}</dd></div>)}
    </dl>
  );
}

export function Section({ title, count, children, open = true }: { title: string; count?: number; children: ComponentChildren; open?: boolean }) {
  return (
    <details class="section" open={open}>
      <summary><h3>{title}</h3>{count !== undefined && <span class="tally">{count}</span>}</summary>
      {children}
    </details>
  );
}
