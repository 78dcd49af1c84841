/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reader of text/event-stream (WHATWG HTML §9.2), fed with text as it arrives. Written by hand, and used with fetch(), for an
 * EventSource hides comments (the server's heartbeat, by which a dead connection is known) and the status of a refusal.
 * A line or an event's data longer than MAX is dropped and counted.
 */
export interface SseEvent { id: string; event: string; data: string }

const MAX = 4 << 20;

export class SseReader {
  #buffer = "";
  #skipping = false;
  #data: string[] = [];
  #size = 0;
  #event = "";
  #afterCr = false;
  lastId = "";
  retryMs = 0;
  comments = 0;
  refused = 0;

  push(chunk: string): SseEvent[] {
    const out: SseEvent[] = [];
    if (this.#afterCr && chunk.startsWith("\n")) chunk = chunk.slice(1);
    if (chunk) this.#afterCr = chunk.endsWith("\r");
    const lines = chunk.split(/\r\n|\r|\n/);
    for (let i = 0; i < lines.length; i++) {
      const last = i === lines.length - 1;
      if (!this.#skipping) {
        if (this.#buffer.length + lines[i].length > MAX) {
          this.#skipping = true;
          this.#buffer = "";
          this.refused++;
        } else {
          this.#buffer += lines[i];
        }
      }
      if (last) break;
      if (this.#skipping) this.#skipping = false;
      else this.#line(this.#buffer, out);
      this.#buffer = "";
    }
    return out;
  }

  #line(line: string, out: SseEvent[]): void {
    if (line === "") {
      if (this.#data.length) out.push({ id: this.lastId, event: this.#event || "message", data: this.#data.join("\n") });
      this.#data = [];
      this.#size = 0;
      this.#event = "";
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) {
      this.comments++;
      return;
    }
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    switch (field) {
      case "data":
        this.#size += value.length;
        if (this.#size > MAX) this.refused++;
        else this.#data.push(value);
        break;
      case "event": this.#event = value; break;
      case "id": if (!value.includes("\0")) this.lastId = value; break;
      case "retry": if (/^\d+$/.test(value)) this.retryMs = Number(value); break;
    }
  }
}

/* Wait before the n-th attempt (from 0) to connect again, with jitter so that many tabs do not come at once. */
export function backoff(n: number, random = Math.random()): number {
  return Math.min(15_000, 500 * 2 ** Math.min(n, 10)) * (0.75 + random * 0.5);
}
