// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const { SseReader, backoff } = await load("lib/sse.ts");
const { Hub, MAX_STREAMS } = await load("live/hub.ts");

test("events are the same however their bytes are cut", () => {
  const text = "retry: 1000\n\n: beat\nid: 7\nevent: container\ndata: {\"a\":1}\ndata: two\r\n\r\ndata:x\rid:8\r\rdata: unfinished";
  const whole = new SseReader().push(text);
  assert.deepEqual(whole, [{ id: "7", event: "container", data: '{"a":1}\ntwo' }, { id: "8", event: "message", data: "x" }]);
  for (let cut = 1; cut < text.length; cut++) {
    const r = new SseReader();
    assert.deepEqual([...r.push(text.slice(0, cut)), ...r.push(text.slice(cut))], whole, `cut at ${cut}`);
    assert.equal(r.comments, 1);
  }
  const r = new SseReader();
  assert.deepEqual([...text].flatMap((c) => r.push(c)), whole);
  assert.equal(r.retryMs, 1000);
  assert.equal(r.lastId, "8");
});

test("a line without end takes no memory without end", () => {
  const r = new SseReader();
  const piece = "x".repeat(1 << 20);
  for (let i = 0; i < 8; i++) r.push(piece);
  assert.equal(r.refused, 1);
  assert.deepEqual(r.push("\n\ndata: after\n\n"), [{ id: "", event: "message", data: "after" }]);
});

test("back-off grows to its bound and is spread", () => {
  assert.ok(backoff(0, 0) < 500 && backoff(0, 1) <= 625);
  assert.equal(backoff(50, 0.5), 15_000);
});

/* A server of streams for the hub: answer(url, headers) → Response. */
function hub(answer) {
  const asked = [];
  const h = new Hub((url, o) => {
    asked.push({ url, headers: o.headers });
    return Promise.resolve(answer(url, o, asked.length));
  });
  return { h, asked };
}
function pipe(signal) {
  let ctrl;
  const body = new ReadableStream({ start: (c) => (ctrl = c) });
  signal?.addEventListener("abort", () => { try { ctrl.error(Object.assign(new Error("aborted"), { name: "AbortError" })); } catch { /* ended already */ } });
  return { response: new Response(body, { status: 200 }), put: (t) => ctrl.enqueue(new TextEncoder().encode(t)), end: () => ctrl.close() };
}
const until = async (what, f) => {
  for (let i = 0; i < 400; i++) {
    if (f()) return;
    await new Promise((r) => setTimeout(r, 10));
  }
  assert.fail(`never: ${what}`);
};

test("tabs with the same address share one connection, and it ends with the last of them", async () => {
  let p, aborted = false;
  const { h, asked } = hub((url, o) => { p = pipe(o.signal); o.signal.addEventListener("abort", () => (aborted = true)); return p.response; });
  const got = { a: [], b: [] };
  h.handle("a", { op: "sub", url: "/s", resume: true }, (m) => got.a.push(m));
  h.handle("b", { op: "sub", url: "/s", resume: true }, (m) => got.b.push(m));
  await until("live", () => got.a.some((m) => m.state === "live"));
  p.put("id: 5\ndata: hi\n\n");
  await until("both told", () => got.a.some((m) => m.kind === "events") && got.b.some((m) => m.kind === "events"));
  assert.equal(asked.length, 1);
  h.handle("a", { op: "bye" }, () => {});
  assert.equal(aborted, false);
  h.handle("b", { op: "unsub", url: "/s" }, () => {});
  assert.equal(aborted, true);
  h.close();
});

test("a broken connection is said as stale and resumed after the last id", async () => {
  const pipes = [];
  const { h, asked } = hub((url, o) => { const p = pipe(o.signal); pipes.push(p); return p.response; });
  const got = [];
  h.handle("a", { op: "sub", url: "/s", resume: true }, (m) => got.push(m));
  await until("live", () => got.some((m) => m.state === "live"));
  pipes[0].put("id: 42\nevent: hello\ndata: {}\n\n");
  await until("event", () => got.some((m) => m.kind === "events"));
  pipes[0].end();
  await until("stale", () => got.some((m) => m.state === "stale"));
  await until("again", () => asked.length === 2);
  assert.equal(asked[1].headers["last-event-id"], "42");
  h.close();
});

test("a refusal ends it, and another tab's login tries anew", async () => {
  let allowed = false;
  const { h, asked } = hub((url, o) => (allowed ? pipe(o.signal).response : new Response("", { status: 401 })));
  const got = [];
  h.handle("a", { op: "sub", url: "/s", resume: false }, (m) => got.push(m));
  await until("denied", () => got.some((m) => m.state === "denied"));
  assert.equal(asked.length, 1);
  allowed = true;
  h.handle("a", { op: "sub", url: "/s", resume: false }, (m) => got.push(m));
  await until("live", () => got.some((m) => m.state === "live"));
  h.close();
});

test("the server's reason for a failure is passed on", async () => {
  const { h } = hub(() => new Response('{"error":{"code":"busy","message":"too many streams are open"}}', { status: 429 }));
  const got = [];
  h.handle("a", { op: "sub", url: "/s", resume: false }, (m) => got.push(m));
  await until("stale", () => got.some((m) => m.state === "stale"));
  assert.equal(got.find((m) => m.state === "stale").why, "too many streams are open");
  h.close();
});

test("more streams than the browser has connections for are refused and said", async () => {
  const { h, asked } = hub((url, o) => pipe(o.signal).response);
  const got = [];
  for (let i = 0; i <= MAX_STREAMS; i++) h.handle("a", { op: "sub", url: `/s${i}`, resume: false }, (m) => got.push(m));
  await until("asked", () => asked.length === MAX_STREAMS);
  assert.equal(got.filter((m) => m.state === "full").length, 1);
  h.close();
});
