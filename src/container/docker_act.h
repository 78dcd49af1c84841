/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Acts of a Docker Engine on a container, or of a Swarm on a service, asked for over its Unix socket: for responses. Waits for the engine; any thread. Errors are what the engine said;
 * G_FILE_ERROR_NOENT: there is no such thing.
 */
#pragma once
#include <glib.h>
#include <jansson.h>

/* `act`: "kill", "stop", "start", "restart", "pause", "unpause", with a query ("stop?t=5") where it has one. `id`: the full id, hexadecimal digits alone. TRUE also where it is so already. FALSE with *error: what the engine said. */
gboolean bh_docker_act(const char *socket_path, const char *id, const char *act, guint timeout_ms, GError **error);

/* A container as the engine describes it. New reference. */
json_t *bh_docker_container(const char *socket_path, const char *id, guint timeout_ms, GError **error);

/* A service as the engine describes it; the engine must be a manager of the Swarm. New reference. */
json_t *bh_docker_service(const char *socket_path, const char *id, guint timeout_ms, GError **error);
/* FALSE: it is global, or a job, and has no number of replicas. */
gboolean bh_docker_service_replicas(const json_t *service, gint64 *replicas);
/* Of a service as it was read; all else of it stays as it is. G_FILE_ERROR_AGAIN: somebody changed it since, read it again. */
gboolean bh_docker_service_scale(const char *socket_path, const json_t *service, gint64 replicas, guint timeout_ms, GError **error);
