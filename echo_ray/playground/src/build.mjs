// Bundles the page into ../dist, with the licences of what is in it. `npm ci --ignore-scripts && npm run build`
// An argument names another folder to write to.

import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, "..", "dist");
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });

const made = await build({
  absWorkingDir: here,
  entryPoints: { playground: "main.js" },
  outdir: out,
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  metafile: true,
  banner: { js: "/*! Packages and licences: playground.licenses.txt */" },
});
await build({ absWorkingDir: here, entryPoints: { playground: "page.css" }, outdir: out, minify: true, charset: "utf8" });
copyFileSync(join(here, "index.html"), join(out, "index.html"));
copyFileSync(join(here, "icon.svg"), join(out, "playground.svg"));

const packages = new Set();
for (const path of Object.keys(made.metafile.inputs)) {
  const found = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path);
  if (found) packages.add(found[1]);
}
const parts = ["playground.js contains these packages.\n"];
for (const name of [...packages].sort()) {
  const folder = join(here, "node_modules", name);
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  if (!file) throw new Error(`${name} has no licence file`);
  parts.push(`${"-".repeat(72)}\n${name} ${version} (${license})\n\n${readFileSync(join(folder, file), "utf8").trim()}\n`);
}
writeFileSync(join(out, "playground.licenses.txt"), parts.join("\n"));
