// SPDX-License-Identifier: Apache-2.0
// Users and tokens in the browser: made, changed, removed; what cannot be undone asks for its name first.
import assert from "node:assert/strict";
import { test } from "node:test";
import { status } from "./data.mjs";
import { Browser, stage, until } from "./env.mjs";

let central, b, page;
const { text, api, sees } = stage(async (s) => {
  ({ central, b, page } = s);
  (await central.node("node-a")).status(status());
  await b.firstLogin();
});
const users = async () => (await api("/users")).users.map((u) => u.name);

test("a user is made, and the first password is shown once", async () => {
  await b.open("#/users");
  await page.click("text=Add a user");
  await page.fill(".dialog input[type=text]", "zoe");
  await page.click(".dialog >> text=also works on incidents");
  await page.click(".dialog button.primary");
  await until("the password", async () => (await text(".dialog .secret")).length >= 12);
  await page.click(".dialog >> text=Done");
  await sees("the user", ".table tbody", /zoe\s*analyst/);
});

test("a user is removed when the name was typed, with sessions and tokens", async () => {
  const v = await Browser.viewer(central, page, "mallory");
  try {
    await b.open("#/tokens");
    await b.open("#/users");
    await page.click('[aria-label="Remove mallory"]');
    assert.deepEqual(await b.violations(["label", "button-name", "color-contrast"]), []);
    assert.equal(await page.locator(".dialog button.danger").isDisabled(), true);
    await page.fill(".dialog input", "zoe");
    assert.equal(await page.locator(".dialog button.danger").isDisabled(), true);
    await page.fill(".dialog input", "mallory");
    await page.click(".dialog button.danger");
    await until("gone", async () => !(await users()).includes("mallory"));
    await until("not listed", async () => !/mallory/.test(await text(".table tbody")));
    assert.equal(await page.locator('[aria-label="Remove admin"]').count(), 0); /* nobody removes himself */
    await v.page.reload();
    await v.page.waitForSelector("#login-title");
  } finally {
    await v.stop();
  }
});

test("a token without an end is valid until it is revoked", async () => {
  await b.open("#/tokens");
  await page.click("text=Make a token");
  await page.fill(".dialog input[type=text]", "backup job");
  await page.getByLabel("Ends after").selectOption("0");
  await page.click(".dialog button.primary");
  await until("its secret", async () => /^bh_/.test(await text(".dialog .secret")));
  await page.click(".dialog >> text=Done");
  await sees("no end", ".table tbody", /backup job[\s\S]*valid[\s\S]*never/);
  assert.equal((await api("/tokens")).tokens[0].expires, null);
  await page.click('[aria-label="Revoke backup job"]');
  await page.click(".dialog button.danger");
  await sees("revoked", ".table tbody", /revoked/);
});
