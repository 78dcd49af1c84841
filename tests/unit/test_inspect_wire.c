/* SPDX-License-Identifier: Apache-2.0 */
/* What the inspector answers counts as an attacker's: only what the pack functions make is taken. */
#include <glib.h>
#include <string.h>

#include "elf_image.h"
#include "parse/inspect_wire.h"

static const guint8 dns[] = "\x12\x34\x81\x80\x00\x01\x00\x02\x00\x00\x00\x01"
                            "\x07" "example\x03" "com\x00" "\x00\x01\x00\x01"
                            "\xc0\x0c\x00\x05\x00\x01\x00\x00\x01\x2c\x00\x04\x01" "w\xc0\x0c"
                            "\xc0\x29\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x5d\xb8\xd8\x22"
                            "\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00 trailing";
static const char users[] = "root:x:0:0:root:/root:/bin/sh\napp:x:10:20:::\nbad\n";

typedef gboolean (*Unpack)(const guint8 *body, gsize len);

static gboolean unpacks_dns(const guint8 *body, gsize len) {
        g_autoptr(BhDnsMessage) m = bh_inspect_unpack_dns(body, len);

        return m != NULL;
}

static gboolean unpacks_passwd(const guint8 *body, gsize len) {
        g_autoptr(BhPasswd) p = bh_inspect_unpack_passwd(body, len);

        return p != NULL;
}

static gboolean unpacks_elf(const guint8 *body, gsize len) {
        g_autoptr(BhElf) e = bh_inspect_unpack_elf(body, len);

        return e != NULL;
}

static gboolean unpacks_wanted(const guint8 *body, gsize len) {
        g_auto(GStrv) names = NULL;
        BhElfWanted wanted;

        return bh_inspect_unpack_wanted(body, len, &wanted, &names);
}

static GByteArray *wanted_body(guint32 list) {
        const char *names[] = { "SSL_read", "SSL_write" };
        GByteArray *b = g_byte_array_new();

        bh_inspect_pack_wanted(b, &(BhElfWanted) { .names = names, .n_names = 2, .list = list });
        return b;
}

static GByteArray *answer_of(guint kind) {
        g_autoptr(GByteArray) body = wanted_body(100);
        GByteArray *out = g_byte_array_new();
        BhInspectStatus status;

        if (kind == BH_INSPECT_DNS) {
                status = bh_inspect_answer(kind, dns, sizeof(dns) - 1, NULL, 0, out);
        } else if (kind == BH_INSPECT_USERS) {
                status = bh_inspect_answer(kind, (const guint8 *) users, sizeof(users) - 1, NULL, 0, out);
        } else {
                ElfImage i = elf_image(TRUE, FALSE);
                g_autoptr(GByteArray) file = i.bytes;

                status = bh_inspect_answer(kind, body->data, body->len, file->data, file->len, out);
        }
        g_assert_cmpint(status, ==, BH_INSPECT_OK);
        return out;
}

static void dns_comes_back_as_it_was(void) {
        g_autoptr(GByteArray) b = answer_of(BH_INSPECT_DNS), again = g_byte_array_new();
        g_autoptr(BhDnsMessage) m = bh_inspect_unpack_dns(b->data, b->len), direct = bh_dns_parse(dns, sizeof(dns) - 1, NULL);

        g_assert_nonnull(m);
        g_assert_cmpuint(m->id, ==, 0x1234);
        g_assert_cmpuint(m->trailing, ==, 9);
        g_assert_true(m->edns);
        g_assert_cmpuint(m->n_records, ==, direct->n_records);
        g_assert_cmpstr(m->records[0].target, ==, "w.example.com");
        g_assert_cmpmem(m->records[1].data, m->records[1].data_len, "\x5d\xb8\xd8\x22", 4);
        bh_inspect_pack_dns(again, m);
        g_assert_cmpmem(again->data, again->len, b->data, b->len);
}

static void users_come_back_as_they_were(void) {
        g_autoptr(GByteArray) b = answer_of(BH_INSPECT_USERS), again = g_byte_array_new();
        g_autoptr(BhPasswd) p = bh_inspect_unpack_passwd(b->data, b->len);

        g_assert_cmpstr(bh_passwd_name(p, 10), ==, "app");
        g_assert_cmpuint(bh_passwd_skipped(p), ==, 1);
        bh_inspect_pack_passwd(again, p);
        g_assert_cmpmem(again->data, again->len, b->data, b->len);
}

static void elf_comes_back_as_it_was(void) {
        g_autoptr(GByteArray) b = answer_of(BH_INSPECT_ELF), again = g_byte_array_new();
        g_autoptr(BhElf) e = bh_inspect_unpack_elf(b->data, b->len);

        g_assert_cmphex(bh_elf_symbol(e, "SSL_read")->offset, ==, 0x123);
        g_assert_cmpstr(e->soname, ==, "libtest.so.1");
        g_assert_cmpuint(e->n_needed, ==, 2);
        bh_inspect_pack_elf(again, e);
        g_assert_cmpmem(again->data, again->len, b->data, b->len);
}

static void wanted_functions_come_back(void) {
        g_autoptr(GByteArray) b = wanted_body(7), none = g_byte_array_new();
        g_auto(GStrv) names = NULL, no_names = NULL;
        BhElfWanted w;

        g_assert_true(bh_inspect_unpack_wanted(b->data, b->len, &w, &names));
        g_assert_cmpuint(w.n_names, ==, 2);
        g_assert_cmpuint(w.list, ==, 7);
        g_assert_cmpstr(w.names[1], ==, "SSL_write");
        bh_inspect_pack_wanted(none, NULL);
        g_assert_true(bh_inspect_unpack_wanted(none->data, none->len, &w, &no_names));
        g_assert_cmpuint(w.n_names + w.list, ==, 0);
}

/* Cut, prolonged, and each byte changed: taken or refused, never read beyond its end. */
static void changed_answers_are_survived(void) {
        static const struct {
                Unpack unpack;
                guint kind; /* 0 = what a request for ELF wants */
        } cases[] = { { unpacks_dns, BH_INSPECT_DNS }, { unpacks_passwd, BH_INSPECT_USERS }, { unpacks_elf, BH_INSPECT_ELF }, { unpacks_wanted, 0 } };

        for (gsize k = 0; k < G_N_ELEMENTS(cases); k++) {
                g_autoptr(GByteArray) body = cases[k].kind ? answer_of(cases[k].kind) : wanted_body(9);

                g_assert_true(cases[k].unpack(body->data, body->len));
                for (guint n = 0; n < body->len; n++) {
                        g_autofree guint8 *exact = n ? g_memdup2(body->data, n) : g_malloc(1);

                        g_assert_false(cases[k].unpack(exact, n));
                }
                for (guint at = 0; at < body->len; at++)
                        for (guint bit = 0; bit < 8; bit++) {
                                g_autofree guint8 *exact = g_memdup2(body->data, body->len);

                                exact[at] ^= (guint8) (1u << bit);
                                (void) cases[k].unpack(exact, body->len);
                        }
                g_byte_array_append(body, (const guint8 *) "x", 1);
                g_assert_false(cases[k].unpack(body->data, body->len));
        }
}

/* Byte offsets: see bh_inspect_pack_dns(). */
static void lies_are_refused(void) {
        g_autoptr(GByteArray) b = answer_of(BH_INSPECT_DNS), p = answer_of(BH_INSPECT_USERS);
        static const guint8 many[4] = { 0xff, 0xff, 0xff, 0xff };
        guint8 old[4];

        memcpy(old, b->data + 27, 4);
        memcpy(b->data + 27, many, 4); /* questions */
        g_assert_false(unpacks_dns(b->data, b->len));
        memcpy(b->data + 27, old, 4);
        b->data[5] = BH_DNS_PROBLEMS;
        g_assert_false(unpacks_dns(b->data, b->len));
        b->data[5] = BH_DNS_WHOLE;
        g_assert_true(unpacks_dns(b->data, b->len));
        b->data[33] = 0x1b; /* in the question's name */
        g_assert_false(unpacks_dns(b->data, b->len));
        b->data[33] = 0;
        g_assert_false(unpacks_dns(b->data, b->len));

        memcpy(p->data + 8, many, 4); /* entries */
        g_assert_false(unpacks_passwd(p->data, p->len));
        memcpy(p->data + 8, "\2\0\0\0", 4);
        g_assert_true(unpacks_passwd(p->data, p->len));
        p->data[22] = '\n'; /* in root's name */
        g_assert_false(unpacks_passwd(p->data, p->len));
}

static void largest_results_fit_into_an_answer(void) {
        g_autoptr(GByteArray) message = g_byte_array_new(), out = g_byte_array_new(), body = g_byte_array_new();
        g_autoptr(GString) text = g_string_new(NULL);

        /* names and data as large as they may be */
        g_byte_array_append(message, (const guint8 *) "\0\0\0\0\0\0\0\x7f\0\0\0\0", 12);
        for (int i = 0; i < 127; i++) {
                /* a label of 20 bytes that each take four characters, type 0xff00, 480 bytes of data */
                guint8 record[512] = { 20, [22] = 0xff, [25] = 1, [30] = 480 >> 8, [31] = 480 & 0xff };

                memset(record + 1, 1, 20);
                g_byte_array_append(message, record, sizeof(record));
        }
        g_assert_cmpint(bh_inspect_answer(BH_INSPECT_DNS, message->data, message->len, NULL, 0, out), ==, BH_INSPECT_OK);
        g_assert_cmpuint(out->len, >, 64 << 10);
        g_assert_cmpuint(out->len, <=, BH_INSPECT_ANSWER_MAX);
        g_assert_true(unpacks_dns(out->data, out->len));

        g_byte_array_set_size(out, 0);
        for (guint i = 0; i < BH_PASSWD_ENTRIES_MAX; i++)
                g_string_append_printf(text, "%031u:x:%u:0:::\n", i, i);
        g_assert_cmpint(bh_inspect_answer(BH_INSPECT_USERS, (guint8 *) text->str, text->len, NULL, 0, out), ==, BH_INSPECT_OK);
        g_assert_cmpuint(out->len, >, BH_PASSWD_TEXT_MAX);
        g_assert_cmpuint(out->len, <=, BH_INSPECT_ANSWER_MAX);
        g_assert_true(unpacks_passwd(out->data, out->len));

        /* symbols with long names, until the text is full */
        ElfImage i = elf_image(TRUE, FALSE);
        g_autoptr(GByteArray) file = i.bytes;
        const guint symbols = 3000;
        gsize strings = 0x1000 + symbols * 24;
        for (guint k = 0; k < symbols; k++)
                elf_sym(&i, 0x1000 + k * 24, k * 61, STT_FUNC, 1, ELF_VADDR + k % 0x800, 1);
        elf_put(&i, strings + symbols * 61, 0, 1);
        for (guint k = 0; k < symbols; k++)
                memset(file->data + strings + k * 61, 'a' + (int) (k % 26), 60);
        elf_shdr(&i, 1, SHT_SYMTAB, 0x1000, symbols * 24, 2);
        elf_shdr(&i, 2, SHT_STRTAB, strings, symbols * 61, 0);
        bh_inspect_pack_wanted(body, &(BhElfWanted) { .list = BH_ELF_SYMBOLS_MAX });
        g_byte_array_set_size(out, 0);
        g_assert_cmpint(bh_inspect_answer(BH_INSPECT_ELF, body->data, body->len, file->data, file->len, out), ==, BH_INSPECT_OK);
        g_assert_cmpuint(out->len, >, BH_ELF_TEXT_MAX);
        g_assert_cmpuint(out->len, <=, BH_INSPECT_ANSWER_MAX);
        g_assert_true(unpacks_elf(out->data, out->len));
}

static void bad_requests_get_a_sentence(void) {
        static const struct {
                guint kind;
                const char *body;
                BhInspectStatus status;
        } cases[] = {
                { 0, "", BH_INSPECT_REFUSED },
                { BH_INSPECT_KINDS, "", BH_INSPECT_REFUSED },
                { 65535, "", BH_INSPECT_REFUSED },
                { BH_INSPECT_ELF, "", BH_INSPECT_REFUSED },
                { BH_INSPECT_DNS, "short", BH_INSPECT_MALFORMED },
                { BH_INSPECT_DNS_TCP, "s", BH_INSPECT_MALFORMED },
        };

        for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(GByteArray) out = g_byte_array_new();

                g_assert_cmpint(bh_inspect_answer(cases[i].kind, (const guint8 *) cases[i].body, strlen(cases[i].body), NULL, 0, out), ==, cases[i].status);
                g_assert_cmpuint(out->len, >, 10);
        }
        g_autoptr(GByteArray) out = g_byte_array_new();
        g_assert_cmpint(bh_inspect_answer(BH_INSPECT_ELF, (const guint8 *) "rubbish", 7, (const guint8 *) "x", 1, out), ==, BH_INSPECT_REFUSED);
}

static void kinds_are_named(void) {
        g_assert_cmpstr(bh_inspect_kind_name(BH_INSPECT_DNS), ==, "dns");
        g_assert_null(bh_inspect_kind_name(0));
        g_assert_null(bh_inspect_kind_name(BH_INSPECT_KINDS));
        g_assert_true(bh_inspect_kind_takes_file(BH_INSPECT_ELF));
        g_assert_false(bh_inspect_kind_takes_file(BH_INSPECT_DNS));
        for (guint k = 1; k < BH_INSPECT_KINDS; k++)
                g_assert_cmpuint(bh_inspect_kind_work_ms(k), >, 0);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/inspect_wire/" #name, name)
        TEST(dns_comes_back_as_it_was);
        TEST(users_come_back_as_they_were);
        TEST(elf_comes_back_as_it_was);
        TEST(wanted_functions_come_back);
        TEST(changed_answers_are_survived);
        TEST(lies_are_refused);
        TEST(largest_results_fit_into_an_answer);
        TEST(bad_requests_get_a_sentence);
        TEST(kinds_are_named);
#undef TEST
        return g_test_run();
}
