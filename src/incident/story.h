/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an incident says of itself, for people: a title and a few sentences, from its lines alone. Plain words, no judgement that the lines do not carry. Pure.
 *
 * Texts of attackers (names, paths, addresses) stand in it quoted and escaped: no control characters, valid UTF-8.
 */
#pragma once
#include "incident/incident.h"

#define BH_STORY_SENTENCES_MAX 12u

/* "Container shop-web-1 taken over, out to node-a: 5 stages". Caller frees. */
char *bh_story_title(const BhIncident *i);
/* A container of an incident that has ended. Texts are borrowed; `by`: who asked for it, "" where nobody is known. */
typedef struct {
        const char *name;
        gint64 ended_ns, exit_code; /* exit_code < 0: not known */
        gboolean found;             /* gone: it ended while nobody looked, at `ended_ns` at the latest */
        gboolean removed;
        const char *by;
} BhStoryEnd;

/*
 * Sentences, separated by a blank: how it began, what followed, then what was planted and what was taken (one each, of what the lines have as deeds, deed.h), which of its containers are gone and who had
 * them ended (`ends`), how far it went and what is not told. Caller frees.
 */
char *bh_story_text(const BhIncident *i, const BhStoryEnd *ends, guint n_ends);

/* A container of an incident that goes on. Texts are borrowed. */
typedef struct {
        const char *name, *state; /* "running", "paused" */
        const char *held;         /* what is done to it: "isolated"; "": nothing */
        const char *by;           /* who had that done, or ordered it, and when it was asked for */
        gint64 since_ns;
        gint64 heard_ns;          /* its node is not connected: when it was last heard of; 0: it is */
        const char *ordered;      /* nothing is done to it, and this waits for its node: "isolate"; "" or NULL: nothing does */
} BhStoryContainer;

/* A program that was planted: whether it runs. Texts are borrowed. */
typedef enum { BH_STORY_RUNS, BH_STORY_ENDED, BH_STORY_NOT_KNOWN } BhStoryLife;
typedef struct {
        const char *path, *place; /* "container web-1", "node n" */
        BhStoryLife life;
        guint32 pid; /* of the first that runs … */
        guint more;  /* … and how many others do */
        const char *why; /* NOT_KNOWN: "node n is not connected" */
} BhStoryProgram;

/* What went over a connection that the incident told of. Texts are borrowed. */
typedef struct {
        const char *place, *peer; /* "container web-1"; "203.0.113.9:443" */
        guint64 sent, got;        /* bytes */
        gboolean more;            /* not all of it was counted: it is at least that */
} BhStorySent;

/* What is true when it is looked at. */
typedef struct {
        const BhStoryContainer *containers; /* the first BH_STORY_NOW_SHOWN of n that go on */
        guint n, unseen;                    /* unseen: others of which it is not known whether they do */
        guint planted, kept;                /* files that were planted or changed; those of them that there is evidence of */
        const BhStoryProgram *programs;
        guint n_programs;
        const BhStorySent *sent; /* the most first */
        guint n_sent, sent_unseen; /* unseen: connections that were not looked at */
        gint64 sent_since_ns;
} BhStoryNow;

#define BH_STORY_NOW_SHOWN 4u
#define BH_STORY_PROGRAMS_SHOWN 6u
#define BH_STORY_SENT_SHOWN 4u
/* What state things are in now: sentences for behind the others, true when they are made and not kept. "" for nothing. Caller frees. */
char *bh_story_now(const BhStoryNow *now);
