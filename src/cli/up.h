/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of `bulkhead up`: what it says (up_say.c), its feed of live events (up_feed.c), and who watches over all (cmd_up.c). One thread. */
#pragma once
#include "child.h"
#include "client.h"

/* Live events on their way from the sensor to standard output, whose reader may be slow, stopped or gone. */
typedef struct {
        const BhCliPaths *paths;
        BhFd fd; /* of the sensor; -1: not open */
        gboolean ended, reader_gone;
        GString *rest, *out; /* begun line, lines to be written */
} BhUpFeed;

void bh_up_feed_init(BhUpFeed *f, const BhCliPaths *paths);
void bh_up_feed_clear(BhUpFeed *f);
/* Asks the sensor. What is not written yet of an earlier one stays. */
gboolean bh_up_feed_open(BhUpFeed *f, GError **error);
/* Which of the two to poll: the sensor (POLLIN), or standard output (POLLOUT). -1: not that one. */
int bh_up_feed_source(const BhUpFeed *f);
int bh_up_feed_sink(const BhUpFeed *f);
/* After poll(): a piece of it. `quiet_end`: an end of the sensor's is said elsewhere. */
void bh_up_feed_read(BhUpFeed *f, gboolean quiet_end);
void bh_up_feed_write(BhUpFeed *f);
/* What waits, as long as the reader takes it without delay. */
void bh_up_feed_drain(BhUpFeed *f);

/* The central as the start tells of it. */
typedef struct {
        gboolean wanted, ready;
        const char *url, *user, *password; /* password: the first one, NULL if there is one already */
        pid_t pid;
} BhUpCentral;

void bh_up_say_start(const BhCliPaths *paths, pid_t sensor, const json_t *status, const BhUpCentral *central, gboolean feed);
/* `status` is the sensor's last one, or NULL; `us` how long it all was up. */
void bh_up_say_summary(const json_t *status, gint64 us);
