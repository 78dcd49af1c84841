/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoding of the Docker Engine API's answers (https://docs.docker.com/engine/api/v1.41/): untrusted bytes in, our types out.
 *
 * Labels, names, commands are chosen by whoever starts a container. Each member's JSON type is checked; a member of the wrong type
 * counts as absent. A NUL that JSON can carry and our strings cannot ("\u0000", in keys too) becomes U+2400, so that it can neither
 * cut a string short nor make a whole document unreadable. Pure functions; thread-safe. NULL/FALSE with *error for what is no JSON
 * document of the expected outer shape.
 */
#pragma once
#include "container/runtime_event.h"

/* A parsed document; also removes the NULs. `data` is changed in place. */
json_t *bh_docker_json_load(char *data, gsize len, GError **error);

/* GET /containers/ID/json. The result is at level BH_CONTAINER_FULL and finished, but its image_digest is empty. */
BhContainer *bh_docker_json_inspect(const json_t *doc, GError **error);

/* One element of GET /containers/json: level BH_CONTAINER_FROM_EVENT. */
BhContainer *bh_docker_json_list_entry(const json_t *entry, GError **error);

/* One line of GET /events; `container` is left NULL, `exec_command` is set from the action's text. */
BhRuntimeEvent *bh_docker_json_event(const json_t *doc, GError **error);

/* A container from a container event's own attributes: level BH_CONTAINER_FROM_EVENT. */
BhContainer *bh_docker_event_container(const BhRuntimeEvent *ev);

/* GET /exec/ID/json: pid in the engine's namespace, 0 = not started (or not a number of a process). */
gboolean bh_docker_json_exec(const json_t *doc, gint32 *pid, gboolean *running, GError **error);

/* GET /images/ID/json: the repository digest that fits `image` as the user gave it, else the first, else "". Caller frees. */
char *bh_docker_json_image_digest(const json_t *doc, const char *image);

/* The same answer's layers: RootFS.Layers, the lowest first; NULL-terminated, never NULL. Caller frees (g_strfreev). */
char **bh_docker_json_image_layers(const json_t *doc);

/* GET /info: what containers get that ask for nothing else, and the engine's place in a Swarm. Texts are cut at their room. */
typedef struct {
        gboolean known;
        gboolean lsm;               /* AppArmor or SELinux holds containers */
        gboolean no_new_privileges; /* of all containers */
        gboolean manager;           /* of its Swarm, and one that has a quorum */
        char seccomp[128];          /* "default", "unconfined", or the profile's path */
        char swarm_state[32];       /* "inactive", "pending", "active", "error", "locked" */
        char node_id[64], node_address[64], cluster_id[64]; /* the cluster's is known to managers only */
        char name[256];             /* the host's */
} BhDockerInfo;

gboolean bh_docker_json_info(const json_t *doc, BhDockerInfo *out, GError **error);
/* Fills in what an inspected container left to the engine. TRUE if it changed anything; it is finished then. */
gboolean bh_docker_apply_info(BhContainer *c, const BhDockerInfo *info);

typedef struct {
        char version[64];
        char api_version[16], min_api_version[16];
} BhDockerVersion;

/* GET /version. */
gboolean bh_docker_json_version(const json_t *doc, BhDockerVersion *out, GError **error);

/* The API version to speak: the newest that both sides know, never older than the engine's minimum. */
void bh_docker_pick_api(const BhDockerVersion *v, char out[16]);

/* Whether an identifier may stand in a URL's path as it is. */
gboolean bh_docker_id_is_safe(const char *id);
