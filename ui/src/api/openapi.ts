/* SPDX-License-Identifier: Apache-2.0 */

/* Made by types.mjs from api/openapi.yaml; not edited by hand. */

export type Error = {
  error: {
    code: string;
    message: string;
  };
};

export type Cursor = string | null;

export type Time = string | null;

export type Role = "admin" | "analyst" | "viewer";

export type Priority = "emergency" | "alert" | "critical" | "error" | "warning" | "notice" | "informational" | "debug";

export type Me = {
  user: string;
  role: Role;
  must_change_password: boolean;
  csrf: string | null;
  by: "session" | "token" | "local";
};

export type User = {
  name: string;
  role: Role;
  disabled: boolean;
  must_change_password: boolean;
  created: Time;
  password_changed: Time;
  last_login: Time;
};

export type UserAnswer = {
  user: User;
  password?: string;
};

export type Token = {
  id: string;
  name: string;
  user: string;
  role: Role;
  valid: boolean;
  created: Time;
  expires: Time;
  last_used: Time;
  revoked: Time;
};

export type Rule = {
  name: string;
  priority: string;
  source: string;
  tags: string[];
  description: string;
  enabled: boolean;
  runs: boolean;
  file: string;
  line: number;
  matches: number;
  problem?: string;
  node: string;
};

export type RuleFile = {
  name: string;
  bytes: number;
  changed_by: string;
  changed: string;
  text?: string;
};

export type RuleNode = {
  node: string;
  state: "current" | "sending" | "refused" | "failed";
  error: string | null;
  time: string | null;
};

export type RuleCheck = {
  error?: {
    code?: string;
    message?: string;
  };
  errors: number;
  warnings: number;
  rules: number;
  problems: ({
    severity: "error" | "warning";
    file: string | null;
    line: number;
    column: number;
    code: string | null;
    what: string;
    object: string | null;
  })[];
};

export type RulePreview = RuleCheck & {
  since?: Time;
  bound?: number;
  looked_at?: number;
  not_looked_at?: number;
  matched?: number;
  oldest?: Time;
  matches?: {
    rule: string;
    priority: string;
    line: number;
    runs: boolean;
    matches: number;
    last: Time;
  }[];
  events?: {
    rule: string;
    output: string;
    event: Record<string, unknown>;
  }[];
  nodes?: Answer[];
  dropped?: number;
  undecodable?: number;
};

export type Setting = {
  key: string;
  value: number | string;
  default: number | string;
  min: number;
  max: number;
  description: string;
};

export type AuditRow = {
  id: number;
  time: Time;
  actor: string;
  role: string;
  address: string;
  action: string;
  object: string;
  outcome: string;
  detail: string;
  hash: string;
};

export type Container = {
  node: string;
  id: string;
  display_name: string;
  name: string;
  image: string;
  image_id?: string;
  image_digest?: string;
  runtime?: string;
  state: string;
  level?: string;
  workload: string;
  application: string;
  outer_id?: string;
  depth?: number;
  labels: Record<string, string>;
  mounts: {
    type?: string;
    source?: string;
    destination?: string;
    rw?: boolean;
    sensitive?: boolean;
  }[];
  networks: {
    name?: string;
    id?: string;
    ip?: string;
    ip6?: string;
    mac?: string;
    aliases?: string[];
  }[];
  ports: ({
    container_port?: number;
    protocol?: string;
    host_ip?: string;
    host_port?: number | null;
  })[];
  cap_add?: string[];
  cap_drop?: string[];
  devices?: string[];
  security_opt?: string[];
  env_names?: string[];
  cgroup_paths?: string[];
  network_mode?: string;
  pid_mode?: string;
  ipc_mode?: string;
  user?: string;
  health?: string;
  cgroup_parent?: string;
  privileged?: boolean;
  host_network?: boolean;
  host_pid?: boolean;
  host_ipc?: boolean;
  host_userns?: boolean;
  readonly_rootfs?: boolean;
  oom_killed?: boolean;
  init_pid?: number;
  created?: Time;
  started?: Time;
  finished?: Time;
  exit_code?: number;
  restart_count?: number;
  refused?: number;
  layers?: string[];
  created_by?: string;
  started_by?: string;
  ended_by?: string;
  seccomp?: string;
  lsm?: string;
  uts_mode?: string;
  host_uts?: boolean;
  host_cgroupns?: boolean;
  no_new_privileges?: boolean;
  memory_limit?: number;
  cpu_limit?: number;
  pids_limit?: number;
  restart_policy?: string;
  command?: string[];
  runs?: {
    started?: Time;
    finished?: Time;
    exit_code?: number;
    oom_killed?: boolean;
    error?: string;
  }[];
  capabilities?: string[];
  risks?: string[];
  health_command?: string[];
  net_ns?: number;
  network_of?: string;
  first_seen: Time;
  last_seen: Time;
  ended: Time;
};

export type Resource = {
  kind: string;
  id: string;
  name: string;
  application: string;
  scope: string;
  source: string;
  node: string;
  labels: Record<string, string>;
  detail: Record<string, unknown>;
  created: Time;
  updated: Time;
  first_seen: Time;
  changed: Time;
  serial: number;
};

export type Workload = {
  application: string;
  workload: string;
  images: {
    image?: string;
    image_digest?: string;
    running?: number;
    total?: number;
  }[];
  running: number;
  containers: number;
  nodes: number;
  executables: number;
  observations: number;
  observations_refused: number;
  findings: number;
  first_seen: Time;
  last_seen: Time;
};

export type Application = {
  application: string;
  workloads: number;
  running: number;
  containers: number;
  nodes: number;
  findings: number;
  first_seen: Time;
  last_seen: Time;
};

export type Endpoint = {
  id: number;
  side: "server" | "client";
  method: string;
  path: string;
  example: string;
  program: string;
  count: number;
  statuses: {
    none: number;
    "1xx": number;
    "2xx": number;
    "3xx": number;
    "4xx": number;
    "5xx": number;
  };
  request_bytes: number;
  response_bytes: number;
  timed: number;
  latency_us: number;
  latency_max_us: number;
  parameters: {
    name: string;
    what: string;
    count: number;
    first: Time;
    last: Time;
  }[];
  parameters_beyond: number;
  application: string;
  workload: string;
  image_digest: string;
  node: string;
  container_id: string;
  first: Time;
  last: Time;
};

export type Observation = {
  id: number;
  kind: string;
  subject: string;
  parent: string;
  detail?: string;
  uid?: number;
  example?: string;
  suspicious?: boolean;
  why?: string;
  count: number;
  application: string;
  workload: string;
  image_digest: string;
  node: string;
  container_id: string;
  first: Time;
  last: Time;
};

export type ModelFamily = {
  family: string;
  title: string;
  state: "learning" | "shadow" | "scored" | "enforceable";
  locked: boolean;
  observed: boolean;
  learned: number;
  outstanding: number;
  seen_once: number;
  acts: number;
  over: number;
  new_per_trial: number;
};

export type ModelVersion = {
  image_digest: string;
  state: string;
  locked: boolean;
  shadow: boolean;
  running: number;
  starts: number;
  trials: number;
  container_hours: number;
  first: Time;
  last: Time;
  families: ModelFamily[];
  learned: number;
  outstanding: number;
};

export type Model = {
  application: string;
  workload: string;
  bytes: number;
  over: number;
  versions: ModelVersion[];
};

export type ModelItem = {
  item: string;
  family: string;
  actor: string;
  object: string;
  detail: string;
  uid: number;
  standing: "learned" | "accepted" | "forbidden" | "refused" | "drift" | "held" | "novel" | "observed";
  inherited?: boolean;
  starting?: boolean;
  count: number;
  trials: number;
  replicas: number;
  first: Time;
  last: Time;
  example: string;
  why: string;
  says: string;
  risk: number;
};

export type Finding = {
  id: string;
  time: Time;
  rule: string;
  priority: Priority;
  source: string;
  hostname: string;
  output: string;
  output_fields: Record<string, unknown>;
  tags: string[];
  container_id: string;
  container_name: string;
  workload: string;
  application: string;
  image: string;
  node: string;
  kind: string;
  count: number;
  last: Time;
  received: Time;
  description?: string;
  advice?: string;
  container?: Record<string, unknown> | null;
  lineage?: (Record<string, unknown> | null)[];
  event?: Record<string, unknown> | null;
};

export type Tactic = "reconnaissance" | "initial-access" | "execution" | "persistence" | "privilege-escalation" | "defense-evasion" | "credential-access" | "discovery" | "lateral-movement" | "collection" | "command-and-control" | "exfiltration" | "impact";

export type Response = {
  id: string;
  action: "isolate" | "quarantine" | "pause" | "block" | "decoy" | "kill" | "stop" | "restart" | "kill-process" | "kill-tree" | "scale-to-zero";
  state: "pending" | "active" | "released" | "gone" | "done" | "failed" | "dry_run";
  releasing: boolean;
  node: string;
  container_id: string;
  container_name: string;
  workload: string;
  application: string;
  subject: string;
  actor: string;
  reason: string;
  allow: string[];
  deny: string[];
  best_effort: boolean;
  result: string;
  until: string | null;
  created: Time;
  changed: Time;
  refused: {
    acts: number;
    observed: number;
    packets: number;
    calls: number;
    last: string | null;
  } | null;
  detail?: Record<string, unknown>;
};

export type Enforcement = {
  application: string;
  workload: string;
  family: string;
  mode: "observe" | "enforce";
  by: string;
  reason: string;
  since: Time;
  until: string | null;
  programs: number;
  containers: {
    running: number;
    active: number;
    pending: number;
    failed: number;
    not_strict: number;
    kept: number;
    protected: number;
    released: number;
  };
  refused: number;
  observed: number;
  notes: string[];
};

export type Policy = {
  name: string;
  description: string;
  enabled: boolean;
  dry_run: boolean;
  decided: "node" | "central";
  when: string;
  scope: string;
  action: string;
  ttl: number;
  rate: number;
  rate_seconds: number;
  containers: number;
  percent: number;
  cool_down: number;
  responses: {
    total: number;
    open: number;
    dry_run: number;
    failed: number;
  };
  changed_by: string;
  changed: Time;
  text?: string;
};

export type PolicyProblem = {
  line: number;
  column: number;
  what: string;
};

export type PolicyProblems = {
  error: {
    code?: string;
    message?: string;
  };
  problems: PolicyProblem[];
};

export type PolicyCheck = {
  errors: number;
  problems: PolicyProblem[];
  name: string | null;
  looked_at: number;
  matched: number;
  more: boolean;
  would: ({
    time: Time;
    finding: string | null;
    incident: number | null;
    rule: string | null;
    node: string;
    container_id: string;
    container_name: string;
    workload: string;
    application: string;
    decision: "act" | "cool_down" | "rate" | "containers" | "percent" | "protected";
    why: string;
  })[];
};

export type Evidence = {
  id: number;
  kind: string;
  node: string;
  time: Time;
  received: Time;
  why: string | null;
  path: string | null;
  rule: string | null;
  finding: string;
  container_id: string;
  container_name: string | null;
  workload: string | null;
  pid: number;
  process_start: string | null;
  exe: string | null;
  args: string | null;
  sha256: string | null;
  size: number;
  cut: boolean;
  data: "here" | "dropped" | "missing" | "none";
  chain: string;
  seq: number;
  line?: string;
};

export type EvidenceReport = {
  ok: boolean;
  items: number;
  objects: number;
  objects_elsewhere?: number;
  bytes?: number;
  chains?: number;
  heads_compared?: number;
  gaps?: number;
  chain?: string;
  first_seq?: number;
  seq?: number;
  sha256?: string;
  next?: string;
  problem_count: number;
  problems: ({
    what: "changed" | "removed" | "order" | "truncated" | "rewritten" | "begun_anew" | "object_changed" | "object_missing" | "unreadable";
    seq: number;
    text: string;
  })[];
};

export type Incident = {
  id: number;
  state: "open" | "closed" | "merged";
  merged_into?: number;
  severity: "low" | "medium" | "high" | "critical";
  priority: Priority;
  title: string;
  story: string;
  now?: string;
  weighed?: {
    stages: number;
    way_out: number;
    node: number;
    asset: number;
    surprise: number;
  };
  tactics: Tactic[];
  first: Time;
  last: Time;
  findings: number;
  dropped: number;
  nodes: string[];
  applications: string[];
  workloads: string[];
  containers: ({
    node: string;
    id: string;
    name: string;
    workload: string;
    application: string;
    asset?: "" | "high" | "critical";
    image?: string | null;
    state?: string | null;
    ended?: string | null;
    privileged?: boolean;
  })[];
  assignee: string;
  verdict: "" | "true_positive" | "false_positive" | "benign";
  closed_by: string;
  closed: string | null;
  opened: Time;
  changed: Time;
  taught?: {
    accepted: number;
    known: number;
    forbidden: number;
    gone: number;
    failed: number;
    more: boolean;
  };
  timeline?: ({
    finding: string;
    time: Time;
    last: Time;
    count: number;
    rule: string;
    priority: string;
    tactics: Tactic[];
    joined_by: "" | "container" | "process" | "file" | "target" | "asked" | "reached" | "credential";
    used?: string;
    node: string;
    container_id: string;
    container_name: string;
    workload: string;
    application: string;
    pid: number;
    exe: string;
    command: string;
    parent: string;
    object: string;
    output: string;
    escape: boolean;
    of_host: boolean;
    asset?: "" | "high" | "critical";
    surprise?: number;
    deed?: "" | "wrote" | "module" | "kernel" | "bpf" | "read" | "sent";
    thing?: string;
    origin?: string;
    serial: number;
  })[];
  processes?: ({
    finding: string | null;
    node: string;
    pid: number;
    started: string | null;
    parent_pid: number | null;
    parent_started: string | null;
    exe: string;
    args: string[];
    uid: number;
    container_id: string;
    origin_id: string;
  })[];
  files?: IncidentFile[];
  credentials?: IncidentFile[];
  flows?: ({
    finding: string;
    time: Time;
    node: string;
    container_id: string;
    container_name: string;
    direction: "in" | "out";
    peer: string;
    port: number;
  })[];
  missing?: number;
  responses?: Response[];
  comments?: {
    time: Time;
    who: string;
    text: string;
  }[];
};

export type IncidentFile = {
  finding: string;
  time: Time;
  node: string;
  container_id: string;
  container_name: string;
  path: string;
  act: string;
};

export type OutputConfig = {
  type: "stdout" | "file" | "syslog" | "webhook";
  enabled?: boolean;
  format?: "text" | "falco" | "bulkhead";
  minimum_priority?: Priority;
  sources?: string[];
  tags?: string[];
  rules?: string[];
  file?: string;
  transport?: "udp" | "tcp" | "tls" | "local";
  host?: string;
  port?: number;
  facility?: string;
  url?: string;
  url_secret?: string | boolean;
  headers?: Record<string, string | boolean>;
  timeout?: number;
  ca?: string;
  certificate?: string;
  key?: string | boolean;
};

export type Output = {
  name: string;
  target: string;
  config: OutputConfig;
  created: Time;
  changed: Time;
  status: {
    name: string;
    state: "idle" | "delivering" | "waiting" | "off";
    queued: number;
    queued_bytes: number;
    delivered: number;
    refused: number;
    cut: number;
    lost: number;
    failures: number;
    problem: string;
    problem_at: Time;
    delivered_at: Time;
    next_try: Time;
  } | null;
};

export type Process = {
  node: string;
  pid: number;
  vpid: number;
  ppid: number;
  started: Time;
  container_id: string;
  origin_id: string;
  comm: string;
  exe: string;
  args: string[];
  uid: number;
  gid: number;
  user: string;
  group: string;
};

export type Answer = {
  node: string;
  dropped: number;
  cut: boolean;
  error: string | null;
};

export type Node = {
  name: string;
  up: boolean;
  version: string;
  boot_id: string;
  first_seen: Time;
  last_seen: Time;
  running: number;
  containers: number;
  status_time: Time;
  status?: Record<string, unknown>;
};

export type Loss = {
  node: string;
  topic: string;
  reason: string;
  count: number;
  bytes: number;
  times: number;
  first: Time;
  last: Time;
};

export type GraphNode = {
  id: string;
  kind: "container" | "workload" | "application" | "host" | "name" | "network" | "runtime";
  name: string;
  application: string;
  workload: string;
  container: string;
  node: string;
  image: string;
  state: string;
  running: number;
  containers: number;
  findings: number;
  level: number;
};

export type GraphEdge = {
  id: string;
  from: string;
  to: string;
  proto: string;
  port: number;
  path: string;
  protocol: string;
  server_name: string;
  tls_fingerprint: string;
  tls_certificate: string;
  connections: number;
  open: number;
  half_open: number;
  refused: number;
  timed_out: number;
  unreachable: number;
  failed: number;
  reset: number;
  bytes_out: number;
  bytes_in: number;
  bytes_known?: boolean;
  packets_out: number;
  packets_in: number;
  duration: number;
  first_seen: Time;
  last_seen: Time;
  new: boolean;
  clients: string[];
  servers: string[];
  names: string[];
  resolved?: {
    by: string;
    by_name: string;
    address: string;
  }[];
  dialled: string[];
  networks: string[];
  ports: number;
  addresses: number;
  port_samples: number[];
  hidden: boolean;
  sides: "both" | "client" | "server";
};

export type GraphBucket = {
  time: Time;
  connections: number;
  bytes: number;
  failures: number;
  new_edges: number;
};

export type Listener = {
  node: string;
  container: string;
  container_name: string;
  application: string;
  workload: string;
  exe: string;
  pid: number;
  proto: string;
  address: string;
  port: number;
  path: string;
  started: Time;
  first_seen: Time;
  reached_by: string[];
};

export type Status = {
  time: Time;
  central: {
    version?: string;
    started?: Time;
    uptime_s?: number;
    landlock?: number;
    certificate?: string;
    certificate_expires?: Time;
    connections?: number;
    streams?: number;
    store?: {
      schema?: number;
      bytes_used?: number;
      bytes_file?: number;
      failed?: number;
      last_backup?: Time;
      restored_from?: string | null;
      damaged_kept_as?: string | null;
    };
    upkeep?: {
      problem?: string | null;
      over_bound?: boolean;
    };
    map?: {
      generation?: number;
      halves?: number;
      edges?: number;
      containers?: number;
      batches?: number;
      folded?: number;
      swarm_conflicts?: number;
      contested?: number;
      contested_addresses?: {
        address?: string;
        node?: string;
        rival?: string;
        rivals?: number;
      }[];
    };
    outputs?: {
      count?: number;
      running?: boolean;
      queued?: number;
      lost?: number;
      gaps?: number;
      failing?: {
        name?: string;
        problem?: string;
      }[];
    };
  };
  overview: {
    nodes?: number;
    nodes_up?: number;
    containers?: number;
    running?: number;
    workloads?: number;
    applications?: number;
    observations?: number;
    findings?: number;
    lost?: number;
    findings_by_priority?: Record<string, number>;
  };
  nodes: Node[];
};

export type Call =
  | "GET /healthz"
  | "GET /readyz"
  | "GET /metrics"
  | "POST /api/v1/login"
  | "POST /api/v1/logout"
  | "GET /api/v1/me"
  | "POST /api/v1/me/password"
  | "GET /api/v1/status"
  | "GET /api/v1/containers"
  | "GET /api/v1/containers/{id}"
  | "GET /api/v1/resources"
  | "GET /api/v1/workloads"
  | "GET /api/v1/applications"
  | "GET /api/v1/observations"
  | "GET /api/v1/endpoints"
  | "GET /api/v1/graph"
  | "GET /api/v1/graph/edges/{id}"
  | "GET /api/v1/graph/histogram"
  | "GET /api/v1/graph/diff"
  | "GET /api/v1/listeners"
  | "GET /api/v1/processes"
  | "GET /api/v1/events"
  | "GET /api/v1/events/live"
  | "GET /api/v1/findings"
  | "GET /api/v1/findings/{id}"
  | "GET /api/v1/incidents"
  | "GET /api/v1/incidents/{id}"
  | "GET /api/v1/incidents/{id}/exceptions"
  | "POST /api/v1/incidents/{id}/assign"
  | "POST /api/v1/incidents/{id}/comment"
  | "POST /api/v1/incidents/{id}/merge"
  | "POST /api/v1/incidents/{id}/split"
  | "POST /api/v1/incidents/{id}/close"
  | "GET /api/v1/evidence"
  | "GET /api/v1/evidence/heads"
  | "GET /api/v1/evidence/verify"
  | "GET /api/v1/evidence/export"
  | "GET /api/v1/evidence/{id}"
  | "GET /api/v1/evidence/{id}/data"
  | "GET /api/v1/nodes"
  | "GET /api/v1/nodes/{name}"
  | "GET /api/v1/losses"
  | "GET /api/v1/stream"
  | "GET /api/v1/tokens"
  | "POST /api/v1/tokens"
  | "DELETE /api/v1/tokens/{id}"
  | "GET /api/v1/responses"
  | "POST /api/v1/responses"
  | "GET /api/v1/responses/{id}"
  | "POST /api/v1/responses/{id}/release"
  | "GET /api/v1/policies"
  | "POST /api/v1/policies/check"
  | "GET /api/v1/policies/{name}"
  | "PUT /api/v1/policies/{name}"
  | "DELETE /api/v1/policies/{name}"
  | "GET /api/v1/rules"
  | "GET /api/v1/rules/fields"
  | "GET /api/v1/rules/files"
  | "GET /api/v1/rules/files/{name}"
  | "PUT /api/v1/rules/files/{name}"
  | "DELETE /api/v1/rules/files/{name}"
  | "POST /api/v1/rules/check"
  | "POST /api/v1/rules/preview"
  | "POST /api/v1/rules/reload"
  | "GET /api/v1/models"
  | "GET /api/v1/models/items"
  | "GET /api/v1/models/diff"
  | "GET /api/v1/models/text"
  | "POST /api/v1/models/lock"
  | "POST /api/v1/models/relearn"
  | "POST /api/v1/models/judge"
  | "GET /api/v1/models/enforced"
  | "POST /api/v1/models/enforce"
  | "POST /api/v1/models/unenforce"
  | "POST /api/v1/models/import"
  | "GET /api/v1/settings"
  | "PUT /api/v1/settings/{key}"
  | "GET /api/v1/outputs"
  | "GET /api/v1/outputs/{name}"
  | "PUT /api/v1/outputs/{name}"
  | "DELETE /api/v1/outputs/{name}"
  | "POST /api/v1/outputs/{name}/test"
  | "GET /api/v1/users"
  | "POST /api/v1/users"
  | "GET /api/v1/users/{name}"
  | "PATCH /api/v1/users/{name}"
  | "DELETE /api/v1/users/{name}"
  | "POST /api/v1/users/{name}/password"
  | "GET /api/v1/audit"
  | "GET /api/v1/audit/verify";
