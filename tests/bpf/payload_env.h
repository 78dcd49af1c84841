/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the tests of payloads act: a cgroup that `cgroups` calls a container, with payload_calls or a child of this process in it, and what was told. For the parts of
 * test_network that are payload*.c.
 */
#pragma once
#include <sys/types.h>

#include "sensor/payload_tls.h"
#include "sensor/tls_files.h"

#define WAIT_MS 20000
#define AGAIN_MS 200

typedef struct {
        BhPayloadPiece p;
        guint8 *bytes;
} Piece;

extern GMutex lock; /* of `pieces` */
extern GPtrArray *pieces; /* Piece *, as they came */
extern BhPayload *payload;
extern BhBackend now;
extern guint64 container;
extern char *cgroup_dir;
extern gint blocked; /* the callback waits */

typedef struct {
        pid_t pid;
        int to, from;
        guint16 client, server; /* ports */
} Child;
extern int client_fd, server_fd; /* in the child */

void forget_pieces(void);
/* The first piece of the socket with these ports that has one of `flags` (0: has bytes), or NULL after `ms`. Stays where it is. */
const Piece *piece_with(guint16 lport, guint16 rport, guint flags, gint64 ms);
/* What was told of one direction: bytes at their places; how many of `len`. Fails where they are not in order. */
guint64 put_together(guint16 lport, guint16 rport, gboolean sent, guint8 *to, gsize len);
/* The container's, which must add up. */
void check_account(BhPayloadAccount *a);
void container_remove(void);
/* Started, with this backend, and nothing told yet. FALSE: this kernel has no such (said by g_test_skip()). */
gboolean begin(gconstpointer data);
/* As after a kill of who has started it: attachments end with it, and nothing else is put in order. `stats`: of the one that came after it, before its start. */
void take_over(BhPayloadStats *stats);
/* Runs payload_calls (or payload_calls32) in the container, over TCP or (`name`) a Unix socket. FALSE: it is not built, or has no such form here. */
gboolean run_calls(const char *program, const char *form, const char *name, guint16 *client, guint16 *server);
/* In the child. */
void must(gboolean ok);
/* Forks a child with both ends of a connection; `act` runs in it, for each child_step(). */
Child child_new(void (*act)(guint step), guint16 port, gboolean contained);
void child_step(Child *c);
void child_end(Child *c);
/* In the child: one call to send, and one that reads all of it. */
void move_bytes(int from, int to, const void *bytes, gsize len);
void move_text(int from, int to, const char *text);
/* Pieces of both ends of a connection. */
guint count_of(guint16 lport, guint16 rport);
/* Until everything that was in the ring before has been told. */
void wait_for_all(void);

/* payload_life.c */
void nothing_of_other_protocols_is_copied(gconstpointer data);
void other_protocols_are_told_where_that_is_asked_for(gconstpointer data);
void nothing_of_the_host_is_looked_at(gconstpointer data);
void of_tls_the_handshake_is_told_and_then_that_it_is_closed(gconstpointer data);
void tls_behind_a_proxys_header_is_told_as_tls(gconstpointer data);
void dns_over_tcp_is_followed_on_its_port(gconstpointer data);
void connection_that_was_open_before_is_followed_from_its_next_request(gconstpointer data);
void request_in_single_bytes_is_followed_from_its_first(gconstpointer data);
void connection_that_is_ignored_tells_nothing_more(gconstpointer data);
void what_is_beyond_a_bound_is_counted_by_reason(gconstpointer data);
void one_container_does_not_fill_the_ring(gconstpointer data);
void account_of_a_container_that_is_gone_stays_in_the_sum(gconstpointer data);
void programs_of_one_that_was_killed_are_taken_over(gconstpointer data);
void programs_of_another_build_are_not_taken_over(gconstpointer data);
void tls_library_gives_the_clear_text(gconstpointer data);

/* payload_speed.c */
void speed(gconstpointer data);
