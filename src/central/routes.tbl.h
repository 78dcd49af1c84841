/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every route of the HTTP interface. api/openapi.yaml says the same for people, and a test holds the two together.
 *
 *     BH_ROUTE(method, pattern, role, body bound in bytes, parameters of the query, name in the audit log, handler)
 *
 * "{name}" in a pattern is one segment. role: the least that may (NONE: anybody, without a login). A body bound of 0: no body. An audit name:
 * the handler writes that row with the change it makes; a refusal for the role is written by the router. HEAD is answered where GET is.
 */
/* open */
BH_ROUTE(GET, "/healthz", NONE, 0, "", NULL, healthz)
BH_ROUTE(GET, "/readyz", NONE, 0, "", NULL, readyz)
BH_ROUTE(POST, "/api/v1/login", NONE, 4096, "", "session.login", login)
/* whoever is logged in */
BH_ROUTE(POST, "/api/v1/logout", VIEWER, 1024, "", "session.logout", logout)
BH_ROUTE(GET, "/api/v1/me", VIEWER, 0, "", NULL, me)
BH_ROUTE(POST, "/api/v1/me/password", VIEWER, 4096, "", "user.password", own_password)
BH_ROUTE(GET, "/api/v1/status", VIEWER, 0, "", NULL, status)
BH_ROUTE(GET, "/metrics", VIEWER, 0, "", NULL, metrics)
BH_ROUTE(GET, "/api/v1/containers", VIEWER, 0, "node,application,workload,state,image,living,search,since,until,cursor,limit,count", NULL, containers)
BH_ROUTE(GET, "/api/v1/containers/{id}", VIEWER, 0, "node", NULL, container)
BH_ROUTE(GET, "/api/v1/workloads", VIEWER, 0, "application,workload,node,search,living,cursor,limit", NULL, workloads)
BH_ROUTE(GET, "/api/v1/applications", VIEWER, 0, "cursor,limit", NULL, applications)
BH_ROUTE(GET, "/api/v1/resources", VIEWER, 0, "kind,scope,source,application,node,id,search,cursor,limit,count", NULL, resources)
BH_ROUTE(GET, "/api/v1/observations", VIEWER, 0, "application,workload,image_digest,kind,subject,search,since,until,cursor,limit", NULL, observations)
BH_ROUTE(GET, "/api/v1/processes", VIEWER, 0, "node,container,limit", NULL, processes)
BH_ROUTE(GET, "/api/v1/events", VIEWER, 0, "node,container,types,since,until,limit,filter,format", NULL, events)
BH_ROUTE(GET, "/api/v1/events/live", VIEWER, 0, "node,container,types,filter", NULL, events_live)
BH_ROUTE(GET, "/api/v1/findings", VIEWER, 0, "node,container,application,workload,rule,rule_glob,kind,source,tag,priority,search,since,until,cursor,limit,count", NULL, findings)
BH_ROUTE(GET, "/api/v1/findings/{id}", VIEWER, 0, "", NULL, finding)
BH_ROUTE(GET, "/api/v1/rules", VIEWER, 0, "node", NULL, rules)
BH_ROUTE(GET, "/api/v1/rules/files", VIEWER, 0, "", NULL, rule_files)
BH_ROUTE(GET, "/api/v1/rules/files/{name}", VIEWER, 0, "", NULL, rule_file)
BH_ROUTE(GET, "/api/v1/nodes", VIEWER, 0, "", NULL, nodes)
BH_ROUTE(GET, "/api/v1/nodes/{name}", VIEWER, 0, "", NULL, node)
BH_ROUTE(GET, "/api/v1/losses", VIEWER, 0, "", NULL, losses)
BH_ROUTE(GET, "/api/v1/stream", VIEWER, 0, "after", NULL, stream)
BH_ROUTE(GET, "/api/v1/tokens", VIEWER, 0, "all", NULL, tokens)
BH_ROUTE(POST, "/api/v1/tokens", VIEWER, 4096, "", "token.create", token_create)
BH_ROUTE(DELETE, "/api/v1/tokens/{id}", VIEWER, 0, "", "token.revoke", token_revoke)
/* analysts */
BH_ROUTE(POST, "/api/v1/rules/check", ANALYST, 1048576, "", "rules.check", rules_check)
BH_ROUTE(GET, "/api/v1/settings", ANALYST, 0, "", NULL, settings)
/* administrators */
BH_ROUTE(PUT, "/api/v1/rules/files/{name}", ADMIN, 1048576, "", "rules.set", rule_file_set)
BH_ROUTE(DELETE, "/api/v1/rules/files/{name}", ADMIN, 0, "", "rules.remove", rule_file_remove)
BH_ROUTE(POST, "/api/v1/rules/reload", ADMIN, 1024, "node", "rules.reload", rules_reload)
BH_ROUTE(PUT, "/api/v1/settings/{key}", ADMIN, 4096, "", "setting.set", setting_set)
BH_ROUTE(GET, "/api/v1/users", ADMIN, 0, "", NULL, users)
BH_ROUTE(POST, "/api/v1/users", ADMIN, 4096, "", "user.create", user_create)
BH_ROUTE(GET, "/api/v1/users/{name}", ADMIN, 0, "", NULL, user)
BH_ROUTE(PATCH, "/api/v1/users/{name}", ADMIN, 4096, "", "user.change", user_change)
BH_ROUTE(DELETE, "/api/v1/users/{name}", ADMIN, 0, "", "user.delete", user_delete)
BH_ROUTE(POST, "/api/v1/users/{name}/password", ADMIN, 4096, "", "user.reset", user_reset)
BH_ROUTE(GET, "/api/v1/outputs", ADMIN, 0, "", NULL, outputs)
BH_ROUTE(GET, "/api/v1/outputs/{name}", ADMIN, 0, "", NULL, output)
BH_ROUTE(PUT, "/api/v1/outputs/{name}", ADMIN, 65536, "", "output.set", output_set)
BH_ROUTE(DELETE, "/api/v1/outputs/{name}", ADMIN, 0, "", "output.remove", output_remove)
BH_ROUTE(POST, "/api/v1/outputs/{name}/test", ADMIN, 1024, "", "output.test", output_test)
BH_ROUTE(GET, "/api/v1/audit", ADMIN, 0, "actor,action,object,outcome,search,since,until,cursor,limit", NULL, audit)
BH_ROUTE(GET, "/api/v1/audit/verify", ADMIN, 0, "", NULL, audit_verify)
