/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is looked for, and what is done about it by itself: the rules that the nodes run (#/policies?q=…&state=…&rule=NAME), the rule files that are kept here
 * (#/policies?tab=files&file=NAME), and the policies that respond (#/policies?tab=responses&policy=NAME).
 */
import { href, route } from "../../app/router";
import { FileEditor, Files } from "./files";
import { PolicyEditor, PolicyList } from "./respond";
import { RuleList } from "./rules";

const TABS: [string, string, string][] = [["", "rules", "Rules"], ["files", "files", "Rule files"], ["responses", "responses", "Automatic responses"]];

export function Tabs() {
  const tab = route.value.params.get("tab") ?? "";
  return (
    <nav class="segments" aria-label="Parts of this page">
      {TABS.map(([key, id, label]) => <a key={id} href={href("/policies", { tab: key || undefined })} aria-current={tab === key ? "page" : undefined}>{label}</a>)}
    </nav>
  );
}

export function Policies() {
  const p = route.value.params;
  const tab = p.get("tab") ?? "";
  const file = p.get("file");
  const policy = p.get("policy");
  if (tab === "files") return file !== null ? <FileEditor key={file} name={file} /> : <Files />;
  if (tab === "responses") return policy !== null ? <PolicyEditor key={policy} name={policy} /> : <PolicyList />;
  return <RuleList />;
}
