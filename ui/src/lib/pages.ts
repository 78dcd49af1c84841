/* SPDX-License-Identifier: Apache-2.0 */
/* Rows that the API gives a page at a time, newest first: read anew as far as was read, further pages one at a time, and never rows of one question under another. */
import { useEffect, useRef, useState } from "preact/hooks";
import { get, sentence } from "../api/client";
import { pageFrom } from "../api/model";

const MOST = 1000; /* of one answer; who has gone further down reads on from there by hand */

export interface Pages<R> { rows: R[] | null; total: number; next: string | undefined; error: string; busy: "" | "read" | "older"; older: () => void; reread: () => void }

export function usePages<R>(path: string, member: string, query: Record<string, string | number | undefined>, page: number, again?: unknown): Pages<R> {
  const [rows, setRows] = useState<R[] | null>(null);
  const [total, setTotal] = useState(0);
  const [next, setNext] = useState<string | undefined>();
  const [error, setError] = useState("");
  const [busy, setBusy] = useState<Pages<R>["busy"]>("");
  const shown = useRef(0);
  const of = useRef(""); /* the question that the rows answer */
  const more = useRef<AbortController | null>(null);
  const [turn, setTurn] = useState(0); /* so often somebody wanted it read anew, however far it was read */
  const turned = useRef(0);
  const wanted = JSON.stringify([path, query]);
  shown.current = rows?.length ?? 0;
  const read = async (cursor: string | undefined, signal: AbortSignal) => {
    setBusy(cursor ? "older" : "read");
    try {
      const far = of.current === wanted ? shown.current : 0;
      const p = pageFrom<R>(await get<unknown>(path, { ...query, limit: cursor ? page : Math.min(MOST, Math.max(page, far)), cursor }, signal), member);
      if (signal.aborted) return;
      of.current = wanted;
      setRows((l) => [...(cursor ? (l ?? []) : []), ...p.items]);
      setTotal(p.total);
      setNext(p.next);
      setError("");
    } catch (e) {
      if (signal.aborted) return;
      if (of.current !== wanted) setRows(null);
      setError(sentence(e));
    }
    setBusy("");
  };
  useEffect(() => {
    if (of.current === wanted && shown.current > MOST && turned.current === turn) return undefined;
    turned.current = turn;
    more.current?.abort();
    more.current = null;
    const over = new AbortController();
    void read(undefined, over.signal);
    return () => over.abort();
  }, [wanted, again, turn]);
  useEffect(() => () => more.current?.abort(), []);
  const older = async () => {
    if (more.current || !next || of.current !== wanted) return;
    const c = (more.current = new AbortController());
    await read(next, c.signal);
    if (more.current === c) more.current = null;
  };
  return { rows, total, next, error, busy, older: () => void older(), reread: () => setTurn((n) => n + 1) };
}
