/* SPDX-License-Identifier: Apache-2.0 */
/* Line icons on a 16 px grid, drawn here; decorative unless a title is given. The glyphs of event groups differ by shape. */
import type { ComponentChildren } from "preact";

function Svg({ children, size = 16, title }: { children: ComponentChildren; size?: number; title?: string }) {
  return (
    <svg class="icon" width={size} height={size} viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.4" stroke-linecap="round" stroke-linejoin="round"
      role={title ? "img" : undefined} aria-label={title} aria-hidden={title ? undefined : "true"} focusable="false">
      {children}
    </svg>
  );
}

const shapes: Record<string, ComponentChildren> = {
  overview: <><rect x="2" y="2" width="5" height="6" rx="1" /><rect x="9" y="2" width="5" height="3.5" rx="1" /><rect x="2" y="10.5" width="5" height="3.5" rx="1" /><rect x="9" y="8" width="5" height="6" rx="1" /></>,
  incidents: <><path d="M4 11.5V7a4 4 0 0 1 8 0v4.5M2.5 13.5h11M8 1.2v.8M2.2 3.4l.7.6M13.8 3.4l-.7.6" /></>,
  models: <><circle cx="8" cy="8" r="6.2" /><circle cx="8" cy="8" r="3" /><path d="M8 1.8V5M8 11v3.2M1.8 8H5M11 8h3.2" /></>,
  responses: <><path d="M8 1.6 13.4 3.6v4c0 3.4-2.3 5.6-5.4 6.8-3.1-1.2-5.4-3.4-5.4-6.8v-4z" /><path d="M5.6 8h4.8" /></>,
  containers: <><path d="M8 1.8 14 5v6l-6 3.2L2 11V5z" /><path d="M2.2 5.1 8 8.2l5.8-3.1M8 8.2v5.8" /></>,
  map: <><circle cx="3.4" cy="8" r="1.9" /><circle cx="12.4" cy="3.6" r="1.9" /><circle cx="12.4" cy="12.4" r="1.9" /><path d="M5.2 7.2c2.4-1.2 3-2.9 5.3-3.4M5.2 8.8c2.4 1.2 3 2.9 5.3 3.4" /></>,
  fitall: <path d="M2 5.5V2h3.5M10.5 2H14v3.5M14 10.5V14h-3.5M5.5 14H2v-3.5" />,
  minus: <path d="M3 8h10" />,
  table: <><rect x="1.8" y="2.6" width="12.4" height="10.8" rx="1.2" /><path d="M2 6.4h12M6.2 6.4v7" /></>,
  diff: <><path d="M4.5 2v6M1.5 5h6M8.5 12.5h6M12.6 2.4 3.4 13.6" /></>,
  tidy: <><rect x="1.8" y="2" width="4" height="4" rx="0.8" /><rect x="1.8" y="10" width="4" height="4" rx="0.8" /><rect x="10.2" y="6" width="4" height="4" rx="0.8" /><path d="M5.8 4h1.4c1.6 0 1.4 4 3 4M5.8 12h1.4c1.6 0 1.4-4 3-4" /></>,
  host: <><rect x="1.8" y="2.5" width="12.4" height="4.6" rx="1" /><rect x="1.8" y="8.9" width="12.4" height="4.6" rx="1" /><path d="M4.4 4.8h.1M4.4 11.2h.1" stroke-width="1.8" /></>,
  outside: <><circle cx="8" cy="8" r="6.2" /><path d="M1.8 8h12.4M8 1.8c2.2 2 2.9 4 2.9 6.2S10.2 12.2 8 14.2C5.8 12.2 5.1 10.2 5.1 8S5.8 3.8 8 1.8z" /></>,
  group: <rect x="2" y="3" width="12" height="10" rx="1.6" />,
  workload: <><circle cx="8" cy="8" r="6" /><path d="M6.3 7h.1M9.6 7h.1M8 9.9h.1" stroke-width="2" /></>,
  arrow: <path d="M2.5 8h11m-4-4 4 4-4 4" />,
  events: <path d="M1.5 8.5h3l2-5.5 3 10 2-4.5h3" />,
  health: <><path d="M8 14s-5.8-3.3-5.8-7.6A3.2 3.2 0 0 1 8 4.6a3.2 3.2 0 0 1 5.8 1.8C13.8 10.7 8 14 8 14z" /><path d="M4.8 8.3h1.7l1-1.8 1.4 3 .8-1.2h1.5" /></>,
  users: <><circle cx="6" cy="5" r="2.6" /><path d="M1.5 13.5c.3-2.7 2-4.2 4.5-4.2s4.2 1.5 4.5 4.2M10.5 2.7a2.5 2.5 0 0 1 0 4.7M12 9.7c1.5.5 2.3 1.8 2.5 3.8" /></>,
  key: <><circle cx="5" cy="11" r="2.8" /><path d="m7 9 6.5-6.5M11 5l2 2M9 7l1.4 1.4" /></>,
  audit: <><path d="M3.5 1.8h6L12.5 5v9.2h-9z" /><path d="M9.3 2v3.2h3M5.8 8h4.4M5.8 10.8h4.4" /></>,
  search: <><circle cx="7" cy="7" r="4.4" /><path d="m10.3 10.3 3.7 3.7" /></>,
  close: <path d="m3.5 3.5 9 9m0-9-9 9" />,
  pause: <path d="M5.3 3v10M10.7 3v10" stroke-width="2" />,
  play: <path d="M5 3v10l7.5-5z" />,
  filter: <path d="M2 3h12l-4.6 5.4v4.2L6.6 14V8.4z" />,
  down: <path d="m4 6.3 4 4 4-4" />,
  up: <path d="m4 9.7 4-4 4 4" />,
  right: <path d="m6.3 4 4 4-4 4" />,
  back: <path d="M13.5 8h-11m4-4-4 4 4 4" />,
  copy: <><rect x="5.5" y="5.5" width="8" height="8" rx="1.2" /><path d="M10.5 5.3V3.7a1.2 1.2 0 0 0-1.2-1.2H3.7a1.2 1.2 0 0 0-1.2 1.2v5.6a1.2 1.2 0 0 0 1.2 1.2h1.6" /></>,
  check: <path d="m3 8.5 3.4 3.4L13 4.6" />,
  warn: <><path d="M8 2 14.6 13.6H1.4z" /><path d="M8 6.4v3.4M8 11.6v.1" /></>,
  bad: <><path d="M5.3 1.6h5.4l3.7 3.7v5.4l-3.7 3.7H5.3l-3.7-3.7V5.3z" /><path d="M8 4.8v4M8 11v.1" /></>,
  good: <><circle cx="8" cy="8" r="6.3" /><path d="m5.2 8.2 2 2 3.7-4.2" /></>,
  unknown: <><circle cx="8" cy="8" r="6.3" stroke-dasharray="2.4 2" /><path d="M6.2 6.3a1.9 1.9 0 1 1 2.6 1.8c-.6.2-.8.6-.8 1.1M8 11.3v.1" /></>,
  note: <><circle cx="8" cy="8" r="6.3" /><path d="M8 7.4v3.6M8 5v.1" /></>,
  sun: <><circle cx="8" cy="8" r="2.8" /><path d="M8 1.5v1.6M8 12.9v1.6M1.5 8h1.6M12.9 8h1.6M3.4 3.4l1.1 1.1M11.5 11.5l1.1 1.1M12.6 3.4l-1.1 1.1M4.5 11.5l-1.1 1.1" /></>,
  moon: <path d="M13.7 9.6A6 6 0 1 1 6.4 2.3a4.8 4.8 0 0 0 7.3 7.3z" />,
  system: <><rect x="1.8" y="2.8" width="12.4" height="8.4" rx="1.2" /><path d="M5.5 13.7h5" /></>,
  exit: <><path d="M6.5 2.5h-3a1 1 0 0 0-1 1v9a1 1 0 0 0 1 1h3M7 8h6.8M11 5.2 13.8 8 11 10.8" /></>,
  plus: <path d="M8 3v10M3 8h10" />,
  merge: <><path d="M2.5 3.5c5 0 4 4.5 8 4.5M2.5 12.5c5 0 4-4.5 8-4.5h3" /><path d="m11 5.4 2.6 2.6L11 10.6" /></>,
  split: <><path d="M2.5 8h3c4 0 3-4.5 8-4.5M5.5 8c4 0 3 4.5 8 4.5" /><path d="m11.6 1.4 2.1 2.1-2.1 2.1M11.6 10.4l2.1 2.1-2.1 2.1" /></>,
  more: <path d="M3.2 8h.1M8 8h.1M12.8 8h.1" stroke-width="2.2" />,
  findings: <><path d="M3.4 14V2M3.4 2.6h9.2l-2.2 3 2.2 3H3.4" /></>,
  policies: <><path d="M3 2.4h7.2L13 5.2v8.4H3z" /><path d="m5.4 9.2 1.7 1.7 3.5-3.8" /></>,
  settings: <><path d="M2 4.4h6.4M12 4.4h2M2 11.6h2M7.6 11.6H14" /><circle cx="10.2" cy="4.4" r="1.8" /><circle cx="5.8" cy="11.6" r="1.8" /></>,
  save: <path d="M8 2v8m-3.4-3.2L8 10.2l3.4-3.4M2.4 13.6h11.2" />,
  help: <><circle cx="8" cy="8" r="6.3" /><path d="M6.2 6.3a1.9 1.9 0 1 1 2.6 1.8c-.6.2-.8.6-.8 1.1M8 11.3v.1" /></>,
  send: <path d="M14 2 7.2 8.8M14 2 9.6 14 7.2 8.8 2 6.4z" />,
  lock: <><rect x="3" y="7" width="10" height="7" rx="1.3" /><path d="M5.2 7V4.9a2.8 2.8 0 0 1 5.6 0V7" /></>,
};

export function Icon({ name, size, title }: { name: string; size?: number; title?: string }) {
  return <Svg size={size} title={title}>{shapes[name] ?? shapes.note}</Svg>;
}

export function Brand({ size = 20 }: { size?: number }) {
  return (
    <svg class="brand-mark" width={size} height={size} viewBox="0 0 20 20" fill="none" stroke="currentColor" stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">
      <path d="M10 1.6 17.3 5.8v8.4L10 18.4 2.7 14.2V5.8z" />
      <path d="M10 6v8M6.5 8v4M13.5 8v4" />
    </svg>
  );
}

/* One shape for each group of events: colour is never alone. */
const glyphs: Record<string, ComponentChildren> = {
  process: <circle cx="6" cy="6" r="4.2" />,
  network: <path d="M6 1.6 10.8 10H1.2z" />,
  privilege: <path d="M6 .9 11.1 6 6 11.1.9 6z" />,
  memory: <path d="M4.4 1.5h3.2v2.9h2.9v3.2H7.6v2.9H4.4V7.6H1.5V4.4h2.9z" />,
  kernel: <path d="M6 .9 10.6 3.5v5L6 11.1 1.4 8.5v-5z" />,
  file: <path d="M2.4 1.4h5L9.8 4v6.6H2.4z" />,
  container: <rect x="1.6" y="1.6" width="8.8" height="8.8" rx="1.4" />,
  sensor: <path d="M6 1v10M1 6h10M2.5 2.5l7 7M9.5 2.5l-7 7" />,
};

export function Glyph({ group }: { group: string }) {
  const hollow = group === "container" || group === "sensor" || group === "file";
  return (
    <svg class={`glyph g-${group}`} width="12" height="12" viewBox="0 0 12 12" fill={hollow ? "none" : "currentColor"} stroke="currentColor" stroke-width={hollow ? 1.5 : 0} stroke-linejoin="round" aria-hidden="true" focusable="false">
      {glyphs[group] ?? glyphs.sensor}
    </svg>
  );
}

/* Container states: filled, half, hollow, crossed. */
const states: Record<string, ComponentChildren> = {
  running: <circle cx="5" cy="5" r="4" fill="currentColor" stroke="none" />,
  paused: <><circle cx="5" cy="5" r="3.6" /><path d="M3.9 3.4v3.2M6.1 3.4v3.2" /></>,
  restarting: <path d="M8.6 5A3.6 3.6 0 1 1 5 1.4c1.4 0 2.4.6 3.2 1.7M8.4 1v2.2H6.2" />,
  created: <circle cx="5" cy="5" r="3.6" stroke-dasharray="1.8 1.6" />,
  exited: <circle cx="5" cy="5" r="3.6" />,
  dead: <path d="m1.8 1.8 6.4 6.4m0-6.4L1.8 8.2" />,
  removed: <path d="M1.5 5h7" />,
};

export function StateMark({ state }: { state: string }) {
  return (
    <svg class={`statemark s-${state}`} width="10" height="10" viewBox="0 0 10 10" fill="none" stroke="currentColor" stroke-width="1.4" stroke-linecap="round" aria-hidden="true" focusable="false">
      {states[state] ?? states.created}
    </svg>
  );
}
