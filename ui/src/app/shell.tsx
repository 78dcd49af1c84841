/* SPDX-License-Identifier: Apache-2.0 */
/* What stands around every page: navigation, search, connection, account, and the banner that says when data is old. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { age, brief, clock, count } from "../lib/format";
import { visible } from "../lib/text";
import { Brand, Icon } from "../parts/icons";
import { Button, Menu, T } from "../parts/ui";
import { Password } from "../features/login/password";
import { mayOpen, pageAt, type PageDef } from "./app";
import { lazyPart } from "./lazy";
import { route } from "./router";
import { Search } from "./search";
import { incidentsOpen, known, logout, me, problems, status, statusError, stream } from "./state";
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

/* The help of the present page; its text is fetched when somebody asks. */
const HelpPanel = lazyPart(() => import("./helppanel").then((m) => m.default));

function HelpButton() {
  const [open, setOpen] = useState(false);
  const path = route.value.path;
  const page = pageAt(path);
  useEffect(() => setOpen(false), [path]);
  useEffect(() => {
    const key = (e: KeyboardEvent) => {
      if (e.key !== "?" || e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test((e.target as HTMLElement).tagName) || document.querySelector("dialog[open]")) return;
      e.preventDefault();
      setOpen(true);
    };
    document.addEventListener("keydown", key);
    return () => document.removeEventListener("keydown", key);
  }, []);
  return (
    <>
      <Button kind="quiet" class="help-button" glyph="help" aria-label="What is this page?" title="What is this page? (?)" onClick={() => setOpen(true)} />
      {open && <HelpPanel path={path} title={page?.title ?? "Bulkhead"} onClose={() => setOpen(false)} />}
    </>
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
              {pages.filter((p) => p.aside && mayOpen(p, who)).map((p) => <a key={p.path} href={`#${p.path}`} onClick={close}><Icon name={p.icon} />{p.title}</a>)}
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
  const bar = useRef<HTMLElement>(null);
  /* On a phone the pages are a row that scrolls: where one is stays in sight. */
  useEffect(() => {
    let width = 0;
    const show = () => { /* not when a keyboard comes up */
      const b = bar.current, a = b?.querySelector<HTMLElement>("[aria-current]");
      if (!b || !a || width === innerWidth) return;
      width = innerWidth;
      b.scrollLeft += a.getBoundingClientRect().left + a.offsetWidth / 2 - innerWidth / 2;
    };
    show();
    addEventListener("resize", show);
    return () => removeEventListener("resize", show);
  }, [path]);
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
    <nav class="nav" ref={bar} aria-label="Pages">
      <ul>{pages.filter((p) => !p.aside).map(item)}</ul>
      <p class="nav-head">{me.value?.role === "admin" ? "Administration" : "Access"}</p>
      <ul class="nav-admin">{pages.filter((p) => p.aside && mayOpen(p, me.value)).map(item)}</ul>
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
        <Search pages={pages} />
        <div class="top-right"><Connection /><HelpButton /><Account pages={pages} /></div>
      </header>
      <Nav pages={pages} />
      <main ref={main} tabIndex={-1} class="main">
        <Stale />
        {children}
      </main>
    </div>
  );
}

