/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Why an event was lost, and what a record's flags mean. Numbers are permanent.
 *     BH_LOST_REASON(number, ID, "name", "documentation")
 *     BH_RECORD_FLAG(bit, ID, "name", "documentation")
 */
#ifdef BH_LOST_REASON
BH_LOST_REASON(0, RING_FULL, "ring_full", "the ring buffer had no room: user space was too slow or not running")
BH_LOST_REASON(1, BUSY, "busy", "no scratch space on this CPU: hooks nested deeper than there are slots")
BH_LOST_REASON(2, STATE_FULL, "state_full", "a kernel map that the hook needs was full")
BH_LOST_REASON(3, FAULT, "fault", "memory that the record cannot do without could not be read")
#undef BH_LOST_REASON
#endif
#ifdef BH_RECORD_FLAG
BH_RECORD_FLAG(0, COMPAT, "compat", "made through the 32-bit system call interface")
BH_RECORD_FLAG(1, IO_URING, "io_uring", "made through io_uring")
BH_RECORD_FLAG(2, ARGS_CUT, "args_truncated", "the arguments were longer than is kept")
BH_RECORD_FLAG(3, ENV_CUT, "env_truncated", "the environment was longer than is kept")
BH_RECORD_FLAG(4, PATH_CUT, "path_truncated", "a path was longer or deeper than is kept; its leading part is missing")
BH_RECORD_FLAG(5, PATH_USER, "path_from_user", "the path is the caller's text, not resolved from kernel objects")
BH_RECORD_FLAG(6, FAULT, "unreadable", "some memory of the caller could not be read; fields are missing")
BH_RECORD_FLAG(7, OVER_BUDGET, "over_budget", "stands for acts over the cgroup's event budget, which were counted and not described")
BH_RECORD_FLAG(8, REPEATS, "repeats", "stands only for repeats of an event sent before")
BH_RECORD_FLAG(9, EXE_DELETED, "exe_deleted", "the executable has no name any more")
BH_RECORD_FLAG(10, EXE_MEMFD, "exe_memfd", "the executable is an anonymous memory file")
BH_RECORD_FLAG(11, EXE_UPPER, "exe_upper_layer", "the executable is not in the image: it is in the container's writable overlay layer")
BH_RECORD_FLAG(12, CREATED, "created", "the file was created by this act")
BH_RECORD_FLAG(13, DELETED, "deleted", "the file has no name any more")
BH_RECORD_FLAG(14, WRITTEN, "written", "the memory or file had been written before it became executable")
BH_RECORD_FLAG(15, ANON, "anonymous", "anonymous memory, no file behind it")
BH_RECORD_FLAG(16, NO_METADATA, "no_metadata", "released before the container's metadata was known")
BH_RECORD_FLAG(17, UNKNOWN_PROCESS, "unknown_process", "the process is not in the process table: its exec was lost or before the sensor")
BH_RECORD_FLAG(18, GRAFTED, "host_from_container", "the process runs outside containers now and came from one")
BH_RECORD_FLAG(19, PAYLOAD_CUT, "payload_truncated", "the payload was longer than is kept")
BH_RECORD_FLAG(20, EXE_LOWER, "exe_lower_layer", "the executable is in a lower layer of an overlay: part of the image")
BH_RECORD_FLAG(21, FOUND, "found", "the connection was not seen to begin: its duration is from when it was found, who began it was inferred")
#undef BH_RECORD_FLAG
#endif
