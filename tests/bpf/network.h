/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of test_network, which are one program because opening the hooks takes most of its time on an emulated machine. */
#pragma once
#include "sensor/hooks.h"

/* Add the part's tests for one backend; what they keep from one to the next goes with _end(). */
void connections_add(BhBackend with);
void sockets_add(BhBackend with);
void sockets_end(void);
void tasks_add(BhBackend with);
void tasks_end(void);
void firstbytes_add(BhBackend with);
void firstbytes_end(void);
void callers_add(BhBackend with);
void payload_add(BhBackend with);
void payload_end(void);
void unixes_add(BhBackend with);
