/* SPDX-License-Identifier: Apache-2.0 */
/* What both sides of the bus need: names, addresses, peers, waking a poll(2). Any thread. Not for users of the bus. */
#pragma once
#include <sys/un.h>

#include "bus/bus.h"

#define BH_BUS_FEW_BYTES (256u << 10) /* out-buffers are filled up to this before the socket is asked again */

/* Longest text of an error that is taken from a peer. */
#define BH_BUS_MAX_ERROR 1024u

/* [A-Za-z0-9_-], and '.' in a node's name; not empty, at most BH_BUS_MAX_NAME. `len` -1: up to the NUL. */
gboolean bh_bus_name_valid(const char *name, gssize len, gboolean node);
/* The host's name, made valid. Caller frees. */
char *bh_bus_host_name(void);

/* "unix:/path". FALSE with BH_BUS_ERROR_ADDRESS. */
gboolean bh_bus_address_parse(const char *address, struct sockaddr_un *out, GError **error);
/* A connected, non-blocking socket, or -1 with BH_BUS_ERROR_IO. */
int bh_bus_connect(const struct sockaddr_un *address, GError **error);
/* Who is on the other side; FALSE if the kernel does not tell. */
gboolean bh_bus_peer_uid(int fd, guint *uid);

/* An event descriptor that wakes a poll(2); setting is cheap and never blocks. */
int bh_bus_wake_new(void);
void bh_bus_wake(int fd);
void bh_bus_wake_clear(int fd);

/* Foreign text of a peer as UTF-8 within BH_BUS_MAX_ERROR. Caller frees. */
char *bh_bus_peer_text(const guint8 *data, gsize len);
