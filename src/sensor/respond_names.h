/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Peers that a response names as DNS does (response/response.h), bound to the addresses that DNS gave the container for them. Part of respond.h.
 *
 * Answers come from the node's own dns events, in the drain thread: all of them go into a small book, so that what was resolved before a block is known to it; those that a response
 * waits for go to the thread of responses, which puts their addresses into the container's lists. An address stays as long as its answer says, and BH_RESPOND_NAME_S at least, because
 * programs keep addresses for longer than they may; then it goes.
 *
 * What is refused by name is refused for every name in the chain of the answer, whoever answered. What is allowed is allowed for the name that was asked for, and by answers of name
 * servers that the list has by their address (bh_peer_is_server()), from their port 53 and from the order on: else the container could say itself what is allowed. Who may make packets (raw
 * sockets, interfaces) can send itself one that says it is such a server's, which the response says.
 *
 * Bounds: BH_RESPOND_BOUND addresses of a response, beyond which the new ones are left out and said to be; BH_RESPOND_BOOK in the book, BH_RESPOND_BOOK_EACH of a container, the
 * oldest goes; BH_RESPOND_ANSWERS that wait.
 */
#pragma once
#include <glib.h>

#include "event/event.h"
#include "response/response.h"

#define BH_RESPOND_NAME_S 3600u              /* at least */
#define BH_RESPOND_NAME_MAX_S (7 * 86400u)   /* at most, whatever the answer says */
#define BH_RESPOND_BOUND 256u
#define BH_RESPOND_BOOK 16384u
#define BH_RESPOND_BOOK_EACH 512u
#define BH_RESPOND_ANSWERS 1024u
#define BH_RESPOND_ANSWER_NAMES 8u           /* of an answer: what was asked for, and aliases */
#define BH_RESPOND_ANSWER_ADDRESSES 64u

typedef struct {
        guint8 addr[16]; /* IPv4 mapped into IPv6 */
        guint text;      /* which of the response's texts (allow or deny) */
        gint64 until_ns;
} BhBound;

typedef struct {
        char *container;
        char *names[BH_RESPOND_ANSWER_NAMES + 1]; /* the first is what was asked for; lower-case, no dot at the end */
        guint8 addresses[BH_RESPOND_ANSWER_ADDRESSES][16];
        guint n_names, n_addresses;
        guint8 server[16]; /* who answered, from port 53 and another address than the container's; all zero: nobody of whom that is known */
        gboolean cut;      /* there may have been more addresses */
        gint64 until_ns;
} BhAnswer;

/* NULL: the event is no answer that a container got, or one without an address. Pure. */
BhAnswer *bh_answer_new(const struct bh_event *e, gint64 now_ns);
void bh_answer_free(BhAnswer *a);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhAnswer, bh_answer_free)

typedef struct BhNameBook BhNameBook;

/* Any thread may call any of these. */
BhNameBook *bh_name_book_new(void);
void bh_name_book_free(BhNameBook *b);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhNameBook, bh_name_book_free)
/* TRUE: somebody waits for it. */
gboolean bh_name_book_learn(BhNameBook *b, const struct bh_event *e, gint64 now_ns);
/* Answers for these names (GPtrArray of BhPeerName) of that container are kept for bh_name_book_take(). NULL: none are. */
void bh_name_book_watch(BhNameBook *b, const char *container, GPtrArray *names);
/* GPtrArray of BhAnswer: those that came since the last call. *lost is increased by those for which there was no room. */
GPtrArray *bh_name_book_take(BhNameBook *b, guint *lost);
/* GPtrArray of BhAnswer, with one name and one address each: what the book has of a container. */
GPtrArray *bh_name_book_of(BhNameBook *b, const char *container);
