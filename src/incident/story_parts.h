/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the story have in common. Private to src/incident. */
#pragma once
#include "incident/story.h"

/* Escaped and bounded: whoever chose it chose nothing but its letters. */
void bh_story_append_text(GString *out, const char *text);
/* The same of who asked for something, who is named at more length. */
void bh_story_append_asker(GString *out, const char *text);
/* " Planted or changed: …", " Secrets read: …": a sentence each, none where the lines tell of none (story_deeds.c). */
void bh_story_append_planted(GString *out, const BhIncident *i);
void bh_story_append_taken(GString *out, const BhIncident *i);
