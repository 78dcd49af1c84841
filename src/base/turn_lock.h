/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lock for many readers or one writer in which a writer has its turn: while one waits, no new reader gets in. GRWLock alone lets readers in as long as there is one
 * (pthread_rwlock prefers them): with readers that overlap, a writer would wait for ever.
 *
 * A writer waits as long as the readers that were there before it. Not recursive: a reader that asks again while a writer waits would wait for itself.
 */
#pragma once
#include <glib.h>

typedef struct {
        GMutex turn; /* whoever wants in; a writer has it while it waits */
        GRWLock lock;
} BhTurnLock;

static inline void bh_turn_lock_init(BhTurnLock *l) {
        g_mutex_init(&l->turn);
        g_rw_lock_init(&l->lock);
}

static inline void bh_turn_lock_clear(BhTurnLock *l) {
        g_mutex_clear(&l->turn);
        g_rw_lock_clear(&l->lock);
}

static inline void bh_turn_lock_read(BhTurnLock *l) {
        g_mutex_lock(&l->turn);
        g_rw_lock_reader_lock(&l->lock);
        g_mutex_unlock(&l->turn);
}

static inline void bh_turn_lock_read_done(BhTurnLock *l) {
        g_rw_lock_reader_unlock(&l->lock);
}

static inline void bh_turn_lock_write(BhTurnLock *l) {
        g_mutex_lock(&l->turn);
        g_rw_lock_writer_lock(&l->lock);
        g_mutex_unlock(&l->turn);
}

static inline void bh_turn_lock_write_done(BhTurnLock *l) {
        g_rw_lock_writer_unlock(&l->lock);
}
