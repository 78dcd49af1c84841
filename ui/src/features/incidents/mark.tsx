/* SPDX-License-Identifier: Apache-2.0 */
/* How grave, and which tactics: as bars and as a strip; the word is always there for a reader. */
import { SEVERITIES, TACTICS, tacticName } from "../../lib/incidents";

export function SeverityMark({ severity, brief = false }: { severity: string; brief?: boolean }) {
  return <span class={`severity sev-${severity}`}><i aria-hidden="true">{Array.from({ length: 4 }, (_, n) => <b key={n} class={n < 4 - SEVERITIES.indexOf(severity as never) ? "on" : ""} />)}</i><span class={brief ? "sr" : ""}>{severity}</span></span>;
}

/* Thirteen cells; each that is filled is named for a reader. */
export function TacticStrip({ tactics, names = false }: { tactics: string[]; names?: boolean }) {
  return (
    <ol class={`tactics ${names ? "named" : ""}`} aria-label={`Tactics: ${tactics.map(tacticName).join(", ") || "none"}`}>
      {TACTICS.map(([key, whole, brief]) => <li key={key} class={tactics.includes(key) ? "on" : ""} title={`${whole}${tactics.includes(key) ? "" : ": not seen"}`} aria-hidden={tactics.includes(key) ? undefined : "true"}>{names ? brief : ""}</li>)}
    </ol>
  );
}
