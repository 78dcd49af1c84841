/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of /api/v1: JSON both ways, the CSRF header on writes, errors as ApiError with the server's own sentence. */

export const BASE = "/api/v1";

export class ApiError extends Error {
  constructor(readonly status: number, readonly code: string, message: string, readonly retryAfter = 0, readonly data: unknown = null) {
    super(message);
  }
}

let csrf = "";
let onDenied: (() => void) | undefined;

export function setCsrf(token: string): void {
  csrf = token;
}
/* Called when a request finds that the session has ended. */
export function whenDenied(f: () => void): void {
  onDenied = f;
}

interface Options { query?: Record<string, string | number | undefined>; body?: unknown; signal?: AbortSignal; timeoutMs?: number; login?: boolean }

export function address(path: string, query: Options["query"] = {}): string {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(query)) if (v !== undefined && v !== "") q.set(k, String(v));
  const text = q.toString();
  return BASE + path + (text ? `?${text}` : "");
}

export async function call<T>(method: string, path: string, o: Options = {}): Promise<T> {
  const headers: Record<string, string> = { accept: "application/json" };
  if (method !== "GET") headers["x-bulkhead-csrf"] = csrf;
  if (o.body !== undefined) headers["content-type"] = "application/json";
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), o.timeoutMs ?? 20_000);
  o.signal?.addEventListener("abort", () => stop.abort(), { once: true });
  let answer: Response;
  let text: string;
  try {
    answer = await fetch(address(path, o.query), {
      method, headers, signal: stop.signal, credentials: "same-origin", cache: "no-store",
      body: o.body === undefined ? undefined : JSON.stringify(o.body),
    });
    text = await answer.text();
  } catch (e) {
    if (o.signal?.aborted) throw e;
    throw new ApiError(0, "unreachable", "The central does not answer. It may be restarting; this page keeps trying.");
  } finally {
    clearTimeout(timer);
  }
  let data: unknown;
  try {
    data = text ? JSON.parse(text) : null;
  } catch {
    data = null;
  }
  if (answer.ok) return data as T;
  const said = (data as { error?: { code?: string; message?: string } } | null)?.error;
  if (answer.status === 401 && !o.login) onDenied?.();
  throw new ApiError(answer.status, said?.code ?? "error", said?.message ?? `The central answered ${answer.status} without saying why.`,
    Number(answer.headers.get("retry-after")) || 0, data);
}

/* An answer that is a file, as it comes. */
export async function download(path: string, query: Options["query"], timeoutMs = 300_000): Promise<Blob> {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), timeoutMs);
  try {
    const answer = await fetch(address(path, query), { signal: stop.signal, credentials: "same-origin", cache: "no-store" });
    if (answer.ok) return await answer.blob();
    const said = ((await answer.json().catch(() => null)) as { error?: { code?: string; message?: string } } | null)?.error;
    if (answer.status === 401) onDenied?.();
    throw new ApiError(answer.status, said?.code ?? "error", said?.message ?? `The central answered ${answer.status} without saying why.`);
  } catch (e) {
    throw e instanceof ApiError ? e : new ApiError(0, "unreachable", "The central does not answer.");
  } finally {
    clearTimeout(timer);
  }
}

export const get = <T>(path: string, query?: Options["query"], signal?: AbortSignal) => call<T>("GET", path, { query, signal });
export const post = <T>(path: string, body?: unknown) => call<T>("POST", path, { body: body ?? {} });

export function sentence(e: unknown): string {
  const said = e instanceof Error && e.message ? e.message : "something went wrong";
  return said[0].toUpperCase() + said.slice(1) + (/[.!?]$/.test(said) ? "" : ".");
}
