/* SPDX-License-Identifier: Apache-2.0 */
/* Who sees what: nobody the login, somebody with a first password the change of it, everybody else the pages. */
import { useEffect } from "preact/hooks";
import { Audit } from "../features/admin/audit";
import { Tokens } from "../features/admin/tokens";
import { Users } from "../features/admin/users";
import { Containers } from "../features/containers/containers";
import { Events } from "../features/events/events";
import { Health } from "../features/health/health";
import { Incidents } from "../features/incidents/incidents";
import { MapPage } from "../features/map/map";
import { Models } from "../features/models/models";
import { Login } from "../features/login/login";
import { Password } from "../features/login/password";
import { Overview } from "../features/overview/overview";
import { Responses } from "../features/responses/responses";
import { Button, Empty } from "../parts/ui";
import { Brand } from "../parts/icons";
import { route } from "./router";
import { Shell } from "./shell";
import { me, start, startError, stop, whoAmI } from "./state";

export interface PageDef { path: string; title: string; icon: string; aside?: boolean; role?: "admin"; page: () => preact.JSX.Element }

export const PAGES: PageDef[] = [
  { path: "/", title: "Overview", icon: "overview", page: Overview },
  { path: "/incidents", title: "Incidents", icon: "incidents", page: Incidents },
  { path: "/map", title: "Map", icon: "map", page: MapPage },
  { path: "/models", title: "Models", icon: "models", page: Models },
  { path: "/containers", title: "Containers", icon: "containers", page: Containers },
  { path: "/responses", title: "Responses", icon: "responses", page: Responses },
  { path: "/events", title: "Live events", icon: "events", page: Events },
  { path: "/health", title: "Health", icon: "health", page: Health },
  { path: "/users", title: "Users", icon: "users", aside: true, role: "admin", page: Users },
  { path: "/tokens", title: "API tokens", icon: "key", aside: true, page: Tokens },
  { path: "/audit", title: "Audit log", icon: "audit", aside: true, role: "admin", page: Audit },
];

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
  const def = PAGES.find((p) => p.path === path || (p.path !== "/" && path.startsWith(p.path + "/")));
  const allowed = def && (!def.role || who?.role === def.role);

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
            {def ? <Empty icon="lock" title="Only administrators see this page">You are logged in as {who.name} ({who.role}).</Empty>
              : <Empty icon="unknown" title="There is no such page"><a href="#/">Go to the overview</a></Empty>}
          </div>}
    </Shell>
  );
}
