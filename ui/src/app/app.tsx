/* SPDX-License-Identifier: Apache-2.0 */
/* Who sees what: nobody the login, somebody with a first password the change of it, everybody else the pages. */
import { useEffect } from "preact/hooks";
import { Containers } from "../features/containers/containers";
import { Health } from "../features/health/health";
import { Incidents } from "../features/incidents/incidents";
import { Login } from "../features/login/login";
import { Password } from "../features/login/password";
import { Overview } from "../features/overview/overview";
import { Responses } from "../features/responses/responses";
import { Button, Empty } from "../parts/ui";
import { Brand } from "../parts/icons";
import type { Me } from "../api/model";
import { lazy } from "./lazy";
import { route } from "./router";
import { Shell } from "./shell";
import { me, start, startError, stop, whoAmI } from "./state";

export interface PageDef { path: string; title: string; icon: string; aside?: boolean; role?: "admin" | "analyst"; page: () => preact.JSX.Element }

/* What most people open first is in the first script; the rest comes when it is needed. */
export const PAGES: PageDef[] = [
  { path: "/", title: "Overview", icon: "overview", page: Overview },
  { path: "/incidents", title: "Incidents", icon: "incidents", page: Incidents },
  { path: "/map", title: "Map", icon: "map", page: lazy(() => import("../features/map/map").then((m) => m.MapPage)) },
  { path: "/findings", title: "Findings", icon: "findings", page: lazy(() => import("../features/findings/findings").then((m) => m.Findings)) },
  { path: "/models", title: "Models", icon: "models", page: lazy(() => import("../features/models/models").then((m) => m.Models)) },
  { path: "/containers", title: "Containers", icon: "containers", page: Containers },
  { path: "/policies", title: "Policies", icon: "policies", page: lazy(() => import("../features/policies/policies").then((m) => m.Policies)) },
  { path: "/responses", title: "Responses", icon: "responses", page: Responses },
  { path: "/events", title: "Live events", icon: "events", page: lazy(() => import("../features/events/events").then((m) => m.Events)) },
  { path: "/health", title: "Health", icon: "health", page: Health },
  { path: "/users", title: "Users", icon: "users", aside: true, role: "admin", page: lazy(() => import("../features/admin/users").then((m) => m.Users)) },
  { path: "/tokens", title: "API tokens", icon: "key", aside: true, page: lazy(() => import("../features/admin/tokens").then((m) => m.Tokens)) },
  { path: "/audit", title: "Audit log", icon: "audit", aside: true, role: "admin", page: lazy(() => import("../features/admin/audit").then((m) => m.Audit)) },
  { path: "/settings", title: "Settings", icon: "settings", aside: true, role: "analyst", page: lazy(() => import("../features/settings/settings").then((m) => m.Settings)) },
];

export const pageAt = (path: string) => PAGES.find((p) => p.path === path || (p.path !== "/" && path.startsWith(p.path + "/")));
export const mayOpen = (p: PageDef, who: Me | null | undefined) => !p.role || who?.role === "admin" || who?.role === p.role;

function Starting() {
  return (
    <main class="gate">
      <div class="gate-box">
        <div class="gate-brand"><Brand size={28} /><span>Bulkhead</span></div>
        {startError.value
          ? <><h1>The central does not answer</h1><p class="lead">{startError.value}</p><Button kind="primary" onClick={() => void whoAmI()}>Try again</Button></>
          : <p class="lead" role="status">Connecting…</p>}
      </div>
    </main>
  );
}

export function App() {
  const who = me.value;
  const path = route.value.path;
  const inside = !!who && !who.mustChange;
  const def = pageAt(path);
  const allowed = def && mayOpen(def, who);

  useEffect(() => {
    if (!inside) return;
    start();
    return stop;
  }, [inside, who?.name]);
  useEffect(() => {
    document.title = inside ? `${def?.title ?? "Not found"} · Bulkhead` : "Bulkhead";
  }, [inside, def]);
  useEffect(() => {
    if (who !== undefined || !startError.value) return;
    const t = setInterval(() => void whoAmI(), 5000);
    return () => clearInterval(t);
  }, [who, startError.value]);

  if (who === undefined) return <Starting />;
  if (who === null) return <Login />;
  if (who.mustChange) return <Password forced />;
  const Page = def?.page;
  return (
    <Shell pages={PAGES}>
      {allowed && Page ? <Page key={def.path} />
        : <div class="page"><h1 class="sr">{def ? "Not allowed" : "Not found"}</h1>
            {def ? <Empty icon="lock" title={def.role === "admin" ? "Only administrators see this page" : "Only analysts and administrators see this page"}>You are logged in as {who.name} ({who.role}).</Empty>
              : <Empty icon="unknown" title="There is no such page"><a href="#/">Go to the overview</a></Empty>}
          </div>}
    </Shell>
  );
}
