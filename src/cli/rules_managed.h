/* SPDX-License-Identifier: Apache-2.0 */
/* Subcommands of `bulkhead rules` that ask the central; cmd_rules.c has those that need none. As the functions of commands.h. */
#pragma once
#include "client.h"

int bh_rules_list(const BhCliPaths *paths, int argc, char **argv);
int bh_rules_files(const BhCliPaths *paths, int argc, char **argv);
int bh_rules_show(const BhCliPaths *paths, int argc, char **argv);
int bh_rules_set(const BhCliPaths *paths, int argc, char **argv);
int bh_rules_preview(const BhCliPaths *paths, int argc, char **argv);
int bh_rules_remove(const BhCliPaths *paths, int argc, char **argv);
int bh_rules_reload(const BhCliPaths *paths, int argc, char **argv);
