/* SPDX-License-Identifier: Apache-2.0 */
/* What inspect_attack.c and the tests that start it agree on. */
#pragma once

#define BH_ATTACK_ABSTRACT "bulkhead-test-inspect" /* a listening abstract socket of the test's */
#define BH_ATTACK_PORT 1
