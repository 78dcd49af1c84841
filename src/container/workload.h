/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which microservice (workload) and application a container belongs to, from its labels, its name and its image alone.
 *
 *   Kubernetes  owner of the pod (its name without the generated suffixes) + "/" + container; part-of label, else namespace
 *   Swarm       com.docker.swarm.service.name; com.docker.stack.namespace
 *   Compose     com.docker.compose.service (or podman's); com.docker.compose.project
 *   others      image repository + "/" + name pattern; part-of label, else none. Names that Docker made up count as no name,
 *               so that every `docker run nginx` is one workload "nginx".
 *
 * Pure functions; no threads, no failure.
 */
#pragma once
#include "container/container.h"

/* Sets c->workload and c->application. The lists must be sorted. */
void bh_workload_derive(BhContainer *c);

/* "web-3", "web_3", "web-7d4b9c8f6d-x2x4k", "job.1.k3j…" → the part that replicas share. Never empty unless name is. Caller frees. */
char *bh_workload_name_pattern(const char *name);

/* "registry:5000/team/app:1.2@sha256:…" → "registry:5000/team/app"; "" for a bare image id. Caller frees. */
char *bh_workload_image_repository(const char *image);
