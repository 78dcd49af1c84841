/* SPDX-License-Identifier: Apache-2.0 */
import { render } from "preact";
import { App } from "./app/app";
import { startRouter } from "./app/router";
import { whoAmI } from "./app/state";
import { startTheme } from "./app/theme";

startTheme();
startRouter();
const root = document.getElementById("app")!;
root.textContent = "";
render(<App />, root);
void whoAmI();
