/* SPDX-License-Identifier: Apache-2.0 */
/* What every view of a finding ends with: who started whom, and the finding as it was recorded. */
import type { Finding } from "../../api/openapi";
import { list, num, object, text, texts } from "../../lib/loose";
import { visible } from "../../lib/text";
import { Copy, Section, T } from "../../parts/ui";

export function Recorded({ f }: { f: Finding }) {
  const lineage = list(f.lineage).map((p) => (p ? object(p) : null));
  const raw = JSON.stringify(f, null, 2);
  return (
    <>
      {lineage.length > 0 && (
        <Section title="Processes, the first at the top" count={lineage.filter(Boolean).length}>
          <ol class="lineage">{lineage.slice().reverse().map((p, n) => <li key={n} style={{ marginLeft: `${Math.min(n, 10) * 14}px` }}>{p ? <><span class="mono wrap"><T s={texts(p.args).join(" ") || text(p.exe) || text(p.comm)} max={300} /></span> <span class="faint">{num(p.pid) || ""}</span></> : <span class="faint">more that are not known</span>}</li>)}</ol>
        </Section>
      )}
      <Section title="As it was recorded" open={false}><div class="raw"><Copy text={raw} label="Copy the finding as JSON" /><pre tabIndex={0} aria-label="The finding as JSON">{visible(raw, 60_000).replace(/⏎/g, "\n")}</pre></div></Section>
    </>
  );
}
