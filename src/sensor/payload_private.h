/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of BhPayload, for payload.c and payload_tls.c alone. */
#pragma once
#include <bpf/libbpf.h>

#include "payload.h"
#include "payload_record.h"
#include "ring.h"

#define BH_PAYLOAD_PROGRAMS 16

struct BhPayload {
        BhHooks *hooks;
        struct bpf_object *object;
        const char *names[BH_PAYLOAD_PROGRAMS]; /* of its programs that are loaded */
        struct bpf_link *links[BH_PAYLOAD_PROGRAMS];
        BhRing *ring;
        int streams, rules, config, counts, accounts, open, unwanted; /* maps of the object */
        BhBackend force;
        const char *backend;
        gint loaded; /* atomically: the object, its maps, ring and thread are there */
        BhPayloadSeen seen;
        gpointer data;
        GThread *thread;
        gpointer told_ns; /* a time: all before it was told; set by the thread */
        guint64 told; /* atomically */

        GMutex lock; /* of all below, and of attaching */
        GCond changed;
        gint started; /* changed with both locks held; atomically */
        gboolean ends;
        struct bh_payload_config state; /* as it is in the kernel */
        guint n_rules;
        guint cpus;
        guint64 user_ignored;
        BhPayloadAccount gone;

        GMutex tls_lock; /* of the rest; before `lock`. Attaching takes long, and no piece waits for it */
        GHashTable *tls; /* files of TLS libraries: see payload_tls.c */
        guint64 tls_refused;
};

/* With `lock` held. */
void bh_payload_config_write(BhPayload *p);
GHashTable *bh_payload_tls_table(void);
/* With `tls_lock` held. */
void bh_payload_tls_forget(BhPayload *p);
