/* SPDX-License-Identifier: Apache-2.0 */
/* Before the first paint, so that nobody is dazzled by the wrong theme. Everything else waits for main.tsx. */
import { applyTheme, stored } from "./app/theme-apply";

applyTheme(stored());
