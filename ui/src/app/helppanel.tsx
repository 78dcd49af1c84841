/* SPDX-License-Identifier: Apache-2.0 */
import { Button, Dialog } from "../parts/ui";
import { helpOf } from "./help";

export default function HelpPanel({ path, title, onClose }: { path: string; title: string; onClose: () => void }) {
  const help = helpOf(path);
  const keys: [string, string][] = [...(help.keys ?? []), ["/ or Ctrl K", "search everything"], ["?", "this help"]];
  return (
    <Dialog title={`${title}: what you see`} onClose={onClose}>
      <div class="help">
        {help.text.map((t) => <p key={t}>{t}</p>)}
        <dl class="facts">{keys.map(([k, v]) => <div key={k}><dt><kbd>{k}</kbd></dt><dd>{v}</dd></div>)}{help.cli && <div><dt>In a terminal</dt><dd class="mono">{help.cli}</dd></div>}</dl>
      </div>
      <div class="form-buttons"><Button kind="primary" onClick={onClose}>Close</Button></div>
    </Dialog>
  );
}
