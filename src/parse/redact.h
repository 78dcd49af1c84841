/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes secrets out of what is told on. Everything of an HTTP message that leaves the inspector goes through here first.
 *
 * A secret becomes BH_REDACTED. What is one is told by name and by form:
 *  - fields: Cookie and Set-Cookie (names and attributes stay), Authorization and Proxy-Authorization (the scheme stays), fields with secret names
 *  - parameters of a query, a form, a multipart form, JSON, XML and plain text whose name is a secret's: password, token, api_key, session … (an object or
 *    array under such a name is a secret as a whole)
 *  - the same in JSON within a string of JSON, and in what a piece of a form or query holds percent-encoded (once): where there is a secret the piece is told decoded
 *  - wherever they are: "Bearer …" and "Basic …", JSON web tokens, access keys, private keys, passwords in URLs, card numbers (13 to 19 digits that pass Luhn's
 *    check; the last four stay)
 * It errs to the side of too much: a word that looks like one goes. What has no name and no form cannot be told.
 *
 * One pass, no recursion, output at most a small factor of the input; any thread.
 */
#pragma once
#include "parse/http.h"

#define BH_REDACTED "***"

/* Whether what is called so is a secret. Percent-encoding, case and punctuation are looked through: "User[Pass%77ord]" is one. */
gboolean bh_redact_is_secret(const char *name, gsize len);
/* Free text, such as the part of a request that a rule matched. Caller frees. */
char *bh_redact_text(const char *text, gsize len);
/*
 * Any bytes of one direction of a connection as lines of printable ASCII and tabs, '?' for others, redacted: what looks like HTTP/1 as such, in part too, anything else as free text. `cut`: they are not its
 * first, so that lines of base64 that they begin with may be a key's, and go. Caller frees.
 */
char *bh_redact_bytes(const guint8 *bytes, gsize len, gboolean cut);
/* What is between `&` (or `;`): a query, a form. Caller frees. */
char *bh_redact_form(const char *text, gsize len);
/* The value of a field. Caller frees. */
char *bh_redact_field(const char *name, const char *value);
/* All of it, in place: target, fields, body. */
void bh_redact_message(BhHttpMessage *m);
