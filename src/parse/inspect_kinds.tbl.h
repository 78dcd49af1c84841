/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the inspector can be asked. Numbers are permanent within a release only: both sides are of one build, and the greeting checks it.
 *
 * BH_INSPECT_KIND(ID, number, name, work_ms, input)
 *   work_ms   how long the inspector may work on one such request before it is taken for hung
 *   input     BODY: the request's body is the thing to parse. FILE: it is in a memfd beside, the body says what is wanted of it
 */
BH_INSPECT_KIND(PING, 1, "ping", 1000, BODY)      /* answers the body as it is, up to BH_INSPECT_ANSWER_MAX */
BH_INSPECT_KIND(DNS, 2, "dns", 1000, BODY)        /* one message */
BH_INSPECT_KIND(DNS_TCP, 3, "dns_tcp", 1000, BODY) /* the start of a TCP stream: two bytes of length, a message; what follows is `trailing` */
BH_INSPECT_KIND(USERS, 4, "users", 1000, BODY)    /* /etc/passwd */
BH_INSPECT_KIND(GROUPS, 5, "groups", 1000, BODY)  /* /etc/group */
BH_INSPECT_KIND(ELF, 6, "elf", 5000, FILE)        /* bh_inspect_pack_wanted() as body */
BH_INSPECT_KIND(PROTOCOL, 7, "protocol", 1000, BODY) /* bh_inspect_pack_look() as body */
BH_INSPECT_KIND(WEB, 8, "web", 5000, BODY)           /* bh_inspect_pack_web_input() as body; only bulkhead-inspect-web answers it */
BH_INSPECT_KIND(REDACT, 9, "redact", 1000, BODY)     /* bytes, at most BH_INSPECT_REDACT_MAX, as redacted text; only bulkhead-inspect-web answers it */
