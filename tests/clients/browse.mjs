// Drives pages in headless Chromium. Each line of standard input is a run {url, viewport, scheme, steps} in a
// context of its own; each line of standard output its {results, console, requests, error}. A step that fails
// ends its run. The argument names the browser.

import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const browser = await chromium.launch({
  executablePath: process.argv.at(-1),
  headless: true,
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
  ],
});

const stepsOf = (asked, context, page) => ({
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
  tap: async (selector) => {
    const [x, y] = await page.locator(selector).evaluate((node) => {
      const first = node.getClientRects()[0]; // text of several lines is several boxes
      return [first.x + 4, first.y + 4];
    });
    await page.touchscreen.tap(x, y);
  },
  screenshot: (path) => page.screenshot({ path }),
  get: async (path) => (await context.request.get(new URL(path, asked.url).href)).json(),
  offline: (away) => context.setOffline(away),
  reload: () => page.reload(),
});

async function run(asked) {
  const context = await browser.newContext({
    viewport: asked.viewport ?? { width: 1280, height: 800 },
    colorScheme: asked.scheme ?? "light",
    hasTouch: asked.touch ?? false,
  });
  const found = { results: [], console: [], requests: [], error: null };
  try {
    const page = await context.newPage();
    page.setDefaultTimeout(20_000);
    page.on("console", (message) => found.console.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => found.console.push(`pageerror: ${error.message}`));
    page.on("request", (request) => found.requests.push(request.url()));
    await page.addInitScript(() => {
      addEventListener("securitypolicyviolation", (event) => console.error(`violation: ${event.violatedDirective} ${event.blockedURI}`));
    });
    const does = stepsOf(asked, context, page);
    await page.goto(asked.url);
    for (const [name, ...values] of asked.steps) {
      try {
        found.results.push((await does[name](...values)) ?? null);
      } catch (error) {
        const ghost = await page.locator(".cm-ghost").allTextContents().catch(() => []);
        found.error = `step ${found.results.length} ${JSON.stringify([name, ...values])}: ${error.message}; ghost ${JSON.stringify(ghost)}; console ${JSON.stringify(found.console)}`;
        break;
      }
    }
  } catch (error) {
    found.error = error.message;
  } finally {
    await context.close();
  }
  return found;
}

for await (const line of createInterface({ input: process.stdin })) console.log(JSON.stringify(await run(JSON.parse(line))));
await browser.close();
