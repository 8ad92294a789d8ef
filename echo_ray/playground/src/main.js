// The playground: an editor whose every pause asks for a completion, and what the service learns from it.

import { EditorView } from "@codemirror/view";
import { createEditor, stateOf } from "./editor.js";
import { dismiss, ghostOf, ghostText, length, showGhost } from "./ghost.js";
import { LogView } from "./logview.js";
import { LANGUAGES } from "./samples.js";
import { apiKey, newSession, Service, setApiKey } from "./service.js";

const DEBOUNCE_MS = 120;
const LOG_AFTER_MS = [250, 1500]; // soon, and once more for what the service writes later

const $ = (id) => document.getElementById(id);
const logView = new LogView(document);
const kept = new Map(); // editor state by language
let service = new Service(newSession());
let language = "python";
let running = null;
let askTimer = 0;
let pausedUntil = 0;
let logTimers = [];

const ghosts = ghostText((type, ghost, acceptedChars) => {
  service.report({
    request_id: ghost.requestId,
    type,
    accepted_chars: acceptedChars,
    visible_ms: type === "shown" ? null : Math.round(performance.now() - ghost.shownAt),
  });
  refreshLog();
});

const extensions = [
  ghosts,
  EditorView.updateListener.of((update) => {
    if (update.docChanged) {
      say("");
      if (ghostOf(update.state)) stop(); // typed along: what is shown still holds
      else ask();
    } else if (update.selectionSet) stop();
  }),
];

const editor = createEditor($("editor"), stateOf(language, extensions));

function stop() {
  clearTimeout(askTimer);
  if (running) {
    running.abort();
    running = null;
    refreshLog();
  }
}

function ask(afterMs = DEBOUNCE_MS) {
  stop();
  askTimer = setTimeout(askNow, Math.max(afterMs, pausedUntil - performance.now()));
}

async function askNow() {
  const { state } = editor;
  const { main, ranges } = state.selection;
  if (editor.composing) return ask();
  if (!main.empty || ranges.length > 1) return;
  const mine = (running = new AbortController());
  const text = state.doc.toString();
  const file = `playground/${LANGUAGES[language].file}`;
  try {
    const answer = await service.complete(text.slice(0, main.head), text.slice(main.head), file, language, mine.signal);
    if (mine !== running) return;
    running = null;
    problem(null);
    describe(answer);
    if (answer.text && answer.requestId) {
      showGhost(editor, answer.requestId, answer.text);
      say(`Suggestion: ${answer.text}`);
    }
  } catch (error) {
    if (mine !== running) return;
    running = null;
    problem(error);
    if (error.retryS) {
      pausedUntil = performance.now() + error.retryS * 1000;
      ask();
    }
  }
  refreshLog();
}

function describe({ text, model, arm, latencyMs }) {
  $("model").textContent = model;
  $("arm").textContent = arm;
  $("latency").textContent = `${Math.round(latencyMs)} ms`;
  $("answer").textContent = text ? `${length(text)} characters` : "silence";
  $("facts").hidden = false;
}

function problem(error) {
  const words = error?.message ?? "";
  if ($("problem").textContent !== words) $("problem").textContent = words; // an alert is read out once
  $("notice").hidden = !error;
  if (!error) $("key-form").hidden = true;
  else if (error.needsKey && $("key-form").hidden) {
    $("key-form").hidden = false;
    $("key").value = apiKey();
  }
}

function say(words) {
  $("spoken").textContent = words;
}

function refreshLog() {
  for (const timer of logTimers) clearTimeout(timer);
  logTimers = LOG_AFTER_MS.map((ms) => setTimeout(readLog, ms));
}

async function readLog() {
  const asked = service;
  try {
    const found = await asked.log();
    if (asked === service) logView.show(found);
  } catch (error) {
    if (asked !== service) return;
    if (error.needsKey) problem(error);
    logView.fail(error.status === 404 ? "This service does not show its log." : error.message);
  }
}

function open(wanted) {
  stop();
  dismiss(editor);
  kept.set(language, editor.state);
  language = wanted;
  editor.setState(kept.get(language) ?? stateOf(language, extensions));
  $("file").textContent = LANGUAGES[language].file;
  editor.focus();
  ask(0);
}

for (const [id, { name }] of Object.entries(LANGUAGES)) $("language").append(new Option(name, id));
$("language").value = language;
$("language").addEventListener("change", (event) => open(event.target.value));
$("again").addEventListener("click", () => {
  stop();
  dismiss(editor);
  void service.flush();
  service = new Service(newSession());
  kept.clear();
  editor.setState(stateOf(language, extensions));
  editor.focus();
  ask(0);
});
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setApiKey($("key").value.trim());
  void service.flush();
  editor.focus();
  ask(0);
});
addEventListener("pagehide", () => void service.flush());

const THEMES = ["light dark", "light", "dark"];
const THEME_NAMES = { "light dark": "System", light: "Light", dark: "Dark" };
$("theme").addEventListener("click", () => {
  const scheme = document.documentElement.style.colorScheme || THEMES[0];
  const next = THEMES[(THEMES.indexOf(scheme) + 1) % THEMES.length];
  document.documentElement.style.colorScheme = next;
  $("theme-name").textContent = THEME_NAMES[next];
});

if (/Mac|iPhone|iPad/.test(navigator.platform)) $("word-key").textContent = "Option";
$("file").textContent = LANGUAGES[language].file;
editor.focus();
ask(0);
