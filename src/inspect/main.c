/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/inspect_wire.h"

int main(void) {
        return 1;
}
