/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One search over everything: pages, containers (known here already), and what the central is asked for: workloads and applications, incidents, findings, rules.
 * Groups come as they are answered; what a group could not be asked for is said and not left out.
 */
import { useEffect, useRef, useState } from "preact/hooks";
import { get, sentence } from "../api/client";
import { findingFrom, pageFrom } from "../api/model";
import { incidentFrom } from "../lib/incidents";
import { list, object, text as textOf } from "../lib/loose";
import { Icon } from "../parts/icons";
import { T } from "../parts/ui";
import type { PageDef } from "./app";
import { go, href } from "./router";
import { inventory, inventoryVersion, me } from "./state";
import { mayOpen } from "./app";

interface Hit { key: string; icon: string; name: string; more: string; to: string }
interface Group { title: string; hits: Hit[]; all?: string }

const FEW = 5;
const WAIT_MS = 180;
const RULES_MS = 60_000; /* they are asked of every node */
let rules: { at: number; list: { name: string; file: string }[] } = { at: 0, list: [] };

async function rulesKnown(signal: AbortSignal): Promise<{ name: string; file: string }[]> {
  if (Date.now() - rules.at > RULES_MS) {
    const seen = new Map<string, string>();
    for (const v of list(object(await get<unknown>("/rules", {}, signal)).rules)) seen.set(textOf(object(v).name), textOf(object(v).file));
    rules = { at: Date.now(), list: [...seen].map(([name, file]) => ({ name, file })) };
  }
  return rules.list;
}

/* Each answers with its group; the order is that of the panel. */
const ASKED: { title: string; ask: (q: string, signal: AbortSignal) => Promise<Group> }[] = [
  { title: "Incidents", ask: async (q, signal) => ({ title: "Incidents", all: href("/incidents", { state: "all", q }),
    hits: pageFrom<unknown>(await get<unknown>("/incidents", { search: q, limit: FEW }, signal), "incidents").items.map(incidentFrom).map((i) => ({ key: `i${i.id}`, icon: "incidents", name: i.title, more: `${i.id} · ${i.state}`, to: href(`/incidents/${i.id}`) })) }) },
  { title: "Applications and workloads", ask: async (q, signal) => {
    const low = q.toLowerCase();
    const [apps, units] = await Promise.all([get<unknown>("/applications", { limit: 1000 }, signal), get<unknown>("/workloads", { search: q, limit: FEW }, signal)]);
    return { title: "Applications and workloads", hits: [
      ...pageFrom<unknown>(apps, "applications").items.map((v) => textOf(object(v).application)).filter((a) => a && a.toLowerCase().includes(low)).slice(0, 3).map((a) => ({ key: `a${a}`, icon: "group", name: a, more: "application", to: href("/containers", { app: a }) })),
      ...pageFrom<unknown>(units, "workloads").items.map(object).map((w) => ({ app: textOf(w.application), name: textOf(w.workload) })).map((w) => ({ key: `w${w.app}/${w.name}`, icon: "models", name: w.name, more: [w.app, "model"].filter(Boolean).join(" · "), to: href("/models", { app: w.app || undefined, workload: w.name }) })),
    ] };
  } },
  { title: "Findings", ask: async (q, signal) => ({ title: "Findings", all: href("/findings", { q }),
    hits: pageFrom<unknown>(await get<unknown>("/findings", { search: q, limit: FEW }, signal), "findings").items.map(findingFrom).map((f) => ({ key: `f${f.id}`, icon: "findings", name: f.rule, more: f.container || f.node, to: href("/findings", { q, id: f.id }) })) }) },
  { title: "Rules", ask: async (q, signal) => {
    const low = q.toLowerCase();
    const found = (await rulesKnown(signal)).filter((r) => r.name.toLowerCase().includes(low));
    return { title: "Rules", all: found.length > FEW ? href("/policies", { q }) : undefined, hits: found.slice(0, FEW).map((r) => ({ key: `r${r.name}`, icon: "policies", name: r.name, more: r.file.split("/").pop() ?? "", to: href("/policies", { rule: r.name }) })) };
  } },
];

function here(q: string, pages: PageDef[]): Group[] {
  const low = q.toLowerCase();
  const found = inventory.select({ query: q, selected: {}, sort: "attention", descending: false });
  /* A name that holds the text comes before a label or an image that does. */
  const named = found.rows.filter((r) => r.name.toLowerCase().includes(low));
  const rows = [...named.slice(0, FEW), ...found.rows.slice(0, 2 * FEW).filter((r) => !named.includes(r))].slice(0, FEW);
  return [
    { title: "Pages", hits: pages.filter((p) => mayOpen(p, me.value) && p.title.toLowerCase().includes(low)).map((p) => ({ key: `p${p.path}`, icon: p.icon, name: p.title, more: "page", to: href(p.path) })) },
    { title: "Containers", all: found.rows.length > rows.length ? href("/containers", { q }) : undefined, hits: rows.map((r) => ({ key: `c${r.id}`, icon: "containers", name: r.name, more: [r.application || r.node, r.state === "running" ? "" : r.state].filter(Boolean).join(" · "), to: href("/containers", { id: r.id }) })) },
  ];
}

export function Search({ pages }: { pages: PageDef[] }) {
  const input = useRef<HTMLInputElement>(null);
  const [text, setText] = useState("");
  const [open, setOpen] = useState(false);
  const [at, setAt] = useState(0);
  const [told, setTold] = useState<{ q: string; groups: Map<string, Group>; errors: string[]; waiting: number }>({ q: "", groups: new Map(), errors: [], waiting: 0 });
  const q = text.trim();
  useEffect(() => {
    const key = (e: KeyboardEvent) => {
      const t = e.target as HTMLElement;
      const slash = e.key === "/" && !e.ctrlKey && !e.metaKey && !e.altKey && !/^(INPUT|TEXTAREA|SELECT)$/.test(t.tagName);
      const k = e.key.toLowerCase() === "k" && (e.ctrlKey || e.metaKey) && !e.altKey && !e.shiftKey;
      if ((!slash && !k) || document.querySelector("dialog[open]")) return;
      e.preventDefault();
      input.current?.focus();
      input.current?.select();
    };
    document.addEventListener("keydown", key);
    return () => document.removeEventListener("keydown", key);
  }, []);
  useEffect(() => {
    if (!open || q.length < 2) return;
    const over = new AbortController();
    const t = setTimeout(() => {
      setTold({ q, groups: new Map(), errors: [], waiting: ASKED.length });
      for (const a of ASKED)
        a.ask(q, over.signal).then((g) => setTold((s) => (s.q === q ? { ...s, waiting: s.waiting - 1, groups: new Map(s.groups).set(a.title, g) } : s)),
          (e: unknown) => { if (!over.signal.aborted) setTold((s) => (s.q === q ? { ...s, waiting: s.waiting - 1, errors: [...s.errors, `${a.title}: ${sentence(e)}`] } : s)); });
    }, WAIT_MS);
    return () => { clearTimeout(t); over.abort(); };
  }, [q, open]);
  void inventoryVersion.value;
  const shown = open && q ? here(q, pages) : [];
  const now = told.q === q;
  /* What is known here comes first, so that nothing moves under the finger when an answer comes. */
  const groups = [...shown, ...(now ? ASKED.map((a) => told.groups.get(a.title)) : [])].filter((g): g is Group => !!g && g.hits.length > 0);
  const flat = groups.flatMap((g) => [...g.hits, ...(g.all ? [{ key: `all ${g.title}`, icon: "search", name: `All ${g.title.toLowerCase()} with “${q}”`, more: "", to: g.all }] : [])]);
  const active = Math.min(at, flat.length - 1);
  const done = () => {
    setOpen(false);
    setText("");
    input.current?.blur();
  };
  const choose = (h: Hit | undefined) => {
    if (!h) return;
    go(h.to);
    done();
  };
  const panel = open && !!q;
  const waiting = q.length >= 2 && (!now || told.waiting > 0);
  let n = -1;
  return (
    <div class="search" role="search" onFocusOut={(e) => { if (!(e.currentTarget as HTMLElement).contains(e.relatedTarget as Node)) setOpen(false); }}>
      <Icon name="search" />
      <input ref={input} type="text" role="combobox" aria-label="Search everything" aria-expanded={panel} aria-controls="search-hits" aria-autocomplete="list"
        aria-activedescendant={panel && flat.length ? `hit-${active}` : undefined} placeholder="Search everything" autocomplete="off" spellcheck={false} maxLength={256} value={text}
        onInput={(e) => { setText(e.currentTarget.value); setOpen(true); setAt(0); }} onFocus={() => setOpen(true)}
        onKeyDown={(e) => {
          if (e.key === "Escape") done();
          else if (!panel) return;
          else if (e.key === "ArrowDown") { e.preventDefault(); setAt(Math.min(flat.length - 1, active + 1)); }
          else if (e.key === "ArrowUp") { e.preventDefault(); setAt(Math.max(0, active - 1)); }
          else if (e.key === "Enter") choose(flat[active]);
        }} />
      <kbd aria-hidden="true">/</kbd>
      {panel && (
        <div class="search-panel">
          <div id="search-hits" role="listbox" aria-label="Found">
            {groups.map((g) => {
              const rows = flat.slice(n + 1, n + 1 + g.hits.length + (g.all ? 1 : 0));
              return (
                <div key={g.title} role="group" aria-label={g.title}>
                  <p class="hit-group" aria-hidden="true">{g.title}</p>
                  {rows.map((h) => {
                    const mine = ++n;
                    return (
                      <div key={h.key} id={`hit-${mine}`} role="option" aria-selected={mine === active} class="hit" onPointerDown={(e) => { e.preventDefault(); choose(h); }}>
                        <Icon name={h.icon} /><T s={h.name} max={120} class="hit-name" /><T s={h.more} max={60} class="hit-more" />
                      </div>
                    );
                  })}
                </div>
              );
            })}
          </div>
          {!flat.length && !waiting && <p class="hit-none">Nothing is called that.</p>}
          {waiting && <p class="hit-none" role="status">Searching…</p>}
          {now && told.errors.map((e) => <p key={e} class="hit-none amber">{e}</p>)}
        </div>
      )}
    </div>
  );
}
