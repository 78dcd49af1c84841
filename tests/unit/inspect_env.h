/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the inspector's client and of its sandbox share. */
#pragma once
#include <glib.h>
#include <string.h>

#include "parse/inspect_client.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZER 1
#endif
#endif
#ifndef SANITIZER
#define SANITIZER 0
#endif

/* A client of a program that is ready. */
static inline BhInspectClient *start_inspector(const char *program) {
        BhInspectConfig config = { .program = program };
        g_autoptr(GError) error = NULL;
        BhInspectClient *c = bh_inspect_client_new(&config, &error);

        g_assert_no_error(error);
        bh_inspect_client_wait(c, 20000, &error);
        g_assert_no_error(error);
        return c;
}

static inline GBytes *bytes_of(const char *text) {
        return g_bytes_new(text, strlen(text));
}

/* "" = the answer came; else what the error said. Caller frees. */
static inline char *ping(BhInspectClient *c, const char *text, char **answer) {
        g_autoptr(GBytes) body = bytes_of(text);
        g_auto(BhInspectAnswer) a = { 0 };
        g_autoptr(GError) error = NULL;

        if (!bh_inspect_ask(c, BH_INSPECT_PING, body, -1, 20000, &a, &error))
                return g_strdup(error->message);
        if (answer)
                *answer = g_strndup((const char *) a.body, a.len);
        return g_strdup("");
}
