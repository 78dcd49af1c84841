/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parameters of a request as facts: where they stand, what they are called, of which type and of which length. Never what they hold.
 *
 * Read are the query, a form (as URL or in parts), and the keys of a JSON object at its top. Names are hostile as all of it: at most BH_WEB_PARAMS_REQUEST are told of a request, of the first 256,
 * and those beyond are counted; a name is printable ASCII without spaces, numbers and random texts in it are templates ("items[{n}]", "{token}"), what has the form of a secret is none any more,
 * and one of more than BH_WEB_PARAM_NAME_MAX bytes is "{long}". A part of a query without '=' is "{bare}", for it may as well be a value, and so is one with a '{' or '"' in its name: JSON that is
 * called a form. Of a parameter with a secret's name type and length are not told.
 *
 * One pass, no recursion; any thread.
 */
#pragma once
#include "parse/http.h"
#include "parse/web_facts.h"

#define BH_WEB_PARAMS_REQUEST 24u

/* Appends at most `max` (and BH_WEB_PARAMS_REQUEST) to `out`, whose names the caller frees. How many; *dropped: so many more there were, or were not whole. */
guint bh_web_params(const BhHttpMessage *request, BhWebParam *out, guint max, guint *dropped);
