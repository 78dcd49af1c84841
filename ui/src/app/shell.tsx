/* SPDX-License-Identifier: Apache-2.0 */
/* What stands around every page: navigation, search, connection, account, and the banner that says when data is old. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { age, brief, clock, count } from "../lib/format";
import { visible } from "../lib/text";
import { Brand, Icon, StateMark } from "../parts/icons";
import { Menu, T } from "../parts/ui";
import { Password } from "../features/login/password";
import type { PageDef } from "./app";
import { go, href, route } from "./router";
import { incidentsOpen, inventory, inventoryVersion, known, logout, me, problems, status, statusError, stream } from "./state";
import { setTheme, theme, type Theme } from "./theme";

function Connection() {
  const k = known.value;
  const s = stream.value;
  const up = k.nodes.filter((n) => n.up).length;
  const live = s.state === "live";
  const late = s.state === "connecting" || s.state === "off";
  const text = live ? "Live" : late ? "Connecting" : "Not live";
  return (
    <a class={`connection ${live ? "live" : late ? "late" : "stale"}`} href="#/health" title="Open health">
      <span class="pulse" aria-hidden="true" />
      <span>{text}</span>
      {live && k.loaded && <span class="connection-nodes">{k.nodes.length === up ? `${count(up)} ${up === 1 ? "node" : "nodes"}` : `${up} of ${k.nodes.length} nodes`}</span>}
    </a>
  );
}

/* Says that what is seen is old, wherever one is. It never covers anything and goes by itself. */
function Stale() {
  const s = stream.value;
  const k = known.value;
  const lost = s.state === "stale" || s.state === "full";
  const away = lost ? k.now - s.since : 0;
  const quiet = !lost && k.loaded && k.nodes.length > 0 ? k.nodes.filter((n) => !n.up || (n.seen && k.now - n.seen > 30_000)) : [];
  let title = "";
  let text = "";
  if (lost && away > 3000) {
    title = "This page is not being updated.";
    text = `${s.why || "The central does not answer."} What you see is as of ${clock(s.since)}, ${age(away)} ago. It goes on by itself.`;
  } else if (statusError.value && status.value) {
    title = "The status is old.";
    text = statusError.value;
  } else if (quiet.length) {
    const n = quiet[0];
    title = quiet.length === 1 ? `${visible(n.name, 64)} is not reporting.` : `${quiet.length} of ${k.nodes.length} nodes are not reporting.`;
    text = n.seen ? `What you see of ${quiet.length === 1 ? "it" : "them"} is as of ${clock(n.seen)}, ${age(k.now - n.seen)} ago.` : "Nothing is known of what runs there now.";
  }
  return (
    <div class="stale-place" role="status" aria-live="polite">
      {title && <div class="stale-banner"><Icon name="warn" /><p><strong>{title}</strong> {text}</p><a href="#/health">Health</a></div>}
    </div>
  );
}

function Search() {
  const input = useRef<HTMLInputElement>(null);
  const [text, setText] = useState("");
  const [open, setOpen] = useState(false);
  const [at, setAt] = useState(0);
  useEffect(() => {
    const key = (e: KeyboardEvent) => {
      const t = e.target as HTMLElement;
      if (e.key !== "/" || e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(t.tagName) || document.querySelector("dialog[open]")) return;
      e.preventDefault();
      input.current?.focus();
      input.current?.select();
    };
    document.addEventListener("keydown", key);
    return () => document.removeEventListener("keydown", key);
  }, []);
  void inventoryVersion.value;
  const trimmed = text.trim();
  const found = open && trimmed ? inventory.select({ query: trimmed, selected: {}, sort: "attention", descending: false }) : null;
  /* A name that holds the text comes before a label or an image that does. */
  const named = (found?.rows ?? []).filter((r) => r.name.toLowerCase().includes(trimmed.toLowerCase()));
  const hits = [...named.slice(0, 7), ...(found?.rows ?? []).slice(0, 14).filter((r) => !named.includes(r))].slice(0, 7);
  const done = () => {
    setOpen(false);
    setText("");
    input.current?.blur();
  };
  const choose = (i: number) => {
    if (i < hits.length) go(href("/containers", { id: hits[i].id }));
    else go(href("/containers", { q: trimmed }));
    done();
  };
  return (
    <div class="search" role="search" onFocusOut={(e) => { if (!(e.currentTarget as HTMLElement).contains(e.relatedTarget as Node)) setOpen(false); }}>
      <Icon name="search" />
      <input ref={input} type="text" role="combobox" aria-label="Search containers" aria-expanded={!!found} aria-controls="search-hits" aria-autocomplete="list"
        aria-activedescendant={found ? `hit-${at}` : undefined} placeholder="Search containers" autocomplete="off" spellcheck={false} maxLength={256} value={text}
        onInput={(e) => { setText(e.currentTarget.value); setOpen(true); setAt(0); }} onFocus={() => setOpen(true)}
        onKeyDown={(e) => {
          if (e.key === "Escape") done();
          else if (!found) return;
          else if (e.key === "ArrowDown") { e.preventDefault(); setAt(Math.min(hits.length, at + 1)); }
          else if (e.key === "ArrowUp") { e.preventDefault(); setAt(Math.max(0, at - 1)); }
          else if (e.key === "Enter") choose(at);
        }} />
      <kbd aria-hidden="true">/</kbd>
      {found && (
        <div class="search-panel" id="search-hits" role="listbox" aria-label="Containers found">
          {hits.map((r, i) => (
            <div key={r.id} id={`hit-${i}`} role="option" aria-selected={i === at} class="hit" onPointerDown={(e) => { e.preventDefault(); choose(i); }}>
              <StateMark state={r.state} /><T s={r.name} max={80} class="hit-name" /><T s={r.application || r.node} max={60} class="hit-more" />
            </div>
          ))}
          <div id={`hit-${hits.length}`} role="option" aria-selected={at === hits.length} class="hit all" onPointerDown={(e) => { e.preventDefault(); choose(hits.length); }}>
            <Icon name="containers" /><span>{found.rows.length ? `Show all ${count(found.rows.length)} in Containers` : "Nothing found: search in Containers"}</span>
          </div>
        </div>
      )}
    </div>
  );
}

const THEMES: [Theme, string, string][] = [["system", "System", "system"], ["dark", "Dark", "moon"], ["light", "Light", "sun"]];

function Account({ pages }: { pages: PageDef[] }) {
  const who = me.value!;
  const [password, setPassword] = useState(false);
  return (
    <>
      <Menu button={<><span class="avatar" aria-hidden="true" data-letter={visible([...who.name][0] ?? "?").slice(0, 1).toUpperCase()} /><span class="sr">Account of </span><span class="account-name"><T s={who.name} max={24} /></span><Icon name="down" size={14} /></>}>
        {(close) => (
          <>
            <div class="menu-who"><strong><T s={who.name} max={48} /></strong><span>{who.role}</span></div>
            <div class="themes" role="group" aria-label="Theme">
              {THEMES.map(([key, label, icon]) => (
                <button key={key} type="button" aria-pressed={theme.value === key} onClick={() => setTheme(key)}><Icon name={icon} />{label}</button>
              ))}
            </div>
            <nav class="menu-pages" aria-label="Administration">
              {pages.filter((p) => p.aside && (!p.role || p.role === who.role)).map((p) => <a key={p.path} href={`#${p.path}`} onClick={close}><Icon name={p.icon} />{p.title}</a>)}
            </nav>
            <button type="button" class="menu-item" onClick={() => { close(); setPassword(true); }}><Icon name="lock" />Change password</button>
            <button type="button" class="menu-item" onClick={() => void logout()}><Icon name="exit" />Log out</button>
          </>
        )}
      </Menu>
      {password && <Password onClose={() => setPassword(false)} />}
    </>
  );
}

function Nav({ pages }: { pages: PageDef[] }) {
  const path = route.value.path;
  const trouble = problems.value.filter((p) => p.level === "bad").length;
  const item = (p: PageDef) => {
    const here = p.path === path || (p.path !== "/" && path.startsWith(p.path + "/"));
    return (
      <li key={p.path}>
        <a href={`#${p.path}`} aria-current={here ? "page" : undefined}>
          <Icon name={p.icon} size={18} /><span>{p.title}</span>
          {p.path === "/incidents" && incidentsOpen.value > 0 && <span class="badge red" title={`${incidentsOpen.value} open`}>{brief(incidentsOpen.value)}<span class="sr"> open</span></span>}
          {p.path === "/health" && trouble > 0 && <span class="badge" title={`${trouble} problems`}>{trouble}<span class="sr"> problems</span></span>}
        </a>
      </li>
    );
  };
  return (
    <nav class="nav" aria-label="Pages">
      <ul>{pages.filter((p) => !p.aside).map(item)}</ul>
      <p class="nav-head">{me.value?.role === "admin" ? "Administration" : "Access"}</p>
      <ul class="nav-admin">{pages.filter((p) => p.aside && (!p.role || p.role === me.value?.role)).map(item)}</ul>
      <p class="nav-foot">{status.value?.version ? `Bulkhead ${visible(status.value.version, 32)}` : ""}</p>
    </nav>
  );
}

export function Shell({ pages, children }: { pages: PageDef[]; children: ComponentChildren }) {
  const main = useRef<HTMLElement>(null);
  const path = route.value.path;
  const first = useRef(true);
  /* A new page is told to screen readers by moving the focus to it, except at the very start. */
  useEffect(() => {
    if (first.current) first.current = false;
    else main.current?.focus({ preventScroll: true });
  }, [path]);
  return (
    <div class="shell">
      <a class="skip" href="#" onClick={(e) => { e.preventDefault(); main.current?.focus(); }}>Skip to the content</a>
      <header class="top">
        <a class="brand" href="#/" aria-label="Bulkhead, overview"><Brand /><span>Bulkhead</span></a>
        <Search />
        <div class="top-right"><Connection /><Account pages={pages} /></div>
      </header>
      <Nav pages={pages} />
      <main ref={main} tabIndex={-1} class="main">
        <Stale />
        {children}
      </main>
    </div>
  );
}

