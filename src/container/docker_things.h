/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Docker Engine's and its Swarm's answers about everything but containers (https://docs.docker.com/engine/api/v1.41/), as resources.
 *
 * Pure; thread-safe; hostile input. A member of the wrong type counts as absent, an element without an id is counted as refused. Of configs and secrets
 * nothing is read but id, name, stack and times; of variables their names; of a volume's options their names.
 */
#pragma once
#include "container/docker_json.h"
#include "container/resource.h"

/* Answers by path: GET /<name>. In the order in which they are asked for and told: what matters most is in the set when it is full. */
typedef enum {
        BH_DOCKER_NETWORKS,
        BH_DOCKER_VOLUMES,
        BH_DOCKER_IMAGES,
        /* of managers only */
        BH_DOCKER_SERVICES,
        BH_DOCKER_TASKS,
        BH_DOCKER_NODES,
        BH_DOCKER_CONFIGS,
        BH_DOCKER_SECRETS,
        BH_DOCKER_THINGS,
} BhDockerThing;

/* "/networks", … */
const char *bh_docker_thing_path(BhDockerThing thing);

typedef struct {
        BhDockerInfo info;
        const char *engine_version;
        json_t *answers[BH_DOCKER_THINGS]; /* owned; NULL: no answer, so what was known of it stays */
        GPtrArray *inspected;              /* json_t, owned: GET /networks/ID of networks that span nodes; may be NULL */
} BhDockerThings;

void bh_docker_things_clear(BhDockerThings *t);

/* Whether some task is on its way to where it should be: no event tells when one of another node arrives. */
gboolean bh_docker_things_settling(const BhDockerThings *t);

/*
 * What is this node's own: source "docker", scope "node". `containers` (BhContainer *) are the engine's: Compose's projects are known from their labels.
 * `before` (may be NULL) is kept from where an answer is missing.
 */
BhResourceSet *bh_docker_node_set(const BhDockerThings *t, const GPtrArray *containers, const BhResourceSet *before);

/* What the cluster is: source "swarm", scope "swarm:<cluster id>". NULL when this engine is no manager. */
BhResourceSet *bh_docker_swarm_set(const BhDockerThings *t, const BhResourceSet *before);
