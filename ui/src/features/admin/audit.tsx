/* SPDX-License-Identifier: Apache-2.0 */
import { useEffect, useState } from "preact/hooks";
import { get, sentence } from "../../api/client";
import { auditFrom, pageFrom, type AuditRow } from "../../api/model";
import { date } from "../../lib/format";
import { Icon } from "../../parts/icons";
import { Button, Empty, Skeleton, T } from "../../parts/ui";

export function Audit() {
  const [list, setList] = useState<AuditRow[] | null>(null);
  const [next, setNext] = useState<string | undefined>();
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const load = async (cursor?: string) => {
    setBusy(true);
    try {
      const p = pageFrom<unknown>(await get<unknown>("/audit", { limit: 100, cursor }), "audit");
      setList((l) => [...(cursor ? (l ?? []) : []), ...p.items.map(auditFrom)]);
      setNext(p.next);
      setError("");
    } catch (e) {
      setError(sentence(e));
    }
    setBusy(false);
  };
  useEffect(() => void load(), []);
  return (
    <div class="page admin">
      <header class="page-head"><h1>Audit log</h1><Button busy={busy} onClick={() => void load()}>Read again</Button></header>
      {error && <div class="inline-warn" role="alert"><Icon name="warn" /><span>{error}</span></div>}
      {!list ? !error && <Skeleton label="Loading the audit log" /> : !list.length ? <Empty icon="audit" title="Nothing yet" /> : (
        <div class="card scroll" tabIndex={0} role="group" aria-label="Audit log">
          <table class="table roomy">
            <thead><tr><th>Time</th><th>Who</th><th class="opt">From</th><th>Did</th><th>To</th><th>Outcome</th></tr></thead>
            <tbody>{list.map((a) => (
              <tr key={a.id || `${a.at}${a.action}`}>
                <td class="mono nowrap">{date(a.at)}</td><th scope="row"><T s={a.actor} max={64} />{a.role && <small class="dim"> {a.role}</small>}</th><td class="mono opt"><T s={a.address} max={64} /></td>
                <td><T s={a.action} max={64} /></td><td><T s={a.object} max={160} />{a.detail && <small class="dim block"><T s={a.detail} max={300} /></small>}</td>
                <td class={/^(ok|success|allowed)$/.test(a.outcome) ? "" : "amber"}><T s={a.outcome} max={48} /></td>
              </tr>))}</tbody>
          </table>
          {next && <p class="card-foot"><Button busy={busy} onClick={() => void load(next)}>Older</Button></p>}
        </div>
      )}
    </div>
  );
}
