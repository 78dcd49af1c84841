// SPDX-License-Identifier: Apache-2.0
// The map's logic: what an edge is, the filter, the address, what is drawn at which level, labels, hits, arrow keys.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { load } from "./load.mjs";

const G = await load("lib/graph.ts");
const Q = await load("lib/mapquery.ts");
const L = await load("lib/maplayout.ts");
const S = await load("lib/mapscene.ts");
const A = await load("lib/mapaddress.ts");

export const edge = (from, to, o = {}) => G.edgeFrom({ id: `${from}${to}${o.port ?? 80}`, from, to, proto: "tcp", port: 80, connections: 10, bytes_out: 100, bytes_in: 1000, first_seen: "2026-01-01T00:00:00Z", last_seen: "2026-01-01T00:00:01Z", ...o });
const workload = (app, name, o = {}) => ({ id: G.unitId(app, name), kind: "workload", name, application: app, workload: name, running: 1, containers: 1, image: `${name}:1`, level: 1, ...o });
const NODES = [workload("shop", "web", { level: 1 }), workload("shop", "api", { level: 2, running: 3, containers: 3 }), workload("shop", "db", { level: 3 }), workload("office", "report", { level: 1 }), { id: "dns:pay.example", kind: "name", name: "pay.example", level: 3 }, { id: "net:203.0.113.0/24", kind: "network", name: "internet 203.0.113.0/24", level: 0 }];
const EDGES = [
  edge("net:203.0.113.0/24", "w:shop/web", { port: 443, protocol: "tls", server_name: "shop.example" }), edge("w:shop/web", "w:shop/api", { port: 8080, clients: ["/usr/bin/node"], bytes_in: 5e6 }), edge("w:shop/api", "w:shop/db", { port: 5432, protocol: "postgresql" }),
  edge("w:shop/api", "dns:pay.example", { port: 443 }), edge("w:office/report", "w:shop/db", { port: 5432, connections: 0, refused: 9, bytes_in: 0 }), edge("w:shop/web", "w:shop/api", { port: 9090, connections: 4 }),
];
const answer = (nodes = NODES, edges = EDGES) => ({ level: "workload", nodes: nodes.map(G.nodeFrom), edges, since: 0, until: 0, generation: 1, next: "", hidden: 0 });
const model = (a = answer()) => G.buildModel([], [a]);
const drawn = (level = "workload", query = "", o = {}) => {
  const m = o.model ?? model();
  const layout = new L.Layout();
  layout.arrange(m, o.edges ?? EDGES);
  return { m, layout, s: S.buildScene({ model: m, layout, numbers: new L.Numbers(), level, filter: Q.compile(query, m), edges: { workload: o.edges ?? EDGES, container: o.container }, diff: o.diff }) };
};

describe("answers", () => {
  test("of any shape give edges and nodes, or none", () => {
    for (const bad of [null, 1, "x", [], { nodes: 4, edges: { a: 1 } }, { nodes: [null, 3, {}], edges: [null, { id: "a" }, { id: 5, from: "x" }] }]) {
      const a = G.answerFrom(bad);
      assert.deepEqual([a.nodes, a.edges], [[], []]);
    }
    const e = G.edgeFrom({ id: "1", from: "a:x", to: "a:y", port: "80", bytes_in: null, clients: "no", port_samples: ["7", {}], new: 1 });
    assert.deepEqual([e.port, e.bytesIn, e.clients, e.samples, e.isNew], [80, 0, [], [7, 0], false]);
  });
  test("a diff's changed edges are flat, as the API gives them", () => {
    const d = G.diffFrom({ new: [], gone: [], nodes: [], changed: [{ id: "1", from: "a", to: "b", bytes_ratio: 3, connections_ratio: null }] });
    assert.deepEqual([d.changed[0].edge.from, d.changed[0].bytesRatio, d.changed[0].connectionsRatio], ["a", 3, 0]);
  });
  test("ids are escaped as the server does", () => {
    assert.equal(G.unitId("a/b%", "c/d"), "w:a%2Fb%25/c/d");
    assert.equal(G.containerId("node/1", "abc"), "c:node%2F1/abc");
  });
});

describe("what an edge is", () => {
  test("scans before failures before new ones", () => {
    assert.equal(G.flagOf(edge("a", "b", { ports: 900, refused: 900, new: true })), "scan");
    assert.equal(G.flagOf(edge("a", "b", { addresses: 2 })), "scan");
    assert.equal(G.flagOf(edge("a", "b", { refused: 5, new: true })), "fail");
    assert.equal(G.flagOf(edge("a", "b", { refused: 4 })), "", "four of ten");
    assert.equal(G.flagOf(edge("a", "b", { connections: 0, half_open: 3, bytes_out: 0, bytes_in: 0 })), "fail");
    assert.equal(G.flagOf(edge("a", "b", { new: true })), "new");
  });
  test("where most is new, nothing is drawn as new, and state:new still finds it", () => {
    const many = Array.from({ length: 12 }, (_, i) => edge("w:shop/web", "w:shop/api", { port: i + 1, new: i < 5 }));
    G.settleFresh(many);
    assert.equal(many.filter((e) => G.flagOf(e) === "new").length, 0);
    assert.equal(many.filter(Q.compile("state:new", model()).edge).length, 5);
    G.settleFresh(many.slice(3));
    assert.equal(G.flagOf(many[4]), "new");
  });
  test("quiet ones have a chip each, and only what the server calls hidden is quiet", () => {
    assert.equal(G.quietOf(edge("a", "rt:docker-dns", { port: 53, hidden: true })), "dns");
    assert.equal(G.quietOf(edge("a", "rt:docker", { port: 0, proto: "unix", hidden: true })), "runtime");
    assert.equal(G.quietOf(edge("a", "b", { hidden: true })), "health");
    assert.equal(G.quietOf(edge("a", "net:8.8.8.8/32", { port: 53 })), "");
  });
  test("width is logarithmic in bytes", () => {
    const w = [1e3, 1e6, 1e9].map(G.widthOf);
    assert.ok(w[0] < w[1] && w[1] < w[2]);
    assert.ok(Math.abs(w[2] - w[1] - (w[1] - G.widthOf(1e3 - 1))) < 0.3);
    assert.ok(G.widthOf(1e18) <= 6);
  });
});

describe("the model", () => {
  test("what talks to nobody has its place; ended containers have none; outside is there for its connections alone", () => {
    const known = [{ id: "1", name: "lonely-1", application: "quiet", workload: "lonely", node: "n", state: "running", image: "i" }, { id: "2", name: "old", application: "quiet", workload: "old", node: "n", state: "exited", image: "i" }];
    const m = G.buildModel(known, [answer([...NODES, { id: "dns:nobody", kind: "name", name: "nobody" }])]);
    assert.ok(m.units.has("w:quiet/lonely") && m.conts.has("c:n/1"));
    assert.ok(!m.units.has("w:quiet/old") && !m.units.has("dns:nobody"));
  });
  test("who comes in stands left, who is asked right, and stays where it was", () => {
    const m = model();
    assert.equal(m.units.get("net:203.0.113.0/24").group, "g:in");
    assert.equal(m.units.get("dns:pay.example").group, "g:out");
    assert.equal(G.buildModel([], [answer()], (id) => (id === "dns:pay.example" ? "g:in" : undefined)).units.get("dns:pay.example").group, "g:in");
  });
});

describe("the filter", () => {
  const hits = (q) => EDGES.filter(Q.compile(q, model()).edge).map((e) => `${e.from.split("/").pop()}>${e.to.split("/").pop()}:${e.port}`);
  test("keys, ranges, lists, not, quotes", () => {
    assert.deepEqual(hits("port:5432"), ["api>db:5432", "report>db:5432"]);
    assert.deepEqual(hits("port:8000-9500"), ["web>api:8080", "web>api:9090"]);
    assert.deepEqual(hits("port:9090,5432 -svc:report"), ["api>db:5432", "web>api:9090"]);
    assert.deepEqual(hits("from:api"), ["api>db:5432", "api>dns:pay.example:443"]);
    assert.deepEqual(hits("app:office"), ["report>db:5432"]);
    assert.deepEqual(hits("state:failing"), ["report>db:5432"]);
    assert.deepEqual(hits("proto:tls"), ["24>web:443"]);
    assert.deepEqual(hits('"shop.example"'), ["24>web:443"]);
    assert.deepEqual(hits("exe:node"), ["web>api:8080"]);
    assert.deepEqual(hits("nothing-like-it"), []);
    assert.equal(hits("").length, EDGES.length);
  });
  test("an unknown key is text, a half-written term filters nothing away by mistake", () => {
    assert.deepEqual(Q.parse("foo:bar")[0], { key: "", values: ["foo:bar"], not: false });
    assert.deepEqual(Q.parse("app: port:"), []);
    assert.ok(Q.asksContainers(Q.parse("container:web-1")));
  });
  test("a chip's term is put in and taken out again", () => {
    assert.equal(Q.toggleTerm("app:shop", "state:new"), "app:shop state:new");
    assert.equal(Q.toggleTerm("app:shop state:new", "state:new"), "app:shop");
    assert.equal(Q.quoted("a b"), '"a b"');
  });
});

describe("the address", () => {
  test("what was written is read again, and what is usual is left out", () => {
    const a = { level: "container", query: "port:1 x", show: ["dns"], range: 24 * A.HOUR, window: 600_000, until: Date.parse("2026-01-02T03:04:05Z"), select: "w:a/b", to: "w:c/d", edge: "0123", table: true, diff: true, at: { x: -12, y: 4, k: 0.512 }, sort: "-from" };
    const p = new URLSearchParams(Object.entries(A.writeAddress(a)).filter(([, v]) => v !== undefined));
    assert.deepEqual(A.readAddress(p), a);
    const usual = A.readAddress(new URLSearchParams());
    assert.deepEqual(Object.values(A.writeAddress(usual)).filter((v) => v !== undefined), []);
  });
  test("nonsense becomes the usual", () => {
    const a = A.readAddress(new URLSearchParams("level=x&range=7&win=-4&until=never&at=1,2&show=evil"));
    assert.deepEqual([a.level, a.range, a.window, a.until, a.at, a.show], ["auto", 6 * A.HOUR, A.MIN_WINDOW, 0, null, []]);
    for (const until of ["-271821-04-20T00:00:00Z", "+275760-09-13T00:00:00Z", "1969-12-31T00:00:00Z"]) {
      const b = A.readAddress(new URLSearchParams({ until }));
      assert.equal(b.until, 0);
      A.stamp(A.spanOf(b, Date.now()).since);
    }
  });
});

describe("levels of detail", () => {
  test("the scale decides, and holds on a little", () => {
    assert.deepEqual([0.2, 0.6, 2].map((k) => S.levelAt(k)), ["application", "workload", "container"]);
    assert.equal(S.levelAt(0.44, "workload"), "workload");
    assert.equal(S.levelAt(0.44, "application"), "application");
    assert.equal(S.levelAt(0.3, "workload"), "application");
  });
  test("applications are joined by one line each way, over it what fails from workload to workload", () => {
    const { s } = drawn("application");
    const under = s.lines.filter((l) => !l.top).map((l) => `${l.from}>${l.to}`).sort();
    assert.deepEqual(under, ["a:office>a:shop", "a:shop>g:out", "g:in>a:shop"]);
    assert.deepEqual(s.lines.filter((l) => l.top).map((l) => [l.from, l.to, l.flag]), [["w:office/report", "w:shop/db", "fail"]]);
    assert.equal(s.byBox.get("a:office").flagged, 1);
    assert.equal(s.ego("w:shop/api").length, 3, "a workload's ego network is there at the level of applications too");
  });
  test("workloads: one line for a pair, with all its ports", () => {
    const { s } = drawn("workload");
    const l = s.lines.find((x) => x.from === "w:shop/web" && x.to === "w:shop/api");
    assert.deepEqual(l.pair.edges.map((e) => e.port), [8080, 9090]);
    assert.equal(s.lines.length, 5);
    assert.equal(s.units.find((u) => u.id === "w:shop/api").dots.length, 3);
  });
  test("containers: lines end at their dots", () => {
    const known = [1, 2, 3].map((i) => ({ id: `c${i}`, name: `api-${i}`, application: "shop", workload: "api", node: "n", state: "running", image: "" }));
    const m = G.buildModel(known, [answer()]);
    const container = [edge("c:n/c1", "w:shop/db")];
    const { s } = drawn("container", "", { model: m, container });
    const dot = s.byUnit.get("w:shop/api").dots.find((d) => d.id === "c:n/c1");
    assert.ok(Math.hypot(s.lines[0].p[0] - dot.x, s.lines[0].p[1] - dot.y) < 8);
  });
  test("a filter dims what it leaves out and moves nothing", () => {
    const all = drawn("workload").s;
    const some = drawn("workload", "svc:report").s;
    assert.deepEqual(some.units.filter((u) => !u.dim).map((u) => u.id).sort(), ["w:office/report", "w:shop/db"]);
    assert.equal(some.shownEdges, 1);
    for (const u of all.units) assert.deepEqual([some.byUnit.get(u.id).x, some.byUnit.get(u.id).y], [u.x, u.y]);
  });
  test("a diff draws what went as well", () => {
    const gone = edge("w:office/report", "w:shop/web", { port: 7 });
    const { s } = drawn("workload", "", { diff: { fresh: [EDGES[2]], gone: [gone], changed: [{ edge: EDGES[3], bytesRatio: 4, connectionsRatio: 1 }], nodes: [] } });
    const by = Object.fromEntries(s.lines.map((l) => [`${l.from.split("/").pop()}>${l.to.split("/").pop()}`, l.mode]));
    assert.equal(by["api>db"], "new");
    assert.equal(by["report>web"], "gone");
    assert.equal(by["api>dns:pay.example"], "changed");
    assert.equal(by["web>api"], "");
  });
});

describe("labels", () => {
  const measure = (text, px) => text.length * px * 0.55;
  test("none lies on another, the flagged come first, and none is there when it is too small", () => {
    const { s } = drawn("workload");
    for (const k of [0.5, 0.8, 1.4, 2.5]) {
      const labels = S.placeLabels(s, k, measure).filter((l) => l.kind === "unit");
      for (const [i, a] of labels.entries()) for (const b of labels.slice(i + 1)) {
        if (a.flag && b.flag) continue;
        assert.ok(Math.abs(a.x - b.x) * k >= (a.w + b.w) / 2 || Math.abs(a.y - b.y) * k >= 12, `${a.text} and ${b.text} at ${k}`);
      }
    }
    assert.ok(S.placeLabels(s, 0.5, measure).some((l) => l.text === "report" && l.flag === "fail"));
    assert.equal(S.placeLabels(s, 0.2, measure).filter((l) => l.kind === "unit").length, 0);
  });
  test("a line's sign lies on no name, node or other sign", () => {
    const { s } = drawn("workload", "", { edges: EDGES.map((e) => ({ ...e, fresh: true })) });
    for (const k of [0.6, 1, 2]) {
      const labels = S.placeLabels(s, k, measure).filter((l) => l.kind !== "note");
      assert.ok(s.signAt.size >= 4, `${s.signAt.size} signs at ${k}`);
      const at = s.lines.filter((l) => s.signAt.has(l.key)).map((l) => S.pointAt(l.p, s.signAt.get(l.key)));
      for (const [i, [x, y]] of at.entries()) {
        for (const u of s.units) assert.ok(Math.abs(u.x - x) >= u.r || Math.abs(u.y - y) >= u.r, `on ${u.id} at ${k}`);
        for (const l of labels.filter((m) => m.kind === "unit")) assert.ok(Math.abs(l.x - x) * k >= l.w / 2 || Math.abs(l.y - y) * k >= 5, `on ${l.text} at ${k}`);
        for (const [x2, y2] of at.slice(i + 1)) assert.ok(Math.hypot(x - x2, y - y2) * k >= 17);
      }
    }
  });
  test("long names lose their middle, hidden characters are written out", () => {
    assert.equal(S.fit("payments-service-backend-7", 10, 80, measure).includes("…"), true);
    assert.ok(S.fit("payments-service-backend-7", 10, 80, measure).endsWith("7"));
    const m = model(answer([workload("shop", "\u202Egnp.exe")], [edge("w:shop/\u202Egnp.exe", "w:shop/\u202Egnp.exe")]));
    const { s } = drawn("workload", "", { model: m, edges: [] });
    assert.ok(S.placeLabels(s, 1, measure).some((l) => l.text.startsWith("‹202E›")));
  });
});

describe("pointing and walking", () => {
  test("a node before a line before a box before nothing", () => {
    const { s } = drawn("workload");
    const u = s.byUnit.get("w:shop/api");
    assert.deepEqual(S.hitTest(s, u.x, u.y, 1), { kind: "unit", id: "w:shop/api" });
    const l = s.lines.find((x) => x.from === "w:shop/api" && x.to === "dns:pay.example");
    const mid = [0.125 * (l.p[0] + 3 * l.p[2] + 3 * l.p[4] + l.p[6]), 0.125 * (l.p[1] + 3 * l.p[3] + 3 * l.p[5] + l.p[7])];
    assert.ok(S.toCurve(l.p, ...mid) < 1);
    assert.equal(S.hitTest(s, ...mid, 1).id, l.key);
    const b = s.byBox.get("a:office");
    assert.deepEqual(S.hitTest(s, b.x + 3, b.y + b.h - 3, 1), { kind: "box", id: "a:office" });
    assert.equal(S.hitTest(s, s.left - 500, s.up - 500, 1), null);
  });
  test("arrow keys go to a neighbour in that direction and reach everything", () => {
    const { s } = drawn("workload");
    assert.ok(s.byUnit.has(S.nextIn(s, "", "ArrowRight")));
    const reached = new Set();
    const walk = (id) => {
      if (!id || reached.has(id)) return;
      reached.add(id);
      const at = S.positionOf(s, id);
      for (const [key, dx, dy] of [["ArrowLeft", -1, 0], ["ArrowRight", 1, 0], ["ArrowUp", 0, -1], ["ArrowDown", 0, 1]]) {
        const to = S.nextIn(s, id, key);
        if (!to) continue;
        const p = S.positionOf(s, to);
        assert.ok((p.x - at.x) * dx + (p.y - at.y) * dy > 0);
        walk(to);
      }
    };
    walk(s.units[0].id);
    assert.equal(reached.size, s.units.length);
    assert.equal(S.nextIn(s, s.units[0].id, "Enter"), "");
  });
});
