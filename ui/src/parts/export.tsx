/* SPDX-License-Identifier: Apache-2.0 */
/* The menu that saves what a list shows, with its filters, as CSV or JSON: all of it, also what was not scrolled to. */
import { useState } from "preact/hooks";
import { get, sentence } from "../api/client";
import { pageFrom } from "../api/model";
import { count } from "../lib/format";
import { type Columns, csv, fileName } from "../lib/export";
import { save } from "../lib/save";
import { Icon } from "./icons";
import { Menu } from "./ui";

export const EXPORT_MOST = 50_000;

/* Every page of a listing up to the bound; `cut` when there was more. */
export async function readAll<T>(path: string, name: string, query: Record<string, string | number | undefined>): Promise<{ rows: T[]; cut: boolean }> {
  const rows: T[] = [];
  let cursor: string | undefined;
  do {
    const p = pageFrom<T>(await get<unknown>(path, { ...query, limit: 1000, cursor }), name);
    for (const r of p.items) rows.push(r);
    cursor = p.next;
  } while (cursor && rows.length < EXPORT_MOST);
  return { rows, cut: !!cursor };
}

export function ExportMenu<T>({ what, columns, rows, disabled }: { what: string; columns: Columns<T>; rows: () => Promise<{ rows: T[]; cut: boolean }>; disabled?: boolean }) {
  const [said, setSaid] = useState("");
  const run = async (kind: "csv" | "json") => {
    setSaid("Reading…");
    try {
      const all = await rows();
      const name = `${fileName(what, new Date())}.${kind}`;
      if (kind === "csv") save(name, "text/csv", csv(columns, all.rows));
      else save(name, "application/json", JSON.stringify(all.rows, null, 1) + "\n");
      setSaid(all.cut ? `Only the first ${count(all.rows.length)} are in the file` : "");
    } catch (e) {
      setSaid(sentence(e));
    }
  };
  if (disabled) return null;
  return (
    <>
      {said && <span class="export-said" role="status">{said}</span>}
      <Menu button={<><Icon name="save" size={14} />Export</>}>
        {(close) => <>
          <button type="button" class="menu-item" onClick={() => { close(); void run("csv"); }}><Icon name="table" />CSV, for a spreadsheet</button>
          <button type="button" class="menu-item" onClick={() => { close(); void run("json"); }}><Icon name="copy" />JSON, as the API has it</button>
        </>}
      </Menu>
    </>
  );
}
