// Watches the demo as a person does. Args: ADDRESS OUT. Fails with words; prints what it saw.
const { chromium } = require("playwright-core");
const axe = require("axe-core");
const [address, out] = process.argv.slice(2);

const fail = (message) => { throw new Error(message); };

async function check(page, name) {
  await page.addScriptTag({ content: axe.source }).catch(() => fail(`${name}: axe did not load`));
}

async function audit(context, url, name, theme) {
  // The strict policy blocks injected scripts, so the audit runs in a context that bypasses it.
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.goto(address + url, { waitUntil: "load" });
  await page.waitForTimeout(1500);
  await page.screenshot({ path: `${out}/${name}-${theme}.png`, fullPage: true });
  await check(page, name);
  const found = await page.evaluate(() => axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] }));
  if (found.violations.length) fail(`${name} (${theme}): ${found.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target + " " + n.failureSummary).join("; ")}`).join("\n")}`);
  if (errors.length) fail(`${name}: ${errors}`);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  if (wide) fail(`${name}: scrolls sideways at 1280 px`);
  await page.setViewportSize({ width: 320, height: 800 });
  await page.waitForTimeout(300);
  const spill = await page.evaluate(() => {
    if (document.documentElement.scrollWidth <= 320) return [];
    const inside = (el) => el.closest(".scroll, pre, .plot");
    return [...document.querySelectorAll("main *, header *")].filter((el) => !inside(el) && el.getBoundingClientRect().right > 321).map((el) => el.outerHTML.slice(0, 120));
  });
  if (spill.length) fail(`${name}: does not reflow at 320 px: ${spill.slice(0, 5).join("\n")}`);
  await page.close();
}

let watched;

(async () => {
  const browser = await chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  watched = page;
  // Asked four times a second: the default asks at each animation frame, and a busy machine may paint none.
  const until = (predicate, arg, timeout) => page.waitForFunction(predicate, arg, { timeout, polling: 250 });
  const violations = [];
  page.on("console", (message) => { if (/Content.Security.Policy|Refused to/i.test(message.text())) violations.push(message.text()); });
  page.on("pageerror", (error) => violations.push(String(error)));
  const foreign = [];
  page.on("request", (request) => { if (!request.url().startsWith(address) && !request.url().startsWith("data:")) foreign.push(request.url()); });
  await page.goto(address + "/", { waitUntil: "load" });
  const tile = () => page.locator(".tile .value").first().textContent();
  // Live without a reload: the number of calls moves.
  await until(() => /\d/.test(document.querySelector(".tile .value").textContent), null, 60000);
  const first = await page.locator(".tile").first().textContent();
  await until((before) => document.querySelector(".tile").textContent !== before, first, 30000);
  console.log("traffic is seen:", await tile());
  if ((await page.locator(".plot canvas").count()) !== 4) fail("four charts are drawn");
  // The alert appears on the open page.
  await page.waitForSelector("section.firing", { timeout: 90000 });
  console.log("the alert is seen:", (await page.locator("section.firing").textContent()).replace(/\s+/g, " "));
  await page.screenshot({ path: `${out}/overview-firing.png` });
  await page.locator("section.firing a").first().focus();
  await page.keyboard.press("Enter");
  await page.waitForSelector("#state");
  if (!/firing/.test(await page.locator("#state").textContent())) fail("the alert's own page says firing");
  if (!/accepted/.test(await page.locator("main").textContent())) fail("its deliveries are shown");
  const alert = new URL(page.url()).pathname;
  // It resolves while its page is open.
  await until(() => /resolved/.test(document.querySelector("#state").textContent), null, 90000);
  console.log("the resolution is seen");
  // The state is written before its notice is delivered.
  const articles = async (path, wanted) => {
    for (let tries = 0; tries < 40; tries++) {
      await page.goto(address + path);
      if ((await page.locator("article").count()) >= wanted) break;
      await page.waitForTimeout(250);
    }
    const seen = await page.locator("article").count();
    if (seen !== wanted) fail(`${path}: ${wanted} articles, not ${seen}`);
  };
  await articles("/demo/mailbox", 2);
  const frame = page.frameLocator("article iframe").first();
  if (!/Resolved/.test(await frame.locator("body").textContent())) fail("the newest mail says Resolved");
  await articles("/demo/webhooks", 2);
  if ((await page.locator("text=signature verified").count()) !== 2) fail("two verified webhooks");
  // Last week's report opens over imported, marked history, and finds what was put there.
  await page.goto(address + "/reports");
  await page.locator("main li a").nth(1).click();
  await page.waitForSelector(".verdict");
  const report = new URL(page.url()).pathname;
  const words = await page.locator("main").textContent();
  if (!/Simulated history/.test(words)) fail("the report's history is marked");
  if (!/output_tokens of acme \/ support is distributed differently/.test(words)) fail(`the report finds the drift: ${words.slice(0, 900)}`);
  if (!/acme \/ support \/ [a-z0-9-]+ carries \+/.test(words)) fail(`the report says where the cost moved: ${words.slice(0, 900)}`);
  console.log("the report says:", await page.locator(".verdict").textContent());
  await page.goto(address + "/kpis?window=1h");
  if ((await page.locator(".card").count()) !== 14) fail("fourteen key figures");
  if (violations.length) fail("policy violations or errors: " + violations.join("\n"));
  if (foreign.length) fail("foreign requests: " + foreign);
  for (const theme of ["light", "dark"]) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: theme, bypassCSP: true });
    await audit(context, "/", "overview", theme);
    await audit(context, "/alerts", "alerts", theme);
    await audit(context, alert, "alert", theme);
    await audit(context, "/kpis?window=24h", "kpis", theme);
    await audit(context, "/kpis?window=7d&tenant=acme&app=checkout", "kpis-app", theme);
    await audit(context, "/shadow", "shadow", theme);
    await audit(context, "/reports", "reports", theme);
    await audit(context, report, "report", theme);
    await audit(context, "/demo/mailbox", "mailbox", theme);
    await audit(context, "/demo/webhooks", "webhooks", theme);
    await context.close();
  }
  console.log("no accessibility violations in both themes; screenshots in", out);
  await browser.close();
})().catch(async (error) => {
  console.error(error.message);
  // What a person would have seen then, and what the server says now.
  if (watched) {
    console.error("the page:", await watched.evaluate(() => `${document.visibilityState} ${document.body.innerText.slice(0, 1500)}`).catch(String));
    await watched.screenshot({ path: `${out}/failed.png` }).catch(() => {});
  }
  console.error("the server:", await fetch(address + "/api/v1/overview").then((answer) => answer.text()).then((text) => text.slice(0, 600)).catch(String));
  process.exit(1);
});
