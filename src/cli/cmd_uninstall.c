/* SPDX-License-Identifier: Apache-2.0 */
/* `bulkhead uninstall`: everything that Bulkhead holds and keeps on this machine goes. What is the sensor's the sensor takes away. */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api.h"
#include "child.h"
#include "commands.h"

#define WORD "uninstall"

int bh_cmd_uninstall(const BhCliPaths *paths, int argc, char **argv) {
        g_autofree char *confirm = NULL;
        gboolean keep = FALSE;
        GOptionEntry entries[] = {
                { "confirm", 0, 0, G_OPTION_ARG_STRING, &confirm, "the word \"" WORD "\" once more: what is kept is deleted, and cannot be brought back", "WORD" },
                { "keep-data", 0, 0, G_OPTION_ARG_NONE, &keep, "leave the data directory: recorder, evidence, database", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;

        if (!bh_cli_parse(&argc, &argv, entries, NULL, "Releases all containers, takes everything out of the kernel, and deletes what Bulkhead keeps on this machine.",
                          "Stop \"bulkhead up\" before. Of the directories only what is Bulkhead's own goes.\n"))
                return BH_EXIT_USAGE;
        if (argc > 1)
                return bh_cli_usage("it takes no arguments but options");
        if (g_strcmp0(confirm, WORD) != 0) {
                fprintf(stderr, "bulkhead: this releases what is isolated or frozen and %s %s: say so with --confirm " WORD "\n", keep ? "removes" : "deletes recorder, evidence, database and settings below",
                        keep ? paths->run_dir : paths->data_dir);
                return BH_EXIT_FAILED;
        }
        if (geteuid() != 0) {
                fprintf(stderr, "bulkhead: uninstall must be root: run it with sudo\n");
                return BH_EXIT_FAILED;
        }
        BhCliPaths here = { .run_dir = paths->run_dir, .data_dir = paths->data_dir };
        g_autoptr(BhApi) central = bh_api_new(&here, NULL);
        if (central) {
                fprintf(stderr, "bulkhead: a central runs here: stop \"bulkhead up\" first\n");
                return BH_EXIT_FAILED;
        }
        g_autofree char *sensor = bh_child_find("bulkhead-sensor", &error);
        if (!sensor)
                return bh_cli_fail(error);
        char *args[] = { sensor, (char *) "--uninstall", (char *) "--run-dir", (char *) paths->run_dir, (char *) "--data-dir", (char *) paths->data_dir, keep ? (char *) "--keep-data" : NULL, NULL };
        int status = 0;
        if (!g_spawn_sync(NULL, args, NULL, G_SPAWN_CHILD_INHERITS_STDIN, NULL, NULL, NULL, NULL, &status, &error))
                return bh_cli_fail(error);
        return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? BH_EXIT_OK : BH_EXIT_FAILED;
}
