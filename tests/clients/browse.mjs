// Drives the playground in headless Chromium. Standard input: {url, chromium, profile, viewport, scheme,
// steps}. Standard output: {results, console, requests}; a step that fails ends the run with status 1.

import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const asked = JSON.parse(readFileSync(0, "utf8"));
const context = await chromium.launchPersistentContext(asked.profile, {
  executablePath: asked.chromium,
  headless: true,
  viewport: asked.viewport ?? { width: 1280, height: 800 },
  colorScheme: asked.scheme ?? "light",
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
  ],
});
const page = context.pages()[0] ?? (await context.newPage());
page.setDefaultTimeout(15_000);
const said = [];
const requests = [];
page.on("console", (message) => said.push(`${message.type()}: ${message.text()}`));
page.on("pageerror", (error) => said.push(`pageerror: ${error.message}`));
page.on("request", (request) => requests.push(request.url()));
await page.addInitScript(() => {
  addEventListener("securitypolicyviolation", (event) => console.error(`violation: ${event.violatedDirective} ${event.blockedURI}`));
});

const does = {
  press: (key) => page.keyboard.press(key),
  type: (text) => page.keyboard.type(text, { delay: 5 }),
  click: (selector) => page.click(selector),
  fill: (selector, text) => page.fill(selector, text),
  choose: (selector, value) => page.selectOption(selector, value),
  focus: () => page.locator(".cm-content").focus(),
  ghost: async (text) => {
    const ghost = page.locator(".cm-ghost");
    if (text === null) await ghost.waitFor({ state: "detached" });
    else await page.waitForFunction(
      (wanted) => document.querySelector("#editor").shadowRoot.querySelector(".cm-ghost")?.textContent === wanted, text);
  },
  see: (selector, text) => page.waitForFunction(
    ([where, wanted]) => document.querySelector(where)?.checkVisibility() && document.querySelector(where).textContent.includes(wanted),
    [selector, text]),
  code: async () => (await page.locator(".cm-line").evaluateAll((lines) => lines.map((line) => {
    const copy = line.cloneNode(true);
    for (const ghost of copy.querySelectorAll(".cm-ghost")) ghost.remove();
    return copy.textContent;
  }))).join("\n"),
  texts: (selector) => page.locator(selector).allTextContents(),
  evaluate: (script) => page.evaluate(script),
  screenshot: (path) => page.screenshot({ path }),
  get: async (path) => (await context.request.get(new URL(path, asked.url).href)).json(),
  offline: (away) => context.setOffline(away),
  reload: () => page.reload(),
};

const results = [];
try {
  await page.goto(asked.url);
  for (const [name, ...values] of asked.steps) {
    try {
      results.push((await does[name](...values)) ?? null);
    } catch (error) {
      const ghost = await page.locator(".cm-ghost").allTextContents().catch(() => []);
      console.error(`step ${results.length} ${JSON.stringify([name, ...values])}: ${error.message}\nghost: ${JSON.stringify(ghost)}\nconsole: ${JSON.stringify(said)}`);
      process.exitCode = 1;
      break;
    }
  }
} finally {
  await context.close();
}
console.log(JSON.stringify({ results, console: said, requests }));
