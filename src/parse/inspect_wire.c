/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/inspect_wire.h"

#include <string.h>

/* ---- kinds */

static const struct {
        const char *name;
        guint work_ms;
        gboolean file;
} kinds[BH_INSPECT_KINDS] = {
#define BODY FALSE
#define FILE TRUE
#define BH_INSPECT_KIND(ID, number, kind_name, ms, input) [number] = { kind_name, ms, input },
#include "parse/inspect_kinds.tbl.h"
#undef BH_INSPECT_KIND
#undef FILE
#undef BODY
};

const char *bh_inspect_kind_name(guint kind) {
        return kind < BH_INSPECT_KINDS ? kinds[kind].name : NULL;
}

guint bh_inspect_kind_work_ms(guint kind) {
        return kind < BH_INSPECT_KINDS ? kinds[kind].work_ms : 0;
}

gboolean bh_inspect_kind_takes_file(guint kind) {
        return kind < BH_INSPECT_KINDS && kinds[kind].file;
}

/* ---- putting. Machine byte order, no padding. */

static void put(GByteArray *out, const void *p, gsize n) {
        g_byte_array_append(out, p, (guint) n);
}

static void put_u8(GByteArray *out, guint8 v) {
        put(out, &v, sizeof(v));
}

static void put_u16(GByteArray *out, guint16 v) {
        put(out, &v, sizeof(v));
}

static void put_u32(GByteArray *out, guint32 v) {
        put(out, &v, sizeof(v));
}

static void put_u64(GByteArray *out, guint64 v) {
        put(out, &v, sizeof(v));
}

static void put_text(GByteArray *out, const char *s) {
        gsize n = strlen(s);

        g_assert(n <= G_MAXUINT16);
        put_u16(out, (guint16) n);
        put(out, s, n);
}

static void put_data(GByteArray *out, const guint8 *p, guint32 n) {
        put_u32(out, n);
        put(out, p, n);
}

/* ---- taking. After the first thing wrong `bad` stays set and all values are 0, so checks may wait until the end. */

typedef struct {
        const guint8 *at, *end;
        gboolean bad;
} Taker;

static const guint8 *take(Taker *t, gsize n) {
        if (t->bad || n > (gsize) (t->end - t->at)) {
                t->bad = TRUE;
                return NULL;
        }
        t->at += n;
        return t->at - n;
}

static void take_into(Taker *t, void *v, gsize n) {
        const guint8 *p = take(t, n);

        if (p)
                memcpy(v, p, n);
        else
                memset(v, 0, n);
}

static guint8 take_u8(Taker *t) {
        guint8 v;

        take_into(t, &v, sizeof(v));
        return v;
}

static guint16 take_u16(Taker *t) {
        guint16 v;

        take_into(t, &v, sizeof(v));
        return v;
}

static guint32 take_u32(Taker *t) {
        guint32 v;

        take_into(t, &v, sizeof(v));
        return v;
}

static guint64 take_u64(Taker *t) {
        guint64 v;

        take_into(t, &v, sizeof(v));
        return v;
}

/* A number that must not be larger than `max`. */
static guint32 take_count(Taker *t, guint32 max) {
        guint32 v = take_u32(t);

        if (v > max)
                t->bad = TRUE;
        return t->bad ? 0 : v;
}

/* A string of at most `max` bytes without NUL; never NULL. */
static const char *take_text(Taker *t, GStringChunk *text, gsize max) {
        gsize n = take_u16(t);
        const guint8 *p = n <= max ? take(t, n) : NULL;

        if (!p || memchr(p, 0, n)) {
                t->bad = TRUE;
                return "";
        }
        return g_string_chunk_insert_len(text, (const char *) p, (gssize) n);
}

static gboolean taken(const Taker *t) {
        return !t->bad && t->at == t->end;
}

/* ---- DNS */

void bh_inspect_pack_dns(GByteArray *out, const BhDnsMessage *m) {
        put_u16(out, m->id);
        put_u16(out, m->flags);
        put_u8(out, m->opcode);
        put_u8(out, (guint8) m->problem);
        put_u16(out, m->rcode);
        put(out, m->counts, sizeof(m->counts));
        put_u8(out, m->edns ? 1 : 0);
        put_u16(out, m->edns_bytes);
        put_u32(out, m->edns_data);
        put_u32(out, m->trailing);
        put_u32(out, m->n_questions);
        for (guint32 i = 0; i < m->n_questions; i++) {
                const BhDnsQuestion *q = &m->questions[i];

                put_text(out, q->name);
                put_u16(out, q->type);
                put_u16(out, q->class);
        }
        put_u32(out, m->n_records);
        for (guint32 i = 0; i < m->n_records; i++) {
                const BhDnsRecord *r = &m->records[i];

                put_text(out, r->name);
                put_text(out, r->target);
                put_data(out, r->data, r->data_len);
                put_u32(out, r->ttl);
                put_u16(out, r->type);
                put_u16(out, r->class);
                put_u16(out, r->priority);
                put_u16(out, r->weight);
                put_u16(out, r->port);
                put_u8(out, r->section);
        }
}

/* Presentation form: see dns.h. `empty` allows none. */
static const char *take_dns_name(Taker *t, GStringChunk *text, gboolean empty) {
        const char *name = take_text(t, text, BH_DNS_NAME_MAX - 1);

        if (!*name && !empty)
                t->bad = TRUE;
        for (const char *c = name; *c; c++)
                if (*c <= 0x20 || *c >= 0x7f)
                        t->bad = TRUE;
        return name;
}

BhDnsMessage *bh_inspect_unpack_dns(const guint8 *body, gsize len) {
        Taker t = { .at = body, .end = body + len };
        g_autoptr(BhDnsMessage) m = g_new0(BhDnsMessage, 1);

        m->text = g_string_chunk_new(512);
        m->id = take_u16(&t);
        m->flags = take_u16(&t);
        m->opcode = take_u8(&t);
        m->problem = take_u8(&t);
        m->rcode = take_u16(&t);
        take_into(&t, m->counts, sizeof(m->counts));
        guint8 edns = take_u8(&t);
        m->edns = edns == 1;
        m->edns_bytes = take_u16(&t);
        m->edns_data = take_u32(&t);
        m->trailing = take_u32(&t);
        if (edns > 1 || m->problem >= BH_DNS_PROBLEMS || m->opcode > 15 || m->rcode > 4095)
                t.bad = TRUE;

        m->n_questions = take_count(&t, BH_DNS_QUESTIONS_MAX);
        BhDnsQuestion *questions = g_new0(BhDnsQuestion, m->n_questions);
        m->questions = questions;
        for (guint32 i = 0; i < m->n_questions && !t.bad; i++) {
                questions[i].name = take_dns_name(&t, m->text, FALSE);
                questions[i].type = take_u16(&t);
                questions[i].class = take_u16(&t);
        }
        m->n_records = take_count(&t, BH_DNS_RECORDS_MAX);
        BhDnsRecord *records = g_new0(BhDnsRecord, m->n_records);
        m->records = records;
        for (guint32 i = 0; i < m->n_records && !t.bad; i++) {
                BhDnsRecord *r = &records[i];

                r->name = take_dns_name(&t, m->text, FALSE);
                r->target = take_dns_name(&t, m->text, TRUE);
                r->data_len = take_count(&t, BH_DNS_DATA_MAX);
                const guint8 *data = take(&t, r->data_len);
                r->data = data && r->data_len ? (const guint8 *) g_string_chunk_insert_len(m->text, (const char *) data, r->data_len) : (const guint8 *) "";
                r->ttl = take_u32(&t);
                r->type = take_u16(&t);
                r->class = take_u16(&t);
                r->priority = take_u16(&t);
                r->weight = take_u16(&t);
                r->port = take_u16(&t);
                r->section = take_u8(&t);
                /* who reads an address reads this many bytes */
                if (r->section > BH_DNS_ADDITIONAL || (r->type == BH_DNS_A && r->data_len && r->data_len != 4) ||
                    (r->type == BH_DNS_AAAA && r->data_len && r->data_len != 16))
                        t.bad = TRUE;
        }
        return taken(&t) ? g_steal_pointer(&m) : NULL;
}

/* ---- users and groups */

void bh_inspect_pack_passwd(GByteArray *out, const BhPasswd *p) {
        guint n;
        const BhPasswdEntry *e = bh_passwd_entries(p, &n);

        put_u32(out, bh_passwd_skipped(p));
        put_u32(out, bh_passwd_dropped(p));
        put_u32(out, n);
        for (guint i = 0; i < n; i++) {
                put_u32(out, e[i].id);
                put_u32(out, e[i].group);
                put_text(out, e[i].name);
        }
}

BhPasswd *bh_inspect_unpack_passwd(const guint8 *body, gsize len) {
        Taker t = { .at = body, .end = body + len };
        guint32 skipped = take_u32(&t), dropped = take_u32(&t), n = take_count(&t, BH_PASSWD_ENTRIES_MAX);
        g_autofree BhPasswdEntry *entries = g_new0(BhPasswdEntry, n);
        GStringChunk *text = g_string_chunk_new(1024);
        BhPasswd *p = NULL;

        for (guint32 i = 0; i < n && !t.bad; i++) {
                entries[i].id = take_u32(&t);
                entries[i].group = take_u32(&t);
                entries[i].name = take_text(&t, text, BH_PASSWD_NAME_MAX);
        }
        if (taken(&t))
                p = bh_passwd_new(entries, n, skipped, dropped);
        g_string_chunk_free(text);
        return p;
}

/* ---- ELF */

void bh_inspect_pack_elf(GByteArray *out, const BhElf *e) {
        put_u8(out, e->bits);
        put_u8(out, e->big_endian ? 1 : 0);
        put_u16(out, e->type);
        put_u16(out, e->machine);
        put_u64(out, e->entry);
        put_u32(out, e->flags);
        put_text(out, e->interpreter);
        put_text(out, e->soname);
        put_data(out, e->build_id, e->build_id_len);
        put_u32(out, e->n_functions);
        put_u32(out, e->n_needed);
        for (guint32 i = 0; i < e->n_needed; i++)
                put_text(out, e->needed[i]);
        put_u32(out, e->n_symbols);
        for (guint32 i = 0; i < e->n_symbols; i++) {
                const BhElfSymbol *s = &e->symbols[i];

                put_text(out, s->name);
                put_u64(out, s->value);
                put_u64(out, s->size);
                put_u64(out, s->offset);
                put_u8(out, s->dynamic ? 1 : 0);
        }
}

BhElf *bh_inspect_unpack_elf(const guint8 *body, gsize len) {
        Taker t = { .at = body, .end = body + len };
        g_autoptr(BhElf) e = g_new0(BhElf, 1);

        e->text = g_string_chunk_new(512);
        e->bits = take_u8(&t);
        guint8 big = take_u8(&t);
        e->big_endian = big == 1;
        e->type = take_u16(&t);
        e->machine = take_u16(&t);
        e->entry = take_u64(&t);
        e->flags = take_u32(&t);
        e->interpreter = take_text(&t, e->text, BH_ELF_NAME_MAX);
        e->soname = take_text(&t, e->text, BH_ELF_NAME_MAX);
        e->build_id_len = take_count(&t, BH_ELF_BUILD_ID_MAX);
        take_into(&t, e->build_id, e->build_id_len);
        if ((e->bits != 32 && e->bits != 64) || big > 1 || e->flags > (BH_ELF_DAMAGED | BH_ELF_BOUND | BH_ELF_STATIC_SYMBOLS | BH_ELF_DYNAMIC))
                t.bad = TRUE;

        e->n_functions = take_u32(&t);
        e->n_needed = take_count(&t, BH_ELF_NEEDED_MAX);
        const char **needed = g_new0(const char *, e->n_needed);
        e->needed = needed;
        for (guint32 i = 0; i < e->n_needed && !t.bad; i++)
                needed[i] = take_text(&t, e->text, BH_ELF_NAME_MAX);
        e->n_symbols = take_count(&t, BH_ELF_SYMBOLS_MAX);
        BhElfSymbol *symbols = g_new0(BhElfSymbol, e->n_symbols);
        e->symbols = symbols;
        for (guint32 i = 0; i < e->n_symbols && !t.bad; i++) {
                symbols[i].name = take_text(&t, e->text, BH_ELF_NAME_MAX);
                symbols[i].value = take_u64(&t);
                symbols[i].size = take_u64(&t);
                symbols[i].offset = take_u64(&t);
                guint8 dynamic = take_u8(&t);
                symbols[i].dynamic = dynamic == 1;
                /* offsets go to the kernel as signed numbers */
                if (dynamic > 1 || symbols[i].offset >= BH_INSPECT_FILE_MAX || !*symbols[i].name)
                        t.bad = TRUE;
        }
        return taken(&t) ? g_steal_pointer(&e) : NULL;
}

void bh_inspect_pack_wanted(GByteArray *out, const BhElfWanted *wanted) {
        put_u32(out, wanted ? wanted->list : 0);
        put_u32(out, wanted ? wanted->n_names : 0);
        for (guint32 i = 0; wanted && i < wanted->n_names; i++)
                put_text(out, wanted->names[i]);
}

gboolean bh_inspect_unpack_wanted(const guint8 *body, gsize len, BhElfWanted *wanted, char ***names) {
        Taker t = { .at = body, .end = body + len };
        guint32 list = take_count(&t, BH_ELF_SYMBOLS_MAX), n = take_count(&t, BH_ELF_NAMES_MAX);
        g_auto(GStrv) all = g_new0(char *, n + 1);
        GStringChunk *text = g_string_chunk_new(512);

        for (guint32 i = 0; i < n && !t.bad; i++)
                all[i] = g_strdup(take_text(&t, text, BH_ELF_NAME_MAX));
        g_string_chunk_free(text);
        if (!taken(&t))
                return FALSE;
        *wanted = (BhElfWanted) { .names = (const char *const *) all, .n_names = n, .list = list };
        *names = g_steal_pointer(&all);
        return TRUE;
}

/* ---- protocols */

void bh_inspect_pack_look(GByteArray *out, const BhProtocolInput *in) {
        guint16 client = (guint16) MIN(in->client_len, BH_PROTOCOL_BYTES_MAX), server = (guint16) MIN(in->server_len, BH_PROTOCOL_BYTES_MAX);

        put_u8(out, (guint8) in->flags);
        put_u16(out, client);
        put_u16(out, server);
        if (client)
                put(out, in->client, client);
        if (server)
                put(out, in->server, server);
}

gboolean bh_inspect_unpack_look(const guint8 *body, gsize len, BhProtocolInput *in) {
        Taker t = { .at = body, .end = body + len };

        in->flags = take_u8(&t);
        in->client_len = take_u16(&t);
        in->server_len = take_u16(&t);
        in->client = take(&t, in->client_len);
        in->server = take(&t, in->server_len);
        return taken(&t) && in->flags <= (BH_PROTOCOL_MIDSTREAM | BH_PROTOCOL_DATAGRAM) && in->client_len <= BH_PROTOCOL_BYTES_MAX && in->server_len <= BH_PROTOCOL_BYTES_MAX;
}

gboolean bh_inspect_is_text(const guint8 *body, gsize len) {
        for (gsize i = 0; i < len; i++)
                if ((body[i] < 0x20 && body[i] != '\n' && body[i] != '\t') || body[i] > 0x7e)
                        return FALSE;
        return len <= BH_INSPECT_ANSWER_MAX;
}

void bh_inspect_pack_protocol(GByteArray *out, const BhProtocolFacts *f) {
        put_u8(out, (guint8) f->protocol);
        put_u8(out, (guint8) f->confidence);
        put_u8(out, (guint8) f->signs);
        put_text(out, f->version);
        put_text(out, f->server_name);
        put_text(out, f->alpn);
        put_text(out, f->client);
        put_text(out, f->server);
        put_text(out, f->fingerprint);
        put_text(out, f->certificate);
}

/* Printable ASCII into a field of `room` bytes. */
static void take_printable(Taker *t, char *out, gsize room) {
        gsize n = take_u16(t);
        const guint8 *p = n < room ? take(t, n) : NULL;

        for (gsize i = 0; p && i < n; i++)
                if (p[i] < 0x20 || p[i] >= 0x7f)
                        p = NULL;
        if (p)
                memcpy(out, p, n);
        else
                t->bad = TRUE;
}

BhProtocolFacts *bh_inspect_unpack_protocol(const guint8 *body, gsize len) {
        Taker t = { .at = body, .end = body + len };
        g_autofree BhProtocolFacts *f = g_new0(BhProtocolFacts, 1);
        guint8 protocol = take_u8(&t), confidence = take_u8(&t), signs = take_u8(&t);

        take_printable(&t, f->version, sizeof(f->version));
        take_printable(&t, f->server_name, sizeof(f->server_name));
        take_printable(&t, f->alpn, sizeof(f->alpn));
        take_printable(&t, f->client, sizeof(f->client));
        take_printable(&t, f->server, sizeof(f->server));
        take_printable(&t, f->fingerprint, sizeof(f->fingerprint));
        take_printable(&t, f->certificate, sizeof(f->certificate));
        if (protocol >= BH_PROTOCOLS || confidence >= BH_PROTOCOL_CONFIDENCES || signs > BH_PROTOCOL_SIGNS || !protocol != !confidence)
                t.bad = TRUE;
        f->protocol = (BhProtocol) protocol;
        f->confidence = (BhProtocolConfidence) confidence;
        f->signs = signs;
        return taken(&t) ? g_steal_pointer(&f) : NULL;
}
