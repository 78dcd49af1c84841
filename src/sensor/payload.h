/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What containers' TCP sockets read and write, in stream order, taken where the calls end: no packets, no reassembly. For the inspector of web traffic.
 *
 * Which sockets: those of containers whose client begins with what looks like HTTP/1, HTTP/2, a TLS handshake or DNS (on port 53). Decided in the kernel from
 * the first bytes; nothing of another socket is ever copied, but where bh_payload_other() asks for it. A connection that was open before is looked at for its next BH_PAYLOAD_LOOKS calls: if one
 * begins like a request it is followed from there. Of TLS the handshake is told, then BH_PAYLOAD_TLS_CLOSED once, unless its clear text is to be had.
 *
 * How much: of each request and each response the first bytes_per_request bytes (one begins whenever the stream's direction turns), BH_PAYLOAD_PIECE bytes of a
 * call, BH_PAYLOAD_CONNECTION_SECOND bytes of a connection in a second, and bytes_per_second of a container. What is left out is never silent: positions
 * come from the kernel's own sequence numbers, so a piece says where it stands, and for each container moved == copied + the sum of skipped.
 *
 * Backends, chosen by effect (a connection of our own over loopback): `fexit` on tcp_sendmsg(), tcp_recvmsg(), tcp_sendpage(), which reads the kernel's own
 * description of the message: every form of call, and io_uring. `calls`, where the kernel refuses fexit (needs 6.5): tracepoints at the end of socket calls;
 * the memory is that of the system call in the task's registers (64- and 32-bit, x32 not), of the request that io_uring completes, and since 6.16, for what is sent, of the
 * kernel's description as well. It does not see what multishot requests of io_uring receive, recvmmsg() with a timeout, and before 6.16 what io_uring, sendfile()
 * and splice() send. Neither sees what is read by splice() or by mapping receive buffers. What is sent from pages (sendfile(), splice()) can be read only where the
 * kernel says where it maps them (CONFIG_KALLSYMS_ALL, and addresses in /proc/kallsyms). All of that is counted, as BH_PAYLOAD_SKIPPED_FORM or _UNREADABLE, from the first
 * call of the connection that was seen.
 *
 * The bytes are read from the caller's memory when the call is at its end. Another thread of the same program can change them just then: what a server reads can
 * be hidden by that server only, what a compromised client sends can be. Two threads that read one socket (or write one) at the same moment: one of the pieces is
 * left out and counted as BH_PAYLOAD_SKIPPED_FORM, and the other may stand at the wrong one of two places.
 *
 * Ends with its process, however that ends: nothing is copied when nobody is there to read. What stays for the next one are the loaded programs, pinned (bh_hooks_keep()), as loading takes seconds.
 *
 * Costs nothing while it is stopped. Bytes are hostile: to be parsed by the inspector alone.
 * Clear text of TLS: payload_tls.h.
 *
 * Any thread may call; the callback runs in a thread of the object's own and may call bh_payload_ignore().
 */
#pragma once
#include <glib.h>

#include "hooks.h"

#define BH_PAYLOAD_PIECE 16384u               /* bytes of one call */
#define BH_PAYLOAD_REQUEST 4096u              /* default of bytes_per_request */
#define BH_PAYLOAD_REQUEST_MAX (1u << 20)
#define BH_PAYLOAD_CONNECTION_SECOND (4u << 20) /* whoever asks without end over one connection hides nothing in it: what a container may have in all is the bound */
#define BH_PAYLOAD_SECOND (16u << 20)         /* default of bytes_per_second */
#define BH_PAYLOAD_SOCKETS 65536u             /* known at a time, ignored ones among them, at most a quarter of them of one container; more are refused and counted at each call */
#define BH_PAYLOAD_RULES 16384u               /* containers with a rule of their own */
#define BH_PAYLOAD_RING (8u << 20)            /* bytes of the ring buffer; while it is more than half full a container has 1 MiB a second, the rest is counted as BH_PAYLOAD_SKIPPED_CONTAINER */
#define BH_PAYLOAD_LOOKS 8u

typedef enum {
        BH_PAYLOAD_CLIENT = 1, /* the socket connected … */
        BH_PAYLOAD_SERVER = 2, /* … or was accepted. By what is known of the connection, else by who sent the request */
} BhPayloadSide;

typedef enum {
        BH_PAYLOAD_OPEN = 1 << 0,       /* first of its connection that is told */
        BH_PAYLOAD_CLOSE = 1 << 1,      /* no bytes: the connection is over */
        BH_PAYLOAD_TLS = 1 << 2,        /* clear text of a TLS library; offsets count clear text, apart from the socket's */
        BH_PAYLOAD_CUT = 1 << 3,        /* the call moved more than is here (total > len) */
        BH_PAYLOAD_SKIPPED = 1 << 4,    /* bytes before this one were not told: since the last piece of this direction, or since the connection's beginning */
        BH_PAYLOAD_TLS_CLOSED = 1 << 5, /* no bytes: the handshake is over, and what follows is encrypted. Once a connection; its clear text may come all the same, if a later call of a library is the first that was seen */
        BH_PAYLOAD_TURN = 1 << 6,       /* the stream's direction turned: first of a request or response */
} BhPayloadFlags;

/* What the kernel took the connection for. */
typedef enum {
        BH_PAYLOAD_UNDECIDED, /* too few bytes yet */
        BH_PAYLOAD_HTTP1,
        BH_PAYLOAD_HTTP2,     /* with prior knowledge: the client's preface */
        BH_PAYLOAD_TLS_HELLO,
        BH_PAYLOAD_DNS,
        BH_PAYLOAD_PROXY,     /* a PROXY protocol header, of which is not known yet what it stands before: pieces of the connection that come later say so */
        BH_PAYLOAD_OTHER,     /* none of these: of containers that bh_payload_other() names alone */
} BhPayloadProtocol;

/* A piece of one direction of one connection. Addresses as in BhSocket: local is the socket that was read or written. */
typedef struct {
        guint64 connection; /* of this socket's life, never another's again */
        guint64 sk;         /* BhSocket.sk */
        gint64 time_ns;     /* CLOCK_BOOTTIME */
        guint64 offset;     /* of bytes[0] in this direction's stream, from the connection's beginning */
        gboolean sent;      /* written by this socket; else read */
        guint flags;        /* BhPayloadFlags */
        BhPayloadSide side; /* of this socket; 0: not known */
        BhPayloadProtocol protocol;
        guint32 pid, tid;   /* who read or wrote; 0 with BH_PAYLOAD_CLOSE */
        guint64 start;      /* of the process, CLOCK_BOOTTIME ns */
        guint64 cgroup;     /* of the task, as in events */
        guint64 container;  /* the container's own cgroup */
        guint32 net_ns;
        guint16 family, lport, rport;
        guint8 laddr[16], raddr[16];
        guint32 total;      /* bytes that the call moved */
        guint32 len;        /* of them here, from the first on */
        const guint8 *bytes; /* valid during the call */
} BhPayloadPiece;

/* Why bytes of followed connections were not copied. */
typedef enum {
        BH_PAYLOAD_SKIPPED_REQUEST,    /* beyond bytes_per_request, or the handshake's bound */
        BH_PAYLOAD_SKIPPED_CALL,       /* beyond BH_PAYLOAD_PIECE of one call */
        BH_PAYLOAD_SKIPPED_CONNECTION, /* beyond BH_PAYLOAD_CONNECTION_SECOND */
        BH_PAYLOAD_SKIPPED_CONTAINER,  /* beyond bytes_per_second */
        BH_PAYLOAD_SKIPPED_FULL,       /* the ring buffer had no room */
        BH_PAYLOAD_SKIPPED_FORM,       /* moved in a way that this backend does not see */
        BH_PAYLOAD_SKIPPED_UNREADABLE, /* not in memory, or too many parts */
        BH_PAYLOAD_SKIPPED_BUSY,       /* calls that interrupted each other on one CPU */
        BH_PAYLOAD_SKIPPED_REASONS,
} BhPayloadSkipped;

const char *bh_payload_skipped_name(BhPayloadSkipped why); /* "request", "call", …: for status */

typedef struct {
        guint64 pieces;
        guint64 moved;   /* bytes of followed connections … */
        guint64 copied;  /* … that were put into the ring buffer … */
        guint64 skipped[BH_PAYLOAD_SKIPPED_REASONS]; /* … or not: moved == copied + the sum, when no call is under way */
        guint64 tls_closed; /* connections */
        guint64 clear;        /* bytes of followed clear text of TLS libraries, which are not among the others … */
        guint64 clear_copied; /* … of which so many were put into the ring buffer … */
        guint64 clear_skipped[BH_PAYLOAD_SKIPPED_REASONS]; /* … or not: clear == clear_copied + the sum */
} BhPayloadAccount;

typedef struct {
        gboolean started;
        const char *backend; /* "fexit" or "calls"; static */
        BhPayloadAccount all;
        guint64 told;     /* pieces that reached the callback, those without bytes among them */
        guint64 followed; /* connections that were found to be of interest */
        guint64 ignored;  /* connections that were not, and those that the callback had ignored */
        guint64 refused;  /* connections beyond BH_PAYLOAD_SOCKETS */
        guint64 ends_lost; /* pieces without bytes (ends, BH_PAYLOAD_TLS_CLOSED) for which the ring buffer had no room: forget connections that are silent for long */
        guint64 clear_unknown; /* calls of TLS libraries whose connection is not known */
        gboolean adopted; /* the programs are those of a sensor that was killed */
        guint64 unread;   /* pieces that it had in the ring and did not take: not told */
        guint64 interrupted;   /* calls that the kernel ran no program for, since the same one had been interrupted on that CPU (needs 5.12): their bytes are a gap, counted as BH_PAYLOAD_SKIPPED_FORM */
} BhPayloadStats;

typedef struct {
        gboolean off;              /* nothing of this container is looked at */
        guint32 bytes_per_request; /* 0: default; at most BH_PAYLOAD_REQUEST_MAX */
        guint32 bytes_per_second;  /* 0: default */
} BhPayloadRule;

typedef struct BhPayload BhPayload;
typedef void (*BhPayloadSeen)(const BhPayloadPiece *piece, gpointer data);

/* `hooks` must be open and outlive it. `force`: BH_BACKEND_PREFERRED or BH_BACKEND_FALLBACK, for tests; BH_BACKEND_NONE chooses. Until it is loaded nothing is told, and there is nothing to set or to count. */
BhPayload *bh_payload_new(BhHooks *hooks, BhBackend force, BhPayloadSeen seen, gpointer data);
/*
 * Once, before it is started: takes over the programs of a sensor that was killed, if they are of this build; else loads them, attaches them for a moment to see that they work, and leaves nothing attached. Loading takes a second or several; any thread, which has
 * come back before bh_payload_end() or bh_payload_free() is called. FALSE with an error that says what this kernel lacks.
 */
gboolean bh_payload_load(BhPayload *p, GError **error);
/* Ends its thread: nothing is told any more when it returns, and everything else may still be called until it is freed. */
void bh_payload_end(BhPayload *p);
/* Ends and stops. NULL is allowed. */
void bh_payload_free(BhPayload *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhPayload, bh_payload_free)

/* Attaches; detaches, which forgets all connections. Either does nothing where it is so. On error nothing stays attached. */
gboolean bh_payload_start(BhPayload *p, GError **error);
void bh_payload_stop(BhPayload *p);

/* All pieces of before this time (CLOCK_BOOTTIME) were told: for who has to know that none is missing; while it is stopped none is waited for: G_MAXINT64. Ask for it to be so soon: hurry. Cheap. */
gint64 bh_payload_told_ns(BhPayload *p);
void bh_payload_hurry(BhPayload *p);

/*
 * Nothing of this connection is copied any more from its next call on, its clear text neither; it has no BH_PAYLOAD_CLOSE. `connection` and `sk` as in its pieces; one that is over is no error. Seldom
 * another connection's call of this function comes between: to be said again while pieces come.
 */
void bh_payload_ignore(BhPayload *p, guint64 connection, guint64 sk);

/*
 * For a container, by its own cgroup's id (BhPayloadPiece.container); 0: all that have no rule of their own. NULL: the default again. Holds from the next call of each socket
 * on; may be called before the start. FALSE: there are BH_PAYLOAD_RULES rules, or a number is beyond its bound.
 */
gboolean bh_payload_set(BhPayload *p, guint64 container, const BhPayloadRule *rule, GError **error);

/*
 * Of this container's connections that speak nothing that is followed, the first `bytes` of each direction are told as BH_PAYLOAD_OTHER; of those that are open, and were ignored until now, the next ones. 0: not any
 * more, and those that are told so are ignored from their next call on. Its rule stays as it is otherwise. FALSE as for bh_payload_set().
 */
gboolean bh_payload_other(BhPayload *p, guint64 container, guint32 bytes, GError **error);
/* The same for who must not wait: FALSE and *busy while another thread starts, stops or asks. */
gboolean bh_payload_try_other(BhPayload *p, guint64 container, guint32 bytes, gboolean *busy);

/* The container's own cgroup that this one, of a task, is in; 0: none. */
guint64 bh_payload_container(BhPayload *p, guint64 cgroup);

/* `container`: its part of the account; all zero if it has none. What containers that are gone had stays in bh_payload_stats(). */
void bh_payload_account(BhPayload *p, guint64 container, BhPayloadAccount *account);
/* All that have one; 0 stands for containers beyond BH_PAYLOAD_RULES. Must not call this object. */
void bh_payload_accounts(BhPayload *p, void (*each)(guint64 container, const BhPayloadAccount *account, gpointer data), gpointer data);
void bh_payload_forget(BhPayload *p, guint64 container); /* it is gone: its account and rule */
void bh_payload_stats(BhPayload *p, BhPayloadStats *stats);
