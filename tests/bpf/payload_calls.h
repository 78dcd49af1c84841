/* SPDX-License-Identifier: Apache-2.0 */
/* What payload_calls says over its connections, for the test that starts it, too. */
#pragma once
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define PAYLOAD_TURNS 3u    /* requests, and responses, of a connection */
#define PAYLOAD_BYTES 3000u /* of each; fewer than what is told of one */

/* Request (response) number `turn`, of `len` bytes. */
static inline void payload_text(unsigned char *to, size_t len, int response, unsigned turn) {
        char head[64];
        int n = snprintf(head, sizeof(head), response ? "HTTP/1.1 200 Turn %u\r\n\r\n" : "POST /turn/%u HTTP/1.1\r\n\r\n", turn);

        for (size_t i = 0; i < len; i++)
                to[i] = i < (size_t) n ? (unsigned char) head[i] : (unsigned char) (i * 7 + i / 251 + turn * 31 + (response ? 101 : 0));
}
