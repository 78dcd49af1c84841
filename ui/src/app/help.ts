/* SPDX-License-Identifier: Apache-2.0 */
/* What one sees on each page, in a few sentences; the shell shows the row of the present address. */

export interface Help { text: string[]; keys?: [string, string][]; cli?: string }

const LIST: [string, string] = ["↑ ↓ Enter", "walk the list and open a row; Escape closes what is open"];

export const HELP: Record<string, Help> = {
  "/": {
    text: ["The sentence at the top is the verdict: open incidents first, then whatever keeps Bulkhead from seeing, then all well. It never says that all is well while data is missing.",
      "The figures below are of now. Exposure counts what a container could do to its host (privileged, the runtime's socket, host namespaces): it is no attack, but the lever of one."],
    cli: "bulkhead status",
  },
  "/incidents": {
    text: ["An incident is one attack told as one story: findings that belong together because one process started another, a file was written and then run, a connection led from one container to the next. Severity grows with the number of different tactics, not with the number of findings.",
      "Open one to read it from headline to byte: the picture has a lane for each container, the timeline one line for each step, and the step that is chosen shows the process, who started it, and the event as it was recorded. Evidence outlives the container.",
      "“Act…” beside a container isolates or stops it. “More” gives the incident to somebody, merges it into another, or splits steps off. Evidence is saved item by item or as one archive, and verified. Close the incident with what it was: a verdict of “benign” teaches the models."],
    keys: [LIST], cli: "bulkhead incidents · bulkhead incident ID · bulkhead evidence",
  },
  "/map": {
    text: ["Who talks with whom. Boxes are applications, from the outside at the left to the data at the right; zoom in for workloads and containers. A line is as wide as its traffic; a dashed one failed, scans, or is new in “What changed”.",
      "Choose a node or a line to see what is behind it, and act on a container from there. The bars below are the time window: drag it. DNS, health checks and scrapers are hidden until you switch them on."],
    keys: [["+ − 0", "zoom in, out, show all"], ["arrows", "walk from node to node"], ["filter", "app: svc: container: node: port: state:"]], cli: "bulkhead graph",
  },
  "/findings": {
    text: ["Every finding: a rule that matched, a behaviour model that was surprised, a web attack, or something about a sensor's own health. Equal ones are one row with their number. What belongs together is told under Incidents; this list is for looking further.",
      "The filters are in the address, so a view can be sent to a colleague. Export saves all that matches, also what was not scrolled to."],
    keys: [LIST], cli: "bulkhead findings",
  },
  "/models": {
    text: ["What each workload was seen to do, learned from its containers: programs, files, peers, names, system calls. A family is trusted when hardly anything new is to be expected of it, not when a time is over. “To judge” counts what was new since then.",
      "Lock keeps a model as it is. Relearn forgets and begins anew; both show first what changes. Import gives a workload what another installation learned. Behaviour that a rule calls malicious is never learned."],
    keys: [LIST], cli: "bulkhead model list · bulkhead model show WORKLOAD",
  },
  "/containers": {
    text: ["Every container of every node, also those that ended. The mark before a name is its state. “Exposure” names what it could do to its host.",
      "The filter knows name:, image:, app:, workload:, node:, state:, label: and a leading minus for “not”; the boxes at the left count what is left.",
      "“Resources” are services, tasks, networks, images and volumes, as runtimes tell them; configs and secrets by name alone. “HTTP requests” are what workloads answer and ask for, by method and template of the path, without any value."],
    keys: [LIST], cli: "bulkhead containers · bulkhead resources · bulkhead endpoints",
  },
  "/policies": {
    text: ["Rules are what the sensors look for, in the language of Falco's rule files. The first list is what the nodes really run: a rule that a node cannot evaluate says why. Switching one off is kept as an override in a file of its own. “Reload” lets the nodes read their own files anew, from disk.",
      "Files are rule files that are kept here and sent to every node. An error is shown at its line and nothing is changed by it. “What would it have matched?” tries the text on what the nodes recorded, before anybody is alarmed by it."],
    keys: [LIST, ["Ctrl Enter", "check the text"], ["Ctrl S", "save"]], cli: "bulkhead rules check FILE · bulkhead rules preview FILE",
  },
  "/responses": {
    text: ["The ledger of what was done to containers: by whom, why, until when, and its end. What can be undone has “Release”. An order to a node that is away waits for it, and says so.",
      "A response begins at a container: in its panel, on the map, or in an incident. Ask “What would it do?” first."],
    cli: "bulkhead responses · bulkhead respond isolate TARGET",
  },
  "/events": {
    text: ["What happens now, newest on top. Scrolling, choosing a row or Pause holds the list; what comes meanwhile is counted. A striped row says how many events are missing and why.",
      "Nodes keep what happened in their recorder; this page asks for it (“From when”, at most the last 5,000 events) and then follows. A condition is written as in a rule: proc.name in (sh, bash) and container.id != host."],
    keys: [LIST], cli: "bulkhead events -f",
  },
  "/health": {
    text: ["Whether each sensor sees everything it should. A hook is how it gets one kind of event: preferred, fallback, or blind. Lost events are counted by hook and by container: a loss is never silent.",
      "A node that does not report is not “fine”: nothing is known of it since the time that is shown.",
      "“Verify” under Evidence says whether anything that was kept of attacks was changed, removed or cut short; the heads are to be kept elsewhere."],
    cli: "bulkhead status",
  },
  "/users": { text: ["Viewers see everything and change nothing; analysts work on incidents, responses and models; administrators also manage rules, users, settings and read the audit log. A new user gets a password that is shown once and must be changed."], cli: "bulkhead user" },
  "/tokens": { text: ["Keys for programs that use the API in your name, with at most your role. The key is shown once. Revoke what you do not know."], cli: "bulkhead token" },
  "/audit": { text: ["Every change, every refused attempt, and every login: who, from where, what, and how it ended. Each row holds a hash over the one before, so that a row changed behind Bulkhead's back shows: “Verify” checks them all."], cli: "bulkhead audit" },
  "/settings": {
    text: ["Retention says how long and how much is kept; what goes first is the oldest. Outputs are where findings and incidents are sent besides this page: a file, syslog, a webhook. “Test” sends one alert at once.", "Secrets can be written and are never shown again."],
    cli: "bulkhead setting list · bulkhead output list",
  },
};

export function helpOf(path: string): Help {
  return HELP[path] ?? HELP[`/${path.split("/")[1] ?? ""}`] ?? HELP["/"];
}
