/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the whole page knows: who is logged in, the status of the nodes, the inventory, and whether all that is fresh. Filled by
 * start() after login; pages only read signals. A failure leaves the last known values and sets `stream` or `statusError`, so
 * that old data is shown as old and never as nothing.
 */
import { batch, computed, signal } from "@preact/signals";
import { call, get, setCsrf, whenDenied, ApiError, sentence, address } from "../api/client";
import { containersFrom, type ContainerPage, meFrom, type Me, statusFrom, type StatusView } from "../api/model";
import { listen } from "../live/client";
import type { StreamEvent, StreamState } from "../live/hub";
import { Inventory, type Described } from "../lib/inventory";
import { problemsOf, verdict, type Known, type NodeView } from "../lib/health";

export const me = signal<Me | null | undefined>(undefined); /* undefined: not asked yet; null: nobody */
export const startError = signal("");

export const status = signal<StatusView | null>(null);
export const statusAt = signal(0);
export const statusError = signal("");

export const stream = signal<{ state: StreamState | "off"; since: number; why: string }>({ state: "off", since: 0, why: "" });

export const inventory = new Inventory();
export const inventoryVersion = signal(0);
export const inventoryState = signal<{ loading: boolean; complete: boolean; error: string; expected: number }>({ loading: false, complete: false, error: "", expected: 0 });

export const now = signal(Date.now());
export const changed = signal<{ kind: string; n: number }>({ kind: "", n: 0 });
/* Counts the messages that the connection map changed. */
export const graphChanged = signal(0);

/* Counts the messages that some incident changed; how many are open, or -1 while that is not known. */
export const incidentsChanged = signal(0);
export const incidentsOpen = signal(-1);
export const incidentLatest = signal<{ id: number; title: string } | null>(null);

/* Who is here may act: on containers, incidents and models. */
export const mayAct = computed(() => me.value?.role === "admin" || me.value?.role === "analyst");

/* Counts the messages that there are new findings. */
export const findingsChanged = signal(0);

/* Counts the messages that some response changed. */
export const responsesChanged = signal(0);

export const totals = computed(() => {
  void inventoryVersion.value;
  let running = 0;
  let exposed = 0;
  for (const r of inventory.rows) {
    if (r.state !== "running") continue;
    running++;
    if (r.score >= 15) exposed++;
  }
  return { containers: inventory.size, running, exposed };
});

export const known = computed<Known>(() => ({
  now: now.value,
  loaded: status.value !== null,
  stream: stream.value.state === "full" || stream.value.state === "ended" ? "stale" : stream.value.state,
  streamSince: stream.value.since,
  nodes: status.value?.nodes ?? [],
  central: status.value?.problems ?? [],
  inventoryComplete: inventoryState.value.complete,
  incidents: incidentsOpen.value,
  incident: incidentLatest.value?.title,
  ...totals.value,
}));
export const problems = computed(() => problemsOf(known.value));
export const verdictNow = computed(() => verdict(known.value));

/* Rates between two statuses of a node; a restarted sensor's counters begin anew and give none. */
export const rates = signal<Record<string, { events: number; series: number[]; at: number }>>({});
export const SERIES = 60;
const MIN_BETWEEN_MS = 900;

/*
 * Tells the pages that the inventory changed. A page then filters and sorts all of it anew, so with many containers that change all
 * the time this is spaced out: it may take at most about a tenth of the time.
 */
let bumpTimer: ReturnType<typeof setTimeout> | undefined;
let bumped = 0;

function bump(): void {
  const wait = Math.min(2000, Math.max(50, inventory.costMs * 10)) - (Date.now() - bumped);
  bumpTimer ??= setTimeout(() => {
    bumpTimer = undefined;
    bumped = Date.now();
    inventoryVersion.value = inventory.version;
  }, Math.max(0, wait));
}

let stops: (() => void)[] = [];

/*
 * Whether this browser has logged in: the session's cookie is out of reach of scripts, and to ask without one would put a refusal
 * into the console of everybody who just opens the page.
 */
const HINT = "bulkhead-session";

function hint(has?: boolean): boolean {
  try {
    if (has) localStorage.setItem(HINT, "1");
    else if (has === false) localStorage.removeItem(HINT);
    return localStorage.getItem(HINT) !== null;
  } catch {
    return true;
  }
}

export async function whoAmI(): Promise<void> {
  if (!hint()) {
    me.value = null;
    return;
  }
  try {
    const m = meFrom(await call<unknown>("GET", "/me", { login: true }));
    setCsrf(m.csrf);
    me.value = m;
    startError.value = "";
  } catch (e) {
    if (e instanceof ApiError && (e.status === 401 || e.status === 403)) {
      hint(false);
      me.value = null;
    } else startError.value = sentence(e);
  }
}

export async function login(user: string, password: string): Promise<void> {
  const m = meFrom(await call<unknown>("POST", "/login", { body: { user, password }, login: true }));
  setCsrf(m.csrf);
  hint(true);
  me.value = m;
}

export async function logout(): Promise<void> {
  stop(); /* first: what is asked after the session has ended is refused, and stands in the console */
  try {
    await call("POST", "/logout", { login: true });
  } catch {
    /* the session may be over already */
  }
  hint(false);
  me.value = null;
}

function noteRates(nodes: NodeView[], at: number): void {
  const out = { ...rates.value };
  for (const n of nodes) {
    const recorded = n.status?.events?.recorded;
    if (recorded === undefined) continue;
    const before = last.get(n.name);
    const seen = n.seen || at;
    if (before && Math.abs(seen - before.seen) < MIN_BETWEEN_MS && recorded >= before.recorded) continue;
    last.set(n.name, { recorded, seen });
    if (!before || recorded < before.recorded || seen <= before.seen) continue;
    const events = ((recorded - before.recorded) * 1000) / (seen - before.seen);
    out[n.name] = { events, series: [...(out[n.name]?.series ?? []), events].slice(-SERIES), at };
  }
  rates.value = out;
}
const last = new Map<string, { recorded: number; seen: number }>();

let reading = false;

async function readStatus(): Promise<void> {
  if (reading) return;
  reading = true;
  try {
    const at = Date.now();
    const view = statusFrom(await get<unknown>("/status"));
    batch(() => {
      status.value = view;
      statusAt.value = at;
      statusError.value = "";
      noteRates(view.nodes, at);
    });
  } catch (e) {
    if (!(e instanceof ApiError && e.status === 401)) statusError.value = sentence(e);
  } finally {
    reading = false;
  }
}

const PAGE = 1000;

/* What the stream told while a listing was under way: newer than pages that were asked for before. */
let told = new Map<string, Described>();
/* The stream began while a listing was under way: what changed between the two would be in neither. */
let listAgain = false;

/* The whole list, page by page, shown as it comes. Rows that a complete listing did not have are dropped at its end. */
async function readContainers(signalled: AbortSignal): Promise<void> {
  if (inventoryState.value.loading) {
    listAgain = true;
    return;
  }
  inventoryState.value = { ...inventoryState.value, loading: true, error: "" };
  listAgain = false;
  told.clear();
  const seen = new Set<string>();
  let cursor: string | undefined;
  let expected = 0;
  try {
    do {
      const page: ContainerPage = containersFrom(await get<unknown>("/containers", { limit: PAGE, cursor, count: cursor ? undefined : "true" }, signalled));
      inventory.upsert(page.items.map((c) => told.get(c.id) ?? c));
      for (const c of page.items) seen.add(c.id);
      cursor = page.next;
      expected = Math.max(page.total, expected, inventory.size);
      bump();
      if (inventoryState.value.expected !== expected) inventoryState.value = { ...inventoryState.value, expected };
    } while (cursor && !signalled.aborted);
    for (const id of told.keys()) seen.add(id);
    told.clear();
    inventory.keepOnly(seen);
    batch(() => {
      inventoryVersion.value = inventory.version;
      inventoryState.value = { loading: false, complete: true, error: "", expected };
    });
  } catch (e) {
    if (!signalled.aborted) inventoryState.value = { ...inventoryState.value, loading: false, error: sentence(e) };
  }
  if (listAgain && !signalled.aborted) await readContainers(signalled);
}

/* Containers that changed: asked for one by one where they are few, else the list is read again. */
const FEW = 24;
let dirty = new Set<string>();
let dirtyTimer: ReturnType<typeof setTimeout> | undefined;

async function refresh(signalled: AbortSignal): Promise<void> {
  dirtyTimer = undefined;
  const ids = [...dirty];
  dirty = new Set();
  if (ids.length > FEW || ids.includes("")) return readContainers(signalled);
  await Promise.all(ids.map(async (id) => {
    try {
      inventory.upsert([await get<Described>(`/containers/${encodeURIComponent(id)}`, {}, signalled)]);
    } catch (e) {
      if (e instanceof ApiError && e.status === 404) inventory.remove(id);
    }
  }));
  bump();
}

/* An attack that goes on changes its incident many times a second: the pages read it again at most so often, and at once what comes after a pause. */
const INCIDENTS_MS = 400;
let incidentTimer: ReturnType<typeof setTimeout> | undefined;
let incidentAt = 0;
let incidentAsk = 0;
async function noteIncidents(signalled: AbortSignal): Promise<void> {
  clearTimeout(incidentTimer);
  incidentTimer = undefined;
  incidentAt = Date.now();
  const mine = ++incidentAsk;
  incidentsChanged.value++;
  try {
    const told = await get<{ total?: number; incidents?: { id?: number; title?: string }[] }>("/incidents", { state: "open", limit: 1, count: "true" }, signalled);
    const latest = told.incidents?.[0];
    if (mine !== incidentAsk || signalled.aborted) return; /* an older answer may come last */
    batch(() => {
      incidentsOpen.value = Number(told.total ?? -1);
      incidentLatest.value = latest?.id ? { id: latest.id, title: String(latest.title ?? "") } : null;
    });
  } catch {
    /* the number stays as it was; the connection's own mark says that it may be old */
  }
}

function onChanges(events: StreamEvent[], signalled: AbortSignal): void {
  let kind = "";
  let graph = false;
  let incident = false;
  let finding = false;
  const fresh: Described[] = [];
  for (const e of events) {
    let change: { kind?: string; key?: string; object?: Described } = {};
    try {
      change = JSON.parse(e.data) as typeof change;
    } catch {
      continue;
    }
    kind = change.kind ?? e.event;
    if (kind === "container") {
      if (change.object) {
        fresh.push(change.object);
        if (inventoryState.value.loading) told.set(change.object.id, change.object);
      }
      else dirty.add((change.key ?? "").split("/").pop() ?? "");
    } else if (e.event === "reset" || kind === "store") dirty.add("");
    else if (kind === "node") void readStatus();
    if (kind === "graph" || e.event === "reset") graph = true;
    if (kind === "response" || e.event === "reset") responsesChanged.value++;
    if (kind === "finding" || e.event === "reset") finding = true;
    if (kind === "incident" || kind === "store" || e.event === "reset") incident = true;
  }
  if (graph) graphChanged.value++;
  if (finding) findingsChanged.value++;
  if (incident) incidentTimer ??= setTimeout(() => void noteIncidents(signalled), Math.min(INCIDENTS_MS, Math.max(0, incidentAt + INCIDENTS_MS - Date.now())));
  if (fresh.length) {
    inventory.upsert(fresh);
    bump();
  }
  if (dirty.size) dirtyTimer ??= setTimeout(() => void refresh(signalled), 300);
  if (kind) changed.value = { kind, n: changed.value.n + 1 };
}

/* Of what happened before the stream was live nobody tells a page that has read its list by then, and changes of the map are not told later: lists are read again. */
function anew(signalled: AbortSignal): void {
  batch(() => {
    graphChanged.value++;
    responsesChanged.value++;
    findingsChanged.value++;
  });
  void noteIncidents(signalled);
}

export function start(): void {
  stop();
  const over = new AbortController();
  let wasLive = false;
  const unlisten = listen(address("/stream"), {
    state: (state, since, _status, why) => {
      const before = stream.value.state;
      stream.value = { state, since, why: why ?? "" };
      if (state === "denied") void whoAmI();
      if (state === "live" && before !== "live") {
        if (!wasLive) {
          void readStatus();
          void readContainers(over.signal);
        }
        wasLive = true;
        anew(over.signal);
      } else if (state === "stale") {
        /* What changed meanwhile comes with the resumed stream; the status is asked for anew. */
        if (wasLive) void readStatus();
      }
    },
    events: (events) => onChanges(events, over.signal),
  }, true);
  const ticker = setInterval(() => {
    if (!document.hidden) now.value = Date.now();
  }, 1000);
  const poll = setInterval(() => {
    if (!document.hidden) void readStatus();
  }, 3000);
  const onShow = () => {
    if (!document.hidden) {
      now.value = Date.now();
      void readStatus();
    }
  };
  document.addEventListener("visibilitychange", onShow);
  void readStatus();
  void readContainers(over.signal);
  stops = [unlisten, () => clearInterval(ticker), () => clearInterval(poll), () => over.abort(), () => document.removeEventListener("visibilitychange", onShow)];
}

export function stop(): void {
  for (const s of stops) s();
  stops = [];
  clearTimeout(bumpTimer);
  bumpTimer = undefined;
  clearTimeout(dirtyTimer);
  dirtyTimer = undefined;
  clearTimeout(incidentTimer);
  incidentTimer = undefined;
  dirty = new Set();
  told = new Map();
  listAgain = false;
  last.clear();
  inventory.clear();
  batch(() => {
    inventoryVersion.value = inventory.version;
    inventoryState.value = { loading: false, complete: false, error: "", expected: 0 };
    status.value = null;
    statusAt.value = 0;
    stream.value = { state: "off", since: 0, why: "" };
    rates.value = {};
    incidentsOpen.value = -1;
    incidentLatest.value = null;
  });
}

whenDenied(() => {
  if (me.value) {
    stop();
    hint(false);
    me.value = null;
  }
});
