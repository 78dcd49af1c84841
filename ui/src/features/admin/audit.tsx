/* SPDX-License-Identifier: Apache-2.0 */
/* Who did what, from where, and how it ended: #/audit?q=…&outcome=…&since=… */
import { useEffect, useState } from "preact/hooks";
import type { AuditRow as Row } from "../../api/openapi";
import { call, sentence } from "../../api/client";
import { auditFrom } from "../../api/model";
import { patch, route } from "../../app/router";
import type { Columns } from "../../lib/export";
import { count } from "../../lib/format";
import { usePages } from "../../lib/pages";
import { ExportMenu, readAll } from "../../parts/export";
import { Icon } from "../../parts/icons";
import { Button, Empty, Notice, Skeleton, T, Time } from "../../parts/ui";

const COLUMNS: Columns<Row> = [["time", (r) => r.time], ["actor", (r) => r.actor], ["role", (r) => r.role], ["address", (r) => r.address], ["action", (r) => r.action], ["object", (r) => r.object], ["outcome", (r) => r.outcome], ["detail", (r) => r.detail], ["id", (r) => r.id], ["hash", (r) => r.hash]];

export function Audit() {
  const p = route.value.params;
  const query = { search: p.get("q") ?? "", outcome: p.get("outcome") ?? "", since: p.get("since") ?? "" };
  const { rows, next, error: unread, busy, older, reread } = usePages<unknown>("/audit", "audit", query, 100);
  const list = rows && rows.map(auditFrom);
  const [unverified, setUnverified] = useState("");
  const [verifying, setVerifying] = useState(false);
  const error = unread || unverified;
  const [text, setText] = useState(query.search);
  const [chain, setChain] = useState<{ intact: boolean; rows: number; first_broken: number } | null>(null);
  useEffect(() => setText(query.search), [query.search]);
  useEffect(() => {
    if (text === query.search) return;
    const t = setTimeout(() => patch({ q: text }), 250);
    return () => clearTimeout(t);
  }, [text]);
  const verify = async () => {
    setVerifying(true);
    try {
      setChain(await call("GET", "/audit/verify", { timeoutMs: 120_000 }));
      setUnverified("");
    } catch (e) {
      setUnverified(sentence(e));
    }
    setVerifying(false);
  };
  const filtered = !!(query.search || query.outcome || query.since);
  return (
    <div class="page admin">
      <header class="page-head"><h1>Audit log</h1><div class="subject-acts"><Button busy={verifying} onClick={() => void verify()}>Verify</Button><ExportMenu what="audit" columns={COLUMNS} rows={() => readAll<Row>("/audit", "audit", query)} disabled={!list?.length} /><Button busy={busy === "read"} onClick={reread}>Read again</Button></div></header>
      <div class="page-filters">
        <div class="searchbox"><Icon name="search" /><input type="text" aria-label="Search the audit log" placeholder="Search who, what it was done to, details" spellcheck={false} autocomplete="off" maxLength={256} value={text} onInput={(e) => setText(e.currentTarget.value)} /></div>
        <select aria-label="Outcome" value={query.outcome} onChange={(e) => patch({ outcome: e.currentTarget.value })}><option value="">Any outcome</option>{["ok", "denied", "refused", "failed"].map((o) => <option key={o} value={o}>{o}</option>)}</select>
        <select aria-label="Time" value={query.since} onChange={(e) => patch({ since: e.currentTarget.value })}><option value="">All time</option><option value="24h">Last day</option><option value="7d">Last week</option></select>
      </div>
      {chain && <Notice level={chain.intact ? "good" : "bad"}>{chain.intact ? `All ${count(chain.rows)} rows are as they were written.` : `Row ${count(chain.first_broken)} does not fit the one before it: it, or one before, was changed behind Bulkhead's back.`}</Notice>}
      {error && <div class="inline-warn" role="alert"><Icon name="warn" /><span>{list ? "What you see may be old" : "The audit log could not be read"}: {error}</span></div>}
      {!list ? !error && <Skeleton label="Loading the audit log" /> : !list.length ? <Empty icon="audit" title={filtered ? "No row matches" : "Nothing yet"}>{filtered && <Button onClick={() => patch({ q: undefined, outcome: undefined, since: undefined })}>Clear the filters</Button>}</Empty> : (
        <div class="card scroll" tabIndex={0} role="group" aria-label="Audit log">
          <table class="table roomy audit-table">
            <thead><tr><th>Time</th><th>Who</th><th class="opt">From</th><th>Did</th><th>To</th><th>Outcome</th></tr></thead>
            <tbody>{list.map((a) => (
              <tr key={a.id || `${a.at}${a.action}`}>
                <td class="mono nowrap"><Time ms={a.at} /></td><th scope="row"><T s={a.actor} max={64} />{a.role && <small class="dim"> {a.role}</small>}</th><td class="mono opt"><T s={a.address} max={64} /></td>
                <td><T s={a.action} max={64} /></td><td><T s={a.object} max={160} />{a.detail && <small class="dim block"><T s={a.detail} max={300} /></small>}</td>
                <td class={/^(ok|success|allowed)$/.test(a.outcome) ? "" : "amber"}><T s={a.outcome} max={48} /></td>
              </tr>))}</tbody>
          </table>
          {next && <p class="card-foot"><Button busy={busy === "older"} onClick={older}>Older</Button></p>}
        </div>
      )}
    </div>
  );
}
