/* SPDX-License-Identifier: Apache-2.0 */
/* A file for the person, made here: no request goes out for it. */
export const save = (name: string, type: string, text: string) => saveBlob(name, new Blob([text], { type: `${type};charset=utf-8` }));

export function saveBlob(name: string, bytes: Blob): void {
  const url = URL.createObjectURL(bytes);
  const a = document.createElement("a");
  a.href = url;
  a.download = name;
  a.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
