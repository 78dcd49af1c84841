/* SPDX-License-Identifier: Apache-2.0 */
/* Which rows of a long list are drawn. All rows are of one height, so this is arithmetic; pure, and tested as such. */
export interface Span { start: number; end: number }

export function span(scrollTop: number, height: number, row: number, total: number, overscan = 8): Span {
  if (total <= 0 || row <= 0) return { start: 0, end: 0 };
  const first = Math.floor(Math.max(0, scrollTop) / row);
  const start = Math.max(0, Math.min(first - overscan, total - 1));
  return { start, end: Math.min(total, first + Math.ceil(Math.max(0, height) / row) + overscan) };
}

/* Where to scroll so that row `index` is wholly seen; the present position if it is. */
export function reveal(index: number, scrollTop: number, height: number, row: number): number {
  const top = index * row;
  if (top < scrollTop) return top;
  if (top + row > scrollTop + height) return top + row - height;
  return scrollTop;
}

/* The row that a key leads to; -1 for a key that does not move. */
export function step(key: string, at: number, total: number, page: number): number {
  if (!total) return -1;
  switch (key) {
    case "ArrowDown": return Math.min(total - 1, at + 1);
    case "ArrowUp": return Math.max(0, at - 1);
    case "PageDown": return Math.min(total - 1, Math.max(0, at) + page);
    case "PageUp": return Math.max(0, at - page);
    case "Home": return 0;
    case "End": return total - 1;
  }
  return -1;
}
