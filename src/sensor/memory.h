/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the sensor's memory small. The C library gives threads arenas of their own, up to eight for each processor, and keeps in them what was freed; here the start
 * needs much for a second (kernel type information, libbpf's objects) and a burst of events that wait for metadata some more, on several threads. So
 * there are few arenas, and what is free in them goes back to the kernel from time to time.
 */
#pragma once
#include <glib.h>

/* Before there is a second thread. */
void bh_memory_init(void);
/* Gives back what is free, if that is much and was not done in the last seconds. One thread at a time; an allocating thread may wait for it for a millisecond or so. */
void bh_memory_trim(void);
