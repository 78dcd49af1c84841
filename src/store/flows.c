/* SPDX-License-Identifier: Apache-2.0 */
/* Halves of connections and their buckets: ingest. Queries and retention: flows_read.c. */
#include <string.h>

#include "store/store_private.h"

#define COUNT_MAX G_GINT64_CONSTANT(4611686018427387903) /* two of them are an integer still */
#define REST_FACTOR 4
#define FOLDED_FACTOR 2 /* so many times a container's bound, those over it that were put together included */
#define CLOCK_AHEAD_NS (60 * G_GINT64_CONSTANT(1000000000))

#define BH_HALF_COUNT(member, other, meaning) ", " #member
static const char known_sql[] = "SELECT id, first_ns, last_ns, ahead_bytes_out, ahead_bytes_in, ahead_packets_out, ahead_packets_in, local_ip, peer_exe, "
                                "network_id, protocol, server_name, peer_name"
#include "event/half_counts.tbl.h"
                                " FROM flow_halves WHERE \"key\" = ?";
static const char insert_sql[] = "INSERT INTO flow_halves (\"key\", node, container_id, exe, role, proto, port, path, peer_ip, dialled_ip, dialled_port, "
                                 "peer_container_id, peer_name, peer_is_host, local_ip, peer_exe, network_id, protocol, server_name, ports, addresses, "
                                 "port_samples, first_ns, last_ns, open, half_open, ahead_bytes_out, ahead_bytes_in, ahead_packets_out, ahead_packets_in"
#include "event/half_counts.tbl.h"
                                 ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, 0"
#undef BH_HALF_COUNT
#define BH_HALF_COUNT(member, other, meaning) ", 0"
#include "event/half_counts.tbl.h"
#undef BH_HALF_COUNT
                                 ")";
#define BH_HALF_COUNT(member, other, meaning) ", " #member " = ?"
static const char update_sql[] = "UPDATE flow_halves SET first_ns = ?, last_ns = ?, open = ?, half_open = ?, ahead_bytes_out = ?, ahead_bytes_in = ?, "
                                 "ahead_packets_out = ?, ahead_packets_in = ?"
#include "event/half_counts.tbl.h"
#undef BH_HALF_COUNT
                                 " WHERE id = ?";
#define BH_HALF_COUNT(member, other, meaning) ", " #member
static const char bucket_sql[] = "INSERT INTO flow_buckets (width, start, half"
#include "event/half_counts.tbl.h"
#undef BH_HALF_COUNT
#define BH_HALF_COUNT(member, other, meaning) ", ?"
                                 ") VALUES (?, ?, ?"
#include "event/half_counts.tbl.h"
#undef BH_HALF_COUNT
/* two numbers below 2^62 have a sum, whatever was told */
#define BH_HALF_COUNT(member, other, meaning) ", " #member " = min(" #member ", 4611686018427387903) + excluded." #member
                                 ") ON CONFLICT (width, start, half) DO UPDATE SET width = excluded.width"
#include "event/half_counts.tbl.h"
#undef BH_HALF_COUNT
        ;

/* ---- the key */

static void hash_text(GChecksum *sum, const char *text) {
        g_checksum_update(sum, (const guchar *) text, (gssize) strlen(text) + 1);
}

static void hash_address(GChecksum *sum, const BhHalfAddress *a) {
        g_checksum_update(sum, &a->len, 1);
        g_checksum_update(sum, a->bytes, a->len);
}

/* Chosen texts must not be able to collide: a flow could hide in another. */
static void key_of(const BhHalf *h, guint8 key[32]) {
        g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
        const guint32 numbers[] = { (guint32) h->role, h->proto, h->port, h->dialled_port, h->peer_is_host != 0 };
        gsize len = 32;

        hash_text(sum, h->node);
        hash_text(sum, h->container_id);
        hash_text(sum, h->exe);
        hash_text(sum, h->path);
        hash_text(sum, h->peer_container_id);
        hash_address(sum, &h->peer);
        hash_address(sum, &h->dialled);
        g_checksum_update(sum, (const guchar *) numbers, sizeof(numbers));
        g_checksum_get_digest(sum, key, &len);
}
#define KEY_LEN 16 /* of the hash's 32 bytes */

/* ---- one half */

typedef struct {
        gint64 id, first_ns, last_ns;
        gint64 ahead[4]; /* bytes out, in, packets out, in */
        gint64 counts[16];
        gboolean differs; /* what is told of it */
        gint64 growth;    /* of its texts by that, in bytes */
} Known;

typedef struct {
        guint64 open, half_open, moved[4];
} Now;

typedef struct {
        BhStore *s;
        BhStoreFlows *batch;
        const char *node;
        gboolean counted;
        GHashTable *seen; /* gint64 * id → Now *: the same half may be told twice in a batch, from two of the node's flows */
        GHashTable *numbers; /* char *container → number of its halves + 1 */
        gint64 of_node;      /* number of its halves; -1: not asked yet */
        guint64 *folded;
} Batch;

static gboolean told(const char *now, const char *before) {
        return *now && strcmp(now, before) != 0;
}

static gboolean look_up(Batch *b, const BhHalf *h, const guint8 *key, Known *out, GError **error) {
        BhDbStmt *st = bh_db_query(b->s->writer, error, known_sql, "b", key, (gsize) KEY_LEN);
        BhDbStep step = st ? bh_db_step(st, error) : BH_DB_FAILED;

        if (step == BH_DB_ROW) {
                gsize len;
                const void *ip = bh_db_peek_blob(st, 7, &len);
                BhHalfAddress local = bh_half_address(ip, len);
                guint i = 13, k = 0;

                out->id = bh_db_int(st, 0);
                out->first_ns = bh_db_int(st, 1);
                out->last_ns = bh_db_int(st, 2);
                for (guint n = 0; n < 4; n++)
                        out->ahead[n] = bh_db_int(st, 3 + n);
                const struct {
                        const char *now;
                        guint column;
                } texts[] = { { h->peer_exe, 8 }, { h->network_id, 9 }, { h->protocol, 10 }, { h->server_name, 11 }, { h->peer_name, 12 } };

                out->differs = (h->local.len && !bh_half_address_equal(&local, &h->local)) || h->ports > 1 || h->addresses > 1;
                for (guint n = 0; n < G_N_ELEMENTS(texts); n++) {
                        const char *before = bh_db_peek(st, texts[n].column);

                        if (!told(texts[n].now, before))
                                continue;
                        out->differs = TRUE;
                        out->growth += (gint64) strlen(texts[n].now) - (gint64) strlen(before);
                }
#define BH_HALF_COUNT(member, other, meaning) out->counts[k++] = bh_db_int(st, i++);
#include "event/half_counts.tbl.h"
#undef BH_HALF_COUNT
        }
        bh_db_done(st);
        return step != BH_DB_FAILED;
}

static char *samples_of(const BhHalf *h) {
        GString *out = g_string_new(NULL);

        for (guint i = 0; i < h->n_port_samples && i < BH_HALF_SAMPLES; i++)
                g_string_append_printf(out, "%s%u", i ? "," : "", h->port_samples[i]);
        return g_string_free(out, FALSE);
}

/* ---- bounds */

static gint64 texts_of(const BhHalf *h) {
        const char *const texts[] = { h->container_id, h->exe, h->path, h->peer_container_id, h->peer_name, h->peer_exe, h->network_id, h->protocol, h->server_name };
        gint64 n = 0;

        for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
                n += (gint64) strlen(texts[i]);
        return n;
}

static gint64 *texts_of_node(BhStore *s, const char *node) {
        gint64 *n = g_hash_table_lookup(s->texts_of, node);

        if (!n)
                g_hash_table_insert(s->texts_of, g_strdup(node), n = g_new0(gint64, 1));
        return n;
}

static gboolean count_texts(BhStore *s, GError **error) {
#define BYTES(column) "length(CAST(" column " AS BLOB))"
        BhDbStmt *st = bh_db_query(s->writer, error, "SELECT node, sum(" BYTES("container_id") "+" BYTES("exe") "+" BYTES("path") "+" BYTES("peer_container_id") "+" BYTES("peer_name") "+"
                                   BYTES("peer_exe") "+" BYTES("network_id") "+" BYTES("protocol") "+" BYTES("server_name") ") FROM flow_halves GROUP BY node", "");
#undef BYTES
        BhDbStep step = BH_DB_FAILED;

        s->texts = 0;
        g_hash_table_remove_all(s->texts_of);
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                gint64 n = bh_db_int(st, 1);

                *texts_of_node(s, bh_db_peek(st, 0)) = n;
                s->texts += n;
        }
        bh_db_done(st);
        if (step != BH_DB_DONE)
                s->texts = -1;
        return step == BH_DB_DONE;
}

/* Room for so many bytes more of texts. */
static gboolean text_room(Batch *b, gint64 more, gboolean *room, GError **error) {
        BhStore *s = b->s;

        if (s->texts < 0 && !count_texts(s, error))
                return FALSE;
        gint64 mine = *texts_of_node(s, b->node) + more;
        *room = more <= 0 || (mine <= s->texts_node && (s->texts + more <= s->texts_max || mine <= s->texts_least));
        return TRUE;
}

static void add_texts(Batch *b, gint64 more) {
        *texts_of_node(b->s, b->node) += more;
        b->s->texts += more;
}

/* Whether there is room for one more of its container, `folded`: that is all of one port. A node has its least, whatever others tell. */
static gboolean has_room(Batch *b, const BhHalf *h, gboolean folded, gboolean *room, GError **error) {
        gpointer number = g_hash_table_lookup(b->numbers, h->container_id);
        guint most = BH_STORE_HALVES_PER_CONTAINER * (*h->container_id ? 1 : REST_FACTOR) * (folded ? FOLDED_FACTOR : 1);
        gint64 max = b->s->halves_max + (folded ? b->s->halves_max / 4 : 0), n;

        if (b->s->halves < 0 && !bh_db_get_int(b->s->writer, &b->s->halves, NULL, error, "SELECT count(*) FROM flow_halves", ""))
                return FALSE;
        if (b->s->halves >= max && b->of_node < 0 && !bh_db_get_int(b->s->writer, &b->of_node, NULL, error, "SELECT count(*) FROM flow_halves WHERE node = ?", "t", b->node))
                return FALSE;
        if (!number) {
                if (!bh_db_get_int(b->s->writer, &n, NULL, error, "SELECT count(*) FROM flow_halves WHERE node = ? AND container_id = ?", "tt", b->node, h->container_id))
                        return FALSE;
                number = GUINT_TO_POINTER((guint) MIN(n, G_MAXINT32) + 1);
                g_hash_table_insert(b->numbers, g_strdup(h->container_id), number);
        }
        if (!text_room(b, texts_of(h), room, error))
                return FALSE;
        /* what is beyond the bounds has no texts but its container's id, of which there are few */
        *room = (*room || folded) && (b->s->halves < max || b->of_node < b->s->halves_least) && GPOINTER_TO_UINT(number) <= most;
        return TRUE;
}

/* What is beyond the bounds: all of one container, role, protocol and port. */
static void fold(BhHalf *h) {
        h->exe = h->path = h->peer_container_id = h->peer_name = h->peer_exe = h->network_id = h->protocol = h->server_name = "";
        h->peer = h->dialled = h->local = (BhHalfAddress){ 0 };
        h->dialled_port = h->ports = h->addresses = h->n_port_samples = 0;
        h->peer_is_host = FALSE;
}

static gboolean insert(Batch *b, const BhHalf *h, const guint8 *key, Known *out, GError **error) {
        g_autofree char *samples = samples_of(h);
        gpointer number = g_hash_table_lookup(b->numbers, h->container_id);

        if (!bh_db_run(b->s->writer, error, insert_sql, "btttiiitbbittobttttiitii", key, (gsize) KEY_LEN, b->node, h->container_id, h->exe, (gint64) h->role,
                       (gint64) h->proto, (gint64) h->port, h->path, h->peer.bytes, (gsize) h->peer.len, h->dialled.bytes, (gsize) h->dialled.len,
                       (gint64) h->dialled_port, h->peer_container_id, h->peer_name, h->peer_is_host, h->local.bytes, (gsize) h->local.len, h->peer_exe,
                       h->network_id, h->protocol, h->server_name, (gint64) h->ports, (gint64) h->addresses, samples, h->first_ns, h->last_ns))
                return FALSE;
        *out = (Known){ .id = bh_db_last_id(b->s->writer), .first_ns = h->first_ns, .last_ns = h->last_ns };
        g_hash_table_insert(b->numbers, g_strdup(h->container_id), GUINT_TO_POINTER(GPOINTER_TO_UINT(number) + 1));
        add_texts(b, texts_of(h));
        b->s->halves++;
        b->of_node += b->of_node >= 0;
        return TRUE;
}

static gboolean write_told(Batch *b, const BhHalf *h, gint64 id, GError **error) {
        g_autofree char *samples = samples_of(h);

        return bh_db_run(b->s->writer, error,
                         "UPDATE flow_halves SET local_ip = CASE WHEN ? THEN ? ELSE local_ip END, peer_exe = CASE WHEN ? THEN ? ELSE peer_exe END, "
                         "network_id = CASE WHEN ? THEN ? ELSE network_id END, protocol = CASE WHEN ? THEN ? ELSE protocol END, "
                         "server_name = CASE WHEN ? THEN ? ELSE server_name END, peer_name = CASE WHEN ? THEN ? ELSE peer_name END, ports = max(ports, ?), addresses = max(addresses, ?), "
                         "port_samples = CASE WHEN ? THEN ? ELSE port_samples END WHERE id = ?", "obototototot" "iioti",
                         h->local.len > 0, h->local.bytes, (gsize) h->local.len, *h->peer_exe != '\0', h->peer_exe, *h->network_id != '\0', h->network_id,
                         *h->protocol != '\0', h->protocol, *h->server_name != '\0', h->server_name, *h->peer_name != '\0', h->peer_name, (gint64) h->ports, (gint64) h->addresses, *samples != '\0', samples, id);
}

static gint64 clamp(guint64 v) {
        return (gint64) MIN(v, (guint64) COUNT_MAX);
}

/* One of bytes and packets: what is added now, when `ahead` of what open connections moved was counted before. */
static guint64 grown(guint64 ended, guint64 open, gint64 *ahead, gboolean full) {
        gint64 sum = clamp(bh_half_sum(ended, open)), add = sum - *ahead;

        if (add >= 0 || full) {
                *ahead = clamp(open);
                return (guint64) MAX(add, 0);
        }
        /* less than was counted: what comes next is set off against it */
        *ahead -= clamp(ended);
        return 0;
}

static gboolean write_buckets(Batch *b, const BhHalf *h, gint64 when_ns, GError **error) {
        static const gint64 widths[] = { 60, 3600 };
        static const BhHalfCounts none;

        if (!memcmp(&h->counts, &none, sizeof(none)))
                return TRUE;
        for (guint w = 0; w < G_N_ELEMENTS(widths); w++) {
                gint64 second = when_ns / 1000000000;
                BhDbStmt *st = bh_db_query(b->s->writer, error, bucket_sql, "iii", widths[w], second - second % widths[w], h->id);
                guint i = 3;

                if (!st)
                        return FALSE;
#define BH_HALF_COUNT(member, other, meaning) bh_db_bind_int(st, i++, clamp(h->counts.member));
#include "event/half_counts.tbl.h"
#undef BH_HALF_COUNT
                BhDbStep step = bh_db_step(st, error);
                bh_db_done(st);
                if (step != BH_DB_DONE)
                        return FALSE;
        }
        return TRUE;
}

static gboolean write_half(Batch *b, BhHalf *h, Known *k, GError **error) {
        Now *now = g_hash_table_lookup(b->seen, &k->id);
        guint i = 8, n = 0;

        if (!now) {
                now = g_new0(Now, 1);
                g_hash_table_insert(b->seen, g_memdup2(&k->id, sizeof(k->id)), now);
        }
        const guint64 moved[4] = { h->open_bytes_out, h->open_bytes_in, h->open_packets_out, h->open_packets_in };
        guint64 *const ended[4] = { &h->counts.bytes_out, &h->counts.bytes_in, &h->counts.packets_out, &h->counts.packets_in };
        now->open = bh_half_sum(now->open, h->open);
        now->half_open = bh_half_sum(now->half_open, h->half_open);
        for (guint m = 0; m < 4; m++) {
                now->moved[m] = bh_half_sum(now->moved[m], moved[m]);
                *ended[m] = grown(*ended[m], now->moved[m], &k->ahead[m], b->batch->full);
        }
        h->open = now->open;
        h->half_open = now->half_open;
        h->id = k->id;

        BhDbStmt *st = bh_db_query(b->s->writer, error, update_sql, "iiiiiiii", k->first_ns && h->first_ns ? MIN(k->first_ns, h->first_ns) : MAX(k->first_ns, h->first_ns),
                                   MAX(k->last_ns, h->last_ns), clamp(h->open), clamp(h->half_open), k->ahead[0], k->ahead[1], k->ahead[2], k->ahead[3]);
        if (!st)
                return FALSE;
#define BH_HALF_COUNT(member, other, meaning) bh_db_bind_int(st, i++, bh_store_add(k->counts[n++], h->counts.member));
#include "event/half_counts.tbl.h"
#undef BH_HALF_COUNT
        bh_db_bind_int(st, i, k->id);
        BhDbStep step = bh_db_step(st, error);
        bh_db_done(st);
        return step == BH_DB_DONE;
}

/* The caller reads the halves when the transaction is over, and with it what bh_store_clean() made. */
static void clean_text(Batch *b, const char **text, gsize max) {
        char *clean = *text ? bh_text_clean(*text, max, &b->s->tx_cut) : NULL;

        if (clean)
                g_ptr_array_add(b->batch->texts, clean);
        if (clean || !*text)
                *text = clean ? clean : "";
}

static void clean(Batch *b, BhHalf *h) {
        h->node = b->node;
        clean_text(b, &h->container_id, BH_STORE_KEY_MAX);
        clean_text(b, &h->peer_container_id, BH_STORE_KEY_MAX);
        clean_text(b, &h->peer_name, BH_STORE_KEY_MAX);
        clean_text(b, &h->network_id, BH_STORE_KEY_MAX);
        clean_text(b, &h->server_name, BH_STORE_KEY_MAX);
        clean_text(b, &h->fingerprint, 64);
        clean_text(b, &h->certificate, BH_STORE_KEY_MAX);
        clean_text(b, &h->protocol, 64);
        clean_text(b, &h->exe, BH_STORE_TEXT_MAX);
        clean_text(b, &h->peer_exe, BH_STORE_TEXT_MAX);
        clean_text(b, &h->path, BH_STORE_TEXT_MAX);
        if (!b->counted)
                h->counts = (BhHalfCounts){ 0 };
}

/* A node finds out later whose address its peer is: the same half from then on. */
static gboolean look_up_nameless(Batch *b, const BhHalf *h, const guint8 *key, Known *out, GError **error) {
        BhHalf nameless = *h;
        guint8 old[32];

        if (!h->peer.len || (!*h->peer_container_id && !h->peer_is_host))
                return TRUE;
        nameless.peer_container_id = "";
        nameless.peer_is_host = FALSE;
        key_of(&nameless, old);
        return look_up(b, h, old, out, error) &&
               (!out->id || bh_db_run(b->s->writer, error, "UPDATE flow_halves SET \"key\" = ?, peer_container_id = ?, peer_is_host = ? WHERE id = ?", "btoi", key,
                                      (gsize) KEY_LEN, h->peer_container_id, h->peer_is_host, out->id));
}

/* Not even its port is kept apart: with what the node itself could not tell apart. */
static void leave_out(Batch *b, const BhHalf *h) {
        BhStoreFlows *batch = b->batch;

        batch->rest_connections = bh_half_sum(batch->rest_connections, h->counts.connections);
        batch->rest_bytes = bh_half_sum(batch->rest_bytes, bh_half_sum(h->counts.bytes_out, h->counts.bytes_in));
}

static gboolean put_half(Batch *b, BhHalf *h, GError **error) {
        /* the sender's clock is believed as far as it is possible */
        gint64 when = h->last_ns > 0 ? h->last_ns : b->batch->time_ns;
        guint8 key[32];
        Known k = { 0 };
        gboolean room;

        clean(b, h);
        if (when <= 0 || when > b->s->tx_now + CLOCK_AHEAD_NS)
                when = b->s->tx_now;
        h->last_ns = when;
        h->first_ns = h->first_ns > 0 && h->first_ns <= when ? h->first_ns : when;
        key_of(h, key);
        if (!look_up(b, h, key, &k, error))
                return FALSE;
        if (!k.id && !look_up_nameless(b, h, key, &k, error))
                return FALSE;
        if (!k.id) {
                if (!has_room(b, h, FALSE, &room, error))
                        return FALSE;
                if (!room) {
                        fold(h);
                        (*b->folded)++;
                        key_of(h, key);
                        if (!look_up(b, h, key, &k, error) || !has_room(b, h, TRUE, &room, error))
                                return FALSE;
                        if (!k.id && !room) {
                                leave_out(b, h);
                                return TRUE;
                        }
                }
        }
        if (k.id && k.growth) {
                if (!text_room(b, k.growth, &room, error))
                        return FALSE;
                if (room) {
                        add_texts(b, k.growth);
                } else {
                        h->peer_exe = h->network_id = h->protocol = h->server_name = h->peer_name = "";
                        (*b->folded)++;
                }
        }
        if (!k.id && !insert(b, h, key, &k, error))
                return FALSE;
        return (!k.differs || write_told(b, h, k.id, error)) && write_half(b, h, &k, error) && write_buckets(b, h, when, error);
}

/* What was open and is not told of is not open any more; what was counted of it stays counted. */
static gboolean close_others(Batch *b, GError **error) {
        GArray *closed = b->batch->closed = g_array_new(FALSE, FALSE, sizeof(gint64));
        BhDbStmt *st = bh_db_query(b->s->writer, error, "SELECT id FROM flow_halves WHERE node = ? AND (open > 0 OR half_open > 0 OR ahead_bytes_out > 0 OR ahead_bytes_in > 0 "
                                   "OR ahead_packets_out > 0 OR ahead_packets_in > 0)", "t", b->node);
        BhDbStep step = BH_DB_FAILED;

        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                gint64 id = bh_db_int(st, 0);

                if (!g_hash_table_contains(b->seen, &id))
                        g_array_append_val(closed, id);
        }
        bh_db_done(st);
        for (guint i = 0; step == BH_DB_DONE && i < closed->len; i++)
                if (!bh_db_run(b->s->writer, error, "UPDATE flow_halves SET open = 0, half_open = 0, ahead_bytes_out = 0, ahead_bytes_in = 0, ahead_packets_out = 0, "
                               "ahead_packets_in = 0 WHERE id = ?", "i", g_array_index(closed, gint64, i)))
                        return FALSE;
        return step == BH_DB_DONE;
}

gboolean bh_store_put_flows(BhStore *s, const char *node, BhStoreFlows *batch, guint64 *folded, GError **error) {
        const char *boot = bh_store_clean(s, batch->boot_id, BH_STORE_KEY_MAX);
        gint64 through = (gint64) MIN(batch->through, (guint64) G_MAXINT64), last;
        gboolean found, ok = TRUE;

        batch->closed = NULL;
        batch->texts = g_ptr_array_new_with_free_func(g_free);
        char *name = g_strdup(node);
        g_ptr_array_add(batch->texts, name);
        node = name;
        if (!bh_db_get_int(s->writer, &last, &found, error, "SELECT through FROM flow_positions WHERE node = ? AND boot_id = ?", "tt", node, boot))
                return FALSE;
        batch->counted = !found || through > last;
        for (guint i = 0; i < batch->n_halves; i++)
                batch->halves[i].id = 0;
        if (found && through < last)
                return TRUE;

        Batch b = { .s = s, .batch = batch, .node = node, .counted = batch->counted, .of_node = -1, .folded = folded };
        b.seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
        b.numbers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        for (guint i = 0; ok && i < batch->n_halves; i++)
                ok = put_half(&b, &batch->halves[i], error);
        ok = ok && (!batch->full || close_others(&b, error));
        g_hash_table_unref(b.seen);
        g_hash_table_unref(b.numbers);
        if (!ok || !batch->counted)
                return ok;
        /* each boot has a row: of the older ones too many go */
        if (!found && !bh_db_run(s->writer, error, "DELETE FROM flow_positions WHERE node = ? AND rowid NOT IN (SELECT rowid FROM flow_positions WHERE node = ? ORDER BY seen_ns DESC, rowid DESC LIMIT ?)",
                                 "tti", node, node, (gint64) BH_STORE_BOOTS_PER_NODE - 1))
                return FALSE;
        return bh_db_run(s->writer, error, "INSERT INTO flow_positions (node, boot_id, through, seen_ns, rest_connections, rest_bytes) VALUES (?, ?, ?, ?, ?, ?) "
                         "ON CONFLICT (node, boot_id) DO UPDATE SET through = excluded.through, seen_ns = excluded.seen_ns, "
                         "rest_connections = min(rest_connections, 4611686018427387903) + excluded.rest_connections, "
                         "rest_bytes = min(rest_bytes, 4611686018427387903) + excluded.rest_bytes", "ttiiii", node, boot, through, s->tx_now,
                         clamp(batch->rest_connections), clamp(batch->rest_bytes));
}

void bh_store_flows_clear(BhStoreFlows *batch) {
        g_clear_pointer(&batch->closed, g_array_unref);
        g_clear_pointer(&batch->texts, g_ptr_array_unref);
}

/* ---- listeners */

/* A row as a key: each text with its length before it, so that none can pass for another. */
static char *listener_key(const char *container, const char *exe, const char *path, gint64 pid, gint64 proto, gint64 port, gint64 net_ns, gint64 started_ns, gint64 first_ns,
                          const void *ip, gsize ip_len) {
        GString *key = g_string_new(NULL);

        g_string_append_printf(key, "%zu.%s%zu.%s%zu.%s%" G_GINT64_FORMAT ",%" G_GINT64_FORMAT ",%" G_GINT64_FORMAT ",%" G_GINT64_FORMAT ",%" G_GINT64_FORMAT ",%" G_GINT64_FORMAT ",", strlen(container), container,
                               strlen(exe), exe, strlen(path), path, pid, proto, port, net_ns, started_ns, first_ns);
        for (gsize i = 0; i < ip_len; i++)
                g_string_append_printf(key, "%02x", ((const guint8 *) ip)[i]);
        return g_string_free(key, FALSE);
}

static void ids_free(gpointer ids) {
        g_array_unref(ids);
}

/* What is there: key → GArray of ids. */
static GHashTable *known_listeners(BhStore *s, const char *node, GError **error) {
        g_autoptr(GHashTable) known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, ids_free);
        BhDbStmt *st = bh_db_query(s->writer, error, "SELECT id, container_id, exe, path, pid, proto, port, net_ns, started_ns, first_ns, ip FROM listeners WHERE node = ?", "t", node);
        BhDbStep step = BH_DB_FAILED;

        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                const gint64 id = bh_db_int(st, 0);
                gsize len;
                const void *ip = bh_db_peek_blob(st, 10, &len);
                g_autofree char *key = listener_key(bh_db_peek(st, 1), bh_db_peek(st, 2), bh_db_peek(st, 3), bh_db_int(st, 4), bh_db_int(st, 5), bh_db_int(st, 6), bh_db_int(st, 7),
                                                    bh_db_int(st, 8), bh_db_int(st, 9), ip, len);
                GArray *ids = g_hash_table_lookup(known, key);

                if (!ids)
                        g_hash_table_insert(known, g_steal_pointer(&key), ids = g_array_new(FALSE, FALSE, sizeof(gint64)));
                g_array_append_val(ids, id);
        }
        bh_db_done(st);
        return step == BH_DB_DONE ? g_steal_pointer(&known) : NULL;
}

/* Rows that are told again stay what they are, with their numbers: pages go by these. */
gboolean bh_store_put_listeners(BhStore *s, const char *node, const BhStoreListeners *list, GError **error) {
        g_autoptr(GHashTable) known = known_listeners(s, node, error);
        GHashTableIter it;
        gpointer ids;

        if (!known)
                return FALSE;
        for (guint i = 0; i < list->n_listeners && i < BH_STORE_LISTENERS_PER_NODE; i++) {
                const BhStoreListener *l = &list->listeners[i];
                const char *container = bh_store_clean(s, l->container_id, BH_STORE_KEY_MAX), *exe = bh_store_clean(s, l->exe, BH_STORE_TEXT_MAX), *path = bh_store_clean(s, l->path, BH_STORE_TEXT_MAX);
                g_autofree char *key = listener_key(container, exe, path, l->pid, l->proto, l->port, l->net_ns, l->started_ns, l->first_ns, l->ip.bytes, l->ip.len);
                GArray *same = g_hash_table_lookup(known, key);

                if (same && same->len) {
                        g_array_set_size(same, same->len - 1);
                        continue;
                }
                if (!bh_db_run(s->writer, error, "INSERT INTO listeners (node, container_id, exe, pid, proto, ip, port, path, started_ns, first_ns, net_ns) "
                               "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", "ttti" "ibitiii", node, container, exe, (gint64) l->pid, (gint64) l->proto, l->ip.bytes, (gsize) l->ip.len,
                               (gint64) l->port, path, l->started_ns, l->first_ns, (gint64) l->net_ns))
                        return FALSE;
        }
        g_hash_table_iter_init(&it, known);
        while (g_hash_table_iter_next(&it, NULL, &ids))
                for (guint i = 0; i < ((GArray *) ids)->len; i++)
                        if (!bh_db_run(s->writer, error, "DELETE FROM listeners WHERE id = ?", "i", g_array_index((GArray *) ids, gint64, i)))
                                return FALSE;
        return TRUE;
}
