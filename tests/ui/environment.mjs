// SPDX-License-Identifier: Apache-2.0
// Environments for the map: containers and who talks to whom, made from a seed, as a node would tell them. No two runs differ.
import { HOSTILE, id } from "./data.mjs";

const APPS = ["edge-cdn", "ingress", "storefront", "mobile-bff", "admin", "partner-api", "auth", "payments", "orders", "cart", "catalog", "pricing", "search", "shipping", "loyalty", "fraud", "notify", "media", "events", "etl", "batch", "ml-serving", "ci", "vault", "kafka", "postgres", "redis", "observability", "dns", "reporting"];
/* where an application stands on the way from the outside in */
const TIER = [0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 4, 4, 4, 3, 4, 5, 5, 5, 5, 5, 4];
const ROLES = [["proxy", "nginx:1.27", 0, 80, "http/1"], ["gateway", "traefik:3.1", 0, 443, "tls"], ["web", "team/web:4.2", 1, 8080, "http/1"], ["api", "team/api:1.4", 2, 8080, "http/1"], ["worker", "team/worker:1.4", 3, 9000, ""], ["cache", "redis:7.4", 4, 6379, "redis"], ["db", "postgres:16.4", 4, 5432, "postgresql"], ["queue", "rabbitmq:4.0", 4, 5672, "amqp"], ["index", "opensearch:2.17", 4, 9200, "http/1"], ["cron", "team/cron:2", 3, 0, ""], ["agent", "team/agent:7", 3, 0, ""], ["sync", "team/sync:3", 3, 8443, "http/2"]];

export function random(seed) {
  let s = seed >>> 0;
  const f = () => {
    s = (s + 0x6d2b79f5) >>> 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return { f, int: (n) => Math.floor(f() * n), pick: (l) => l[Math.floor(f() * l.length)] };
}

/* containers: for Node.inventory(); flows: for Node.flows(), each with the names of its ends as truth. */
export function environment({ apps = 30, workloads = 1000, containers = 5000, flows = 6000, seed = 7, now = Date.now() } = {}) {
  const r = random(seed);
  const list = [];
  const units = [];
  for (let w = 0; w < workloads; w++) {
    const app = w < apps ? w : r.int(apps);
    const n = units.filter((u) => u.app === app).length;
    const role = ROLES[n < ROLES.length ? [0, 2, 3, 6, 5, 4, 9, 7, 8, 11, 1, 10][n] : r.int(ROLES.length)];
    units.push({ app, application: apps > APPS.length ? `app-${app}` : APPS[app], name: `${role[0]}${n < ROLES.length ? "" : `-${Math.floor(n / ROLES.length) + 1}${n % 7}`}`, role, tier: TIER[app % TIER.length], containers: [] });
  }
  const names = new Set();
  for (const u of units) {
    while (names.has(`${u.application}/${u.name}`)) u.name += "x";
    names.add(`${u.application}/${u.name}`);
  }
  for (let c = 0; c < containers; c++) {
    const u = c < units.length ? units[c] : units[Math.floor(r.f() ** 1.7 * units.length)];
    const n = u.containers.length + 1;
    const k = { id: id(0x700000 + c), name: `${u.application}-${u.name}-${n}`, image: u.role[1], workload: u.name, application: u.application, created_ns: BigInt(now - 9e6) * 1_000_000n, started_ns: BigInt(now - 8e6) * 1_000_000n, networks: [{ name: u.application, ip: `10.${(c >> 14) + 1}.${(c >> 7) & 127}.${(c & 127) + 1}` }] };
    u.containers.push(k);
    list.push(k);
  }
  const out = [];
  const seen = new Set();
  const flow = (from, to, port, o = {}) => {
    const key = `${from.id} ${to.id ?? to.name ?? to.ip} ${port}`;
    if (seen.has(key)) return false;
    seen.add(key);
    const big = 10 ** (2 + r.f() * 6);
    const n = 1 + r.int(400);
    out.push({ from, to, port, proto: 6, exe: "/usr/bin/app", peerExe: "/usr/sbin/server", connections: n, bytesOut: Math.round(big * r.f()), bytesIn: Math.round(big), first: now - 3_000_000 + r.int(2_000_000), last: now - r.int(400_000), ...o });
    return true;
  };
  const servers = units.filter((u) => u.role[3]);
  for (let tries = 0; out.length < flows && tries < flows * 30; tries++) {
    const a = r.pick(units);
    const near = r.f() < 0.72;
    const b = r.pick(near ? servers.filter((u) => u.app === a.app && u.role[2] > a.role[2]) : servers.filter((u) => u.tier > a.tier && (u.app * 7 + a.app * 3) % 5 === 0));
    if (!b || b === a) continue;
    flow(r.pick(a.containers), r.pick(b.containers), b.role[3], { protocol: b.role[4] });
  }
  return { units, containers: list, flows: out, flow };
}

/* A shop as people know it, small enough to be read whole, with one failing and one scanning connection. */
export function shop(now = Date.now()) {
  const list = [];
  const c = (application, workload, n, image) => Array.from({ length: n }, (_, i) => {
    const k = { id: id(0x900000 + list.length), name: `${application}-${workload}-${i + 1}`, image, workload, application, created_ns: BigInt(now - 9e6) * 1_000_000n, started_ns: BigInt(now - 8e6) * 1_000_000n, networks: [{ name: application, ip: `172.20.0.${list.length + 2}` }] };
    list.push(k);
    return k;
  });
  const proxy = c("shop", "proxy", 2, "nginx:1.27");
  const web = c("shop", "web", 3, "shop/web:2.1");
  const api = c("shop", "api", 4, "shop/api:2.1");
  const db = c("shop", "db", 1, "postgres:16.4");
  const cache = c("shop", "cache", 1, "redis:7.4");
  const worker = c("shop", "worker", 2, "shop/worker:2.1");
  const queue = c("backoffice", "queue", 1, "rabbitmq:4.0");
  const report = c("backoffice", "report", 1, "office/report:5");
  const office = c("backoffice", "office", 2, "office/web:5");
  const runner = c("ci", "runner", 3, "ci/runner:9");
  const flows = [];
  const f = (from, to, port, o = {}) => flows.push({ from, to, port, proto: 6, exe: "/usr/local/bin/app", peerExe: "", connections: 120, bytesOut: 240_000, bytesIn: 8_400_000, first: now - 3_000_000, last: now - 4000, ...o });
  for (const p of proxy) for (const w of web) f(p, w, 8080, { protocol: "http/1", exe: "/usr/sbin/nginx", peerExe: "/usr/bin/node", bytesIn: 64_000_000 });
  for (const p of proxy) f({ ip: "203.0.113.7" }, p, 443, { protocol: "tls", serverName: "shop.example", exe: "", peerExe: "/usr/sbin/nginx", connections: 2210, bytesIn: 182_000_000, dialled: ["198.51.100.4", 443], role: "server" });
  for (const w of web) f(w, api[flows.length % 4], 8080, { protocol: "http/1", exe: "/usr/bin/node", peerExe: "/usr/bin/python3.11" });
  for (const a of api) {
    f(a, db[0], 5432, { protocol: "postgresql", exe: "/usr/bin/python3.11", peerExe: "/usr/lib/postgresql/16/bin/postgres", connections: 40, bytesIn: 540_000_000, name: "db" });
    f(a, cache[0], 6379, { protocol: "redis", exe: "/usr/bin/python3.11", peerExe: "/usr/bin/redis-server", bytesIn: 2_100_000, name: "cache" });
  }
  for (const a of api) f(a, { name: "api.payments.example", ip: "203.0.113.80" }, 443, { protocol: "tls", serverName: "api.payments.example", exe: "/usr/bin/python3.11", bytesIn: 900_000 });
  for (const w of worker) {
    f(w, queue[0], 5672, { protocol: "amqp", exe: "/usr/bin/python3.11", peerExe: "/usr/lib/erlang/bin/beam.smp" });
    f(w, db[0], 5432, { protocol: "postgresql", exe: "/usr/bin/python3.11", peerExe: "/usr/lib/postgresql/16/bin/postgres", bytesIn: 41_000_000 });
    f(w, { name: "smtp.mail.example", ip: "203.0.113.25" }, 587, { exe: "/usr/bin/python3.11", connections: 0, timedOut: 38, bytesIn: 0, bytesOut: 0 });
  }
  for (const o of office) f(o, report[0], 8443, { protocol: "http/2", exe: "/usr/bin/java" });
  f(report[0], db[0], 5432, { protocol: "postgresql", exe: "/usr/bin/java", peerExe: "/usr/lib/postgresql/16/bin/postgres", connections: 0, refused: 61, bytesIn: 0, bytesOut: 0 });
  f(report[0], queue[0], 5672, { protocol: "amqp", exe: "/usr/bin/java" });
  f(runner[1], api[2], 0, { exe: "/tmp/.x/nmap", connections: 6, refused: 994, bytesIn: 0, bytesOut: 0, ports: 1000, samples: [21, 22, 23, 80, 443, 3306, 8080] });
  f(runner[0], { name: "registry.example", ip: "203.0.113.44" }, 443, { protocol: "tls", serverName: "registry.example", exe: "/usr/bin/git", bytesIn: 1_300_000_000 });
  for (const x of [...api, ...worker, ...web]) f(x, { dns: true, ip: "127.0.0.11" }, 53, { proto: 17, protocol: "dns", connections: 400, bytesIn: 48_000, bytesOut: 21_000, peerHost: true, name: "docker-dns" });
  return { containers: list, flows };
}

/* Ends whose every name is an attack on the page, or on the terminal that it is copied to. */
export function hostileFlows(now = Date.now()) {
  return [...HOSTILE, "\u001b]0;pwned\u0007\u001b[2Jcleared"].map((h, i) => ({ from: { id: id(0xbad0 + (i % HOSTILE.length)) }, to: { name: h, ip: "203.0.113.9" }, port: 443 + i, proto: 6, protocol: "tls", serverName: h, exe: h, peerExe: h, connections: 3, bytesOut: 100, bytesIn: 1000, first: now - 60_000, last: now - 1000 }));
}
