// SPDX-License-Identifier: Apache-2.0
// Just enough protobuf to speak the bus as a node does (api/bus.proto, api/bulkhead.proto): fields by number.
const varint = (n) => {
  const out = [];
  for (let v = BigInt.asUintN(64, BigInt(n)); ; v >>= 7n) {
    if (v < 0x80n) return Buffer.from([...out, Number(v)]);
    out.push(Number(v & 0x7fn) | 0x80);
  }
};
/* Numbers as one packed field: zeros count. */
export const packed = (numbers) => Buffer.concat(numbers.map(varint));
const tag = (field, wire) => varint((field << 3) | wire);

/* fields: [number, value]: numbers and booleans as varints, text and bytes with their length, arrays as repeated; undefined is left out. */
export function encode(fields) {
  const parts = [];
  const put = (field, v) => {
    if (v === undefined || v === null || v === 0 || v === false || v === "") return;
    if (Array.isArray(v)) for (const x of v) put(field, x);
    else if (v.fixed64 !== undefined) {
      const b = Buffer.alloc(8);
      b.writeBigUInt64LE(BigInt(v.fixed64));
      parts.push(tag(field, 1), b);
    } else if (typeof v === "string" || Buffer.isBuffer(v)) {
      const b = Buffer.from(v);
      parts.push(tag(field, 2), varint(b.length), b);
    } else parts.push(tag(field, 0), varint(v === true ? 1 : v));
  };
  for (const [field, v] of fields) put(field, v);
  return Buffer.concat(parts);
}

/* → { number: [values] }: varints as BigInt, the rest as Buffer. */
export function decode(buf) {
  const out = {};
  let i = 0;
  const read = () => {
    let v = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const b = buf[i++];
      v |= BigInt(b & 0x7f) << shift;
      if (b < 0x80) return v;
    }
  };
  while (i < buf.length) {
    const t = Number(read());
    let v;
    if ((t & 7) === 0) v = read();
    else {
      const n = (t & 7) === 1 ? 8 : (t & 7) === 5 ? 4 : Number(read());
      v = buf.subarray(i, i + n);
      i += n;
    }
    (out[t >> 3] ??= []).push(v);
  }
  return out;
}

export const container = (c) => encode([
  [1, c.id], [2, c.name], [3, c.image], [4, c.image_id], [5, c.image_digest], [6, c.runtime ?? "docker"], [7, c.state ?? "running"], [8, c.level ?? "full"], [9, c.workload], [10, c.application],
  [13, Object.entries(c.labels ?? {}).map(([k, v]) => encode([[1, k], [2, v]]))],
  [14, (c.mounts ?? []).map((m) => encode([[1, m.type], [2, m.source], [3, m.destination], [4, m.rw], [5, m.sensitive]]))],
  [15, (c.networks ?? []).map((n) => encode([[1, n.name], [3, n.ip]]))],
  [16, (c.ports ?? []).map((p) => encode([[1, p.host_ip], [2, p.protocol], [3, p.container_port], [4, p.host_port]]))],
  [17, c.cap_add], [19, c.devices], [20, c.security_opt], [21, c.env_names], [29, c.privileged], [30, c.host_network], [31, c.host_pid], [37, c.created_ns], [38, c.started_ns], [39, c.finished_ns]]);

export const event = (e) => encode([
  [1, e.id], [2, { fixed64: e.time_ns }], [3, e.type], [4, e.source ?? 0], [5, e.node], [6, e.count ?? 1], [20, e.pid], [25, e.comm], [26, e.exe],
  [27, e.args && Buffer.concat(e.args.map((a) => Buffer.concat([Buffer.from(a), Buffer.from([0])])))], [80, e.container_id], [81, e.container_name], [100, e.path], [105, e.open_flags]]);

/* "10.0.0.1" → four bytes; only what tests use. */
const ip4 = (s) => s && Buffer.from(s.split(".").map(Number));

/* A Flow of api/bus.proto, told by the side that began it (role "server": by the other); see environment.mjs for its fields. */
export const flow = (f) => {
  const server = f.role === "server";
  const [self, peer] = server ? [f.to, f.from] : [f.from, f.to];
  return encode([
    [1, self.id], [2, server ? f.peerExe : f.exe], [3, server ? 2 : 1], [4, f.proto ?? 6], [6, ip4(peer.ip)], [7, f.port], [11, ip4(f.dialled?.[0])], [12, f.dialled?.[1]], [13, peer.id], [14, f.peerHost], [15, server ? f.exe : f.peerExe], [16, f.name ?? peer.name],
    [18, f.protocol], [19, f.serverName], [30, f.connections], [31, f.refused], [32, f.timedOut], [35, f.reset], [36, server ? f.bytesIn : f.bytesOut], [37, server ? f.bytesOut : f.bytesIn], [38, f.bytesOut && Math.ceil(f.bytesOut / 1400)], [39, f.bytesIn && Math.ceil(f.bytesIn / 1400)],
    [40, f.connections * 200_000_000], [41, BigInt(Math.round(f.first)) * 1_000_000n], [42, BigInt(Math.round(f.last)) * 1_000_000n], [50, f.open], [60, f.ports], [61, f.addresses], [62, f.samples],
  ]);
};
export const listener = (l) => encode([[1, l.id], [2, l.exe], [3, l.pid ?? 1], [4, l.proto ?? 6], [5, ip4(l.ip ?? "0.0.0.0")], [6, l.port], [7, l.path]]);

/* lineage: [{ pid, exe, args: […], container_id }], the process of the event first. */
export const finding = (f) => encode([
  [1, f.id], [2, f.time_ns], [3, f.rule], [4, f.priority ?? "critical"], [5, "syscall"], [6, f.output ?? f.rule], [7, f.node], [8, f.container?.id], [9, f.container?.name], [10, f.container?.workload], [11, f.container?.application], [12, f.tags],
  [13, f.event && event({ id: 1, time_ns: f.time_ns, node: f.node, ...f.event })], [15, "rule"], [16, f.description], [17, f.advice], [18, f.count], [20, f.fold],
  [23, (f.lineage ?? []).map((p) => encode([[1, p.pid], [5, BigInt(f.time_ns) - 1_000_000_000n], [6, p.container_id], [9, p.exe], [10, p.args && Buffer.concat(p.args.map((a) => Buffer.from(`${a}\0`)))]]))]]);

export const observation = (o) => encode([
  [1, o.node], [2, o.container.id], [3, o.container.workload], [4, o.container.application], [5, o.container.image_digest], [6, o.kind ?? "exec"], [7, o.subject], [8, o.parent], [9, o.count ?? 1], [10, o.first_ns], [11, o.last_ns], [12, o.detail], [14, o.example],
  [15, o.suspicious], [16, o.why], [17, o.sums && encode(o.sums)]]);

export const resource = (r) => encode([[1, r.kind], [2, r.id], [3, r.name], [4, Object.entries(r.labels ?? {}).map(([k, v]) => encode([[1, k], [2, v]]))], [5, r.application], [6, JSON.stringify(r.detail ?? {})], [7, r.created_ns]]);
