/* SPDX-License-Identifier: Apache-2.0 */
/* The incident as a picture: a lane for each container and node, a mark for each line of the timeline, arrows where it went from one to the other. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { age, clock } from "../../lib/format";
import { type Incident, lanesOf, BASES } from "../../lib/incidents";
import { visible } from "../../lib/text";
import { Icon } from "../../parts/icons";
import { T } from "../../parts/ui";

const ROW = 34;
const HEAD = 20;
const MOST = 24;

export function LanesView({ incident, selected, onSelect }: { incident: Incident; selected: number; onSelect: (n: number) => void }) {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(700);
  const [all, setAll] = useState(false);
  useEffect(() => {
    const w = new ResizeObserver(() => box.current && setWidth(Math.max(160, box.current.clientWidth)));
    w.observe(box.current!);
    return () => w.disconnect();
  }, []);
  const picture = useMemo(() => lanesOf(incident, 11 / width), [incident, width]);
  const lanes = all ? picture.lanes : picture.lanes.slice(0, MOST);
  const inner = width - 28;
  const x = (f: number) => 14 + f * inner;
  const y = (lane: number) => HEAD + lane * ROW + ROW / 2;
  const height = HEAD + lanes.length * ROW;
  const move = (e: KeyboardEvent) => {
    const step = e.key === "ArrowRight" || e.key === "ArrowDown" ? 1 : e.key === "ArrowLeft" || e.key === "ArrowUp" ? -1 : 0;
    if (!step) return;
    e.preventDefault();
    onSelect(Math.min(incident.lines.length - 1, Math.max(0, selected + step)));
  };
  const now = incident.lines[selected];
  return (
    <figure class="lanes">
      <div class="lanes-body">
        <ul class="lane-names" style={{ paddingTop: `${HEAD}px` }} aria-label="Lanes">
          {lanes.map((l) => <li key={l.key} style={{ height: `${ROW}px` }} class={l.host ? "host" : ""}><Icon name={l.host ? "host" : "containers"} title={l.host ? "node" : "container"} /><span><T s={l.name} max={64} title />{l.node && <small><T s={l.node} max={32} /></small>}</span></li>)}
        </ul>
        <div ref={box} class="lane-area" role="slider" tabIndex={0} aria-label="Steps of the incident" aria-valuemin={1} aria-valuemax={incident.lines.length} aria-valuenow={selected + 1}
          aria-valuetext={now ? `${clock(now.at)} ${visible(now.rule, 120)}, ${visible(now.container || now.node, 60)}` : undefined} onKeyDown={move}>
          <svg width={width} height={height} viewBox={`0 0 ${width} ${height}`} aria-hidden="true" focusable="false">
            <defs><marker id="lane-head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto-start-reverse"><path d="M0 0 8 4 0 8z" class="lane-arrow-head" /></marker></defs>
            {lanes.map((l, n) => <g key={l.key}>{n % 2 === 0 && <rect x="0" y={HEAD + n * ROW} width={width} height={ROW} class="lane-stripe" />}<path d={`M0 ${y(n)}H${width}`} class={`lane-line ${l.host ? "host" : ""}`} /></g>)}
            {picture.ticks.map((t) => <g key={t.at}><path d={`M${x(t.x)} ${HEAD - 4}V${height}`} class="lane-tick" /><text x={Math.min(x(t.x), width - 56)} y="11" class="lane-time">{clock(t.at)}</text></g>)}
            {picture.arrows.filter((a) => a.from < lanes.length && a.to < lanes.length).map((a, n) => {
              const down = a.to > a.from ? 1 : -1;
              const x0 = x(a.x0);
              const x1 = x(a.x1);
              return <path key={n} class={`lane-arrow by-${a.why}`} d={`M${x0} ${y(a.from) + down * 6}C${x0} ${(y(a.from) + y(a.to)) / 2} ${x1} ${(y(a.from) + y(a.to)) / 2} ${x1} ${y(a.to) - down * 8}`} marker-end="url(#lane-head)"><title>{BASES[a.why] ?? a.why}</title></path>;
            })}
            {picture.marks.filter((m) => m.lane < lanes.length).map((m) => (
              <g key={m.i} class={`lane-mark ${m.grave ? "grave" : ""} ${m.i === selected ? "selected" : ""}`} transform={`translate(${x(m.x)} ${y(m.lane)})`} onClick={() => onSelect(m.i)}>
                <title>{`${clock(incident.lines[m.i].at)} ${visible(incident.lines[m.i].rule, 200)}`}</title>
                <circle r="11" class="lane-hit" />{m.grave ? <path d="M0-6 6 0 0 6-6 0z" /> : <circle r="4.5" />}
              </g>
            ))}
          </svg>
        </div>
      </div>
      <figcaption>
        <span><svg width="12" height="12" viewBox="-7 -7 14 14" class="lane-mark grave" aria-hidden="true"><path d="M0-6 6 0 0 6-6 0z" /></svg> grave</span>
        <span><svg width="12" height="12" viewBox="-7 -7 14 14" class="lane-mark" aria-hidden="true"><circle r="4.5" /></svg> lesser</span>
        <span class="dim">{age(picture.span)} from the first to the last step</span>
        {picture.lanes.length > MOST && <button type="button" class="link" onClick={() => setAll(!all)}>{all ? "Fewer lanes" : `All ${picture.lanes.length} lanes`}</button>}
      </figcaption>
    </figure>
  );
}
