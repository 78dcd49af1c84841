/* SPDX-License-Identifier: Apache-2.0 */
/* One event: the line that says what happened, then every field in groups, then the event as it came. */
import { href } from "../../app/router";
import { date, toMs } from "../../lib/format";
import { describe, groupOf, type BhEvent } from "../../lib/events";
import { visible } from "../../lib/text";
import { Drawer } from "../../parts/drawer";
import { Glyph, Icon } from "../../parts/icons";
import { Button, Copy, Facts, Section, T } from "../../parts/ui";

const SECTIONS: [string, (k: string) => boolean][] = [
  ["Process", (k) => k.startsWith("proc.")],
  ["Parent", (k) => k.startsWith("parent.") && k !== "parent.cgroup"],
  ["Container", (k) => k.startsWith("container.") || k.startsWith("origin.")],
  ["Network", (k) => k.startsWith("net.")],
  ["Target", (k) => k.startsWith("target.") || k.startsWith("child.") || k.startsWith("exit.")],
  ["Credentials", (k) => k.startsWith("cred.")],
  ["Namespaces and cgroup", (k) => k.startsWith("ns.") || k.startsWith("cgroup.") || k === "parent.cgroup" || k === "ns_flags"],
  ["Act", (k) => !["id", "time", "type", "source", "node", "count", "flags", "boottime"].includes(k)],
  ["Record", () => true],
];

function Value({ v }: { v: unknown }) {
  if (Array.isArray(v)) return v.length ? <ol class="strings">{v.map((x, i) => <li key={i} class="mono wrap"><T s={String(x)} max={2048} /></li>)}</ol> : <span class="none">empty</span>;
  if (v && typeof v === "object") return <dl class="labels">{Object.entries(v as Record<string, unknown>).map(([k, x]) => <div key={k}><dt class="mono wrap"><T s={k} max={256} /></dt><dd class="mono wrap"><T s={String(x)} max={1024} /></dd></div>)}</dl>;
  if (typeof v === "boolean") return <>{v ? "yes" : "no"}</>;
  return <span class="mono wrap"><T s={String(v)} /></span>;
}

export function EventDrawer({ event, onClose, onContainer }: { event: BhEvent; onClose: () => void; onContainer: (name: string) => void }) {
  const line = describe(event);
  const type = String(event.type ?? "event");
  const rest = new Set(Object.keys(event));
  const sections = SECTIONS.map(([title, takes]) => {
    const keys = [...rest].filter(takes);
    for (const k of keys) rest.delete(k);
    return [title, keys] as const;
  }).filter(([, keys]) => keys.length);
  /* What the event is about comes before who did it. */
  const order = ["Act", "Network", "Target", "Process", "Parent", "Container", "Credentials", "Namespaces and cgroup", "Record"];
  sections.sort((a, b) => order.indexOf(a[0]) - order.indexOf(b[0]));
  const name = String(event["container.name"] ?? event["container.id"] ?? "");
  const id = String(event["container.id"] ?? "");
  const short = (k: string) => k.replace(/^(proc|parent|net|cred|container)\./, "").replace(/[._]/g, " ");
  const raw = JSON.stringify(event, null, 2);
  return (
    <Drawer label={`Event ${type}`} focusKey={String(event.id ?? event.time)} onClose={onClose} head={
      <>
        <h2><Glyph group={groupOf(type)} />{visible(type, 32)}</h2>
        <p><time>{date(toMs(event.time))}</time> on <T s={String(event.node ?? "")} max={64} /></p>
      </>}>
      <p class={`event-line mono wrap ${line.failed ? "failed" : ""}`}><T s={line.main} />{line.tail && <T s={line.tail} class="e-tail" />}</p>
      {name && <p class="drawer-links"><Button glyph="filter" onClick={() => onContainer(name)}>Only this container</Button>{id && <a class="button" href={href("/containers", { id })}><Icon name="containers" />Container</a>}</p>}
      {sections.map(([title, keys]) => (
        <Section key={title} title={title} open={title !== "Namespaces and cgroup" && title !== "Record"}>
          <Facts rows={keys.map((k) => [visible(title === "Act" || title === "Target" || title === "Record" ? k.replace(/[._]/g, " ") : short(k), 48), <Value v={event[k]} />])} />
        </Section>
      ))}
      <Section title="As it came" open={false}>
        <div class="raw"><Copy text={raw} label="Copy the event as JSON" /><pre tabIndex={0} aria-label="The event as JSON">{raw.split("\n").map((l) => visible(l)).join("\n")}</pre></div>
      </Section>
    </Drawer>
  );
}
