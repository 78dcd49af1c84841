/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of BhPayload, for payload.c, payload_programs.c and payload_tls.c alone. */
#pragma once
#include "payload.h"
#include "payload_record.h"
#include "ring.h"

#define BH_PAYLOAD_PROGRAMS 16

typedef struct {
        const char *name; /* static */
        int fd, link;     /* link -1: not attached, or one of a TLS library */
} BhPayloadProgram;

struct BhPayload {
        BhHooks *hooks;
        GArray *programs; /* BhPayloadProgram; NULL: none */
        GHashTable *maps; /* those that are not the hooks': name → fd + 1 */
        BhRing *ring;
        int streams, rules, config, counts, accounts, open, unwanted; /* of `maps` */
        BhBackend force;
        const char *backend;
        gint loaded; /* atomically: programs, maps, ring and thread are there */
        BhPayloadSeen seen;
        gpointer data;
        GThread *thread;
        gpointer told_ns; /* a time: all before it was told; set by the thread */
        guint64 told; /* atomically */
        gboolean adopted; /* the programs are those of a sensor before this one */
        guint64 unread;   /* pieces in the ring then */
        guint64 misses_before; /* bh_payload_misses() then */

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

/* The programs of a backend. FALSE with an error: this kernel lacks something. */
gboolean bh_payload_programs_load(BhPayload *p, gboolean fexit, GError **error);
/* Those that a sensor before this one kept, of the same bytes and on the same hooks, all or none. FALSE: there are none. Nothing is attached. */
gboolean bh_payload_programs_adopt(BhPayload *p, gboolean fexit);
/* Whether this kernel attaches those that were attached before. */
gboolean bh_payload_programs_attachable(const BhPayload *p);
void bh_payload_programs_keep(BhPayload *p); /* for the sensor after this one */
void bh_payload_programs_close(BhPayload *p);

int bh_payload_map(const BhPayload *p, const char *name);     /* -1: the programs have none of that name */
int bh_payload_program(const BhPayload *p, const char *name); /* -1: it is not loaded */
void bh_payload_map_empty(int fd);
guint64 bh_payload_misses(const BhPayload *p); /* calls that the kernel ran no program for, since they were loaded */

/* With `lock` held, or before there is another thread. Detaching what is not attached does nothing. */
gboolean bh_payload_attach(BhPayload *p, GError **error);
void bh_payload_detach(BhPayload *p);
