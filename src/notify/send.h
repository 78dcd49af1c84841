/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ways out: one BhSender for each output, which keeps its connection or file between alerts.
 *
 *     stdout    a line to a descriptor; never waits for a reader longer than the call may
 *     file      a line to a file that is only ever appended to, mode 0640; opened anew when its name leads to another file (rotation), and after
 *               bh_send_reopen(). A line that does not fit the disk is taken back whole
 *     syslog    RFC 5424 over UDP (RFC 5426), TCP (RFC 6587, octets counted), TLS (RFC 5425, the certificate is checked); /dev/log in the form that
 *               local daemons read
 *     webhook   one POST for each alert, with the header Bulkhead-Delivery-Id. 2xx: delivered. 408, 425, 429, 5xx and no answer: again later,
 *               after Retry-After where that is said. Anything else: refused for good. Redirects are not followed, proxies not used
 *
 * What was sent is delivered for sure only after bh_sender_flush(): a file's bytes are on disk then, a TCP peer's machine has acknowledged all.
 * A call lasts BH_SEND_MS (webhook: its timeout) and a name's resolution at most. One thread a sender, but bh_sender_stop().
 */
#pragma once
#include "notify/output.h"

#define BH_SEND_MS 10000
#define BH_SEND_RETRY_AFTER_MAX 3600u  /* seconds that a server may ask to wait */
#define BH_SEND_UDP_MAX 8192u          /* bytes of a datagram; more is shortened */
#define BH_SEND_LOCAL_MAX 8192u
#define BH_SEND_SYSLOG_MAX (256u << 10) /* the same over TCP and TLS */
#define BH_SEND_LINE_MAX (256u << 10)   /* of files and standard output */

typedef enum {
        BH_SEND_OK,
        BH_SEND_RETRY,   /* may work later */
        BH_SEND_REFUSED, /* this alert never will be taken */
} BhSendResult;

/* What is the same for all outputs. Borrowed. */
typedef struct {
        const char *alert_dir;
        const char *version;
        const char *dev_log; /* /dev/log */
        int stdout_fd;
        int proc_id;
} BhSendPlace;

typedef struct {
        gboolean cut;        /* it was too large and was shortened */
        guint retry_after_s; /* with RETRY: the server said so; 0: it did not */
} BhSendNote;

typedef struct BhSender BhSender;

/* `o` and `place` must outlive it. Connects to nothing yet. */
BhSender *bh_sender_new(const BhOutput *o, const BhSendPlace *place);
/* Without a flush. NULL is allowed. */
void bh_sender_free(BhSender *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhSender, bh_sender_free)

/* Not OK: *error is a sentence. After RETRY everything since the last flush must be sent again. */
BhSendResult bh_sender_send(BhSender *s, const BhAlert *a, BhSendNote *note, GError **error);
/* OK or RETRY. */
BhSendResult bh_sender_flush(BhSender *s, GError **error);

/* From any thread: calls end soon with RETRY, from now on for ever. */
void bh_sender_stop(BhSender *s);
/* From a signal handler: files are opened anew. */
void bh_send_reopen(void);

/* Once, before threads and before the sandbox closes: what the libraries read from disk. */
void bh_send_global_init(void);

/* ---- shared with tests ---- */

/* An RFC 5424 message without framing, at most `max` bytes: "<PRI>1 TIME HOST bulkhead PID MSGID - BOM MSG". Caller frees. */
GString *bh_syslog_message(const BhOutput *o, const BhAlert *a, int proc_id, gsize max, gboolean *cut);
/* What /dev/log takes: "<PRI>Mmm dd hh:mm:ss bulkhead[PID]: MSG", local time. */
GString *bh_syslog_local(const BhOutput *o, const BhAlert *a, int proc_id, gsize max, gboolean *cut);
