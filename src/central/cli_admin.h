/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done to the store from the command line, also while a central runs on it: the way back in for who lost the password.
 * Prints one JSON line, logs nothing. Runs as the central's user.
 */
#pragma once
#include "store/store.h"

/*
 * Gives the user a new random password that must be changed at the next login, ends its sessions, and prints {"user","password"}.
 * A disabled user is enabled. A user "admin" that does not exist is made.
 */
gboolean bh_admin_set_password(BhStore *s, const char *user, GError **error);

/* The first start: makes the user "admin"; *password is its random password, NULL when there are users already. */
gboolean bh_admin_first(BhStore *s, char **password, GError **error);
