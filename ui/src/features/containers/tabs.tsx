/* SPDX-License-Identifier: Apache-2.0 */
import { href, route } from "../../app/router";

const TABS: [string, string][] = [["", "Containers"], ["resources", "Resources"], ["requests", "HTTP requests"]];

export function InventoryTabs() {
  const tab = route.value.params.get("tab") ?? "";
  return (
    <nav class="segments" aria-label="Parts of this page">
      {TABS.map(([key, label]) => <a key={label} href={href("/containers", { tab: key || undefined })} aria-current={tab === key ? "page" : undefined}>{label}</a>)}
    </nav>
  );
}
