/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Acts of a Docker Engine on a container, asked for over its Unix socket: for responses. Waits for the engine; any thread.
 */
#pragma once
#include <glib.h>

/* `act`: "kill", "stop", "restart", "unpause". `id`: the full id, hexadecimal digits alone. TRUE also where it is so already. FALSE with *error: what the engine said. */
gboolean bh_docker_act(const char *socket_path, const char *id, const char *act, guint timeout_ms, GError **error);
