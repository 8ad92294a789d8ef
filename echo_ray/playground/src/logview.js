// What the log holds and what is mined from it. Code is only ever set as text, never as HTML.

const END = {
  anchor_edited: "closed by an edit outside the gap",
  file_switch: "closed by work in another file",
  idle: "closed by a pause",
  quiescence: "closed by a pause",
  ttl: "closed by age",
  lost: "closed: the text around it is gone",
  session_end: "still open",
};
const TYPE = {
  shown: "shown",
  accepted: "accepted",
  partially_accepted: "partly accepted",
  dismissed: "dismissed",
};
const COLLECT = {
  all: "Everything is kept.",
  none: "Nothing is kept: collection is off.",
};

function element(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children.filter((child) => child !== null && child !== ""));
  return node;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const list = (value) => (Array.isArray(value) ? value.filter((item) => item && typeof item === "object") : []);
const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

const SHOWN_CHARS = 300;

function lastLine(text) {
  const line = String(text ?? "").split("\n").at(-1).trimStart();
  return line.length > 60 ? `…${line.slice(-60)}` : line;
}

/** Several lines as one. */
function visible(text) {
  const line = String(text).replace(/\n\s*/g, " ⏎ ");
  return line.length > SHOWN_CHARS ? `${line.slice(0, SHOWN_CHARS)}…` : line;
}

function logged(record) {
  const event = record.record === "event";
  const when = element("time", "when", Number.isFinite(record.ts_ms) ? clock.format(record.ts_ms) : "");
  const name = event ? (TYPE[record.type] ?? String(record.type ?? "event")) : "request";
  const tag = element("span", event ? `tag event ${TYPE[record.type] ? record.type : ""}` : "tag", name);
  const what = element("span", "what");
  if (event) {
    if (record.accepted_chars != null) what.append(count(record.accepted_chars, "character"));
    if (record.visible_ms != null)
      what.append(`${what.childNodes.length ? ", " : ""}visible ${(record.visible_ms / 1000).toFixed(1)} s`);
  } else {
    what.append(element("code", "", lastLine(record.prefix)));
    if (record.proposal) what.append(element("code", "proposal", visible(record.proposal)));
    else {
      const gone = record.delivered === false;
      what.append(element("span", "aside", gone ? "cancelled" : record.proposal === "" ? "silence" : "no answer"));
    }
  }
  const row = element("details", "", element("summary", "", when, tag, what));
  row.dataset.key = `${record.request_id}/${record.type ?? ""}/${record.ts_ms}`;
  row.addEventListener("toggle", () => {
    if (row.open && row.childElementCount === 1)
      row.append(element("pre", "", JSON.stringify(record, null, 2)));
  });
  return element("li", "", row);
}

function fate(said, commit) {
  if (said == null) return ["No proposal."];
  if (said === "") return ["The model stayed silent."];
  if (said.trimEnd() === commit.trimEnd()) return ["Kept as proposed."];
  if (commit.startsWith(said)) return ["Kept as proposed, then written on."];
  return ["Proposed: ", element("code", "", visible(said))];
}

function mined(sample) {
  const code = element("pre", "sample", element("span", "tail", String(sample.prefix_tail ?? "")));
  code.append(
    sample.commit
      ? element("ins", "", String(sample.commit))
      : element("span", "void", "nothing"),
  );
  const verdict = element("span", "", ...fate(sample.proposal, String(sample.commit ?? "")));
  const end = END[sample.end_reason] ?? String(sample.end_reason ?? "");
  return element("li", "", code, element("p", "verdict", verdict, element("span", "end", end)));
}

/** Renders answers of the session route into the two lists of the page. */
export class LogView {
  constructor(root) {
    this.records = root.querySelector("#records");
    this.recordsNote = root.querySelector("#records-note");
    this.mined = root.querySelector("#mined");
    this.minedNote = root.querySelector("#mined-note");
    this.drawn = { records: "", mined: "" };
  }

  /** Show `{records, mined, collect}`; anything missing or of another type is left out. */
  show(state) {
    const records = list(state?.records).sort((a, b) => (b.ts_ms ?? 0) - (a.ts_ms ?? 0));
    const samples = list(state?.mined);
    const collect = state?.collect;
    const kept = collect == null ? "" : (COLLECT[collect] ?? `Collection: ${collect}.`);
    this.recordsNote.textContent = `${records.length ? `Newest ${count(records.length, "record")} of this session.` : "No record of this session yet."} ${kept}`;
    this.minedNote.textContent = samples.length
      ? "Highlighted: what was finally left at the cursor, which is what a model learns from."
      : "Nothing yet. What you leave at a cursor position appears here as you type on.";
    this.#draw("records", records, logged);
    this.#draw("mined", samples, mined);
  }

  /** Say in `words` why there is nothing to show. */
  fail(words) {
    this.recordsNote.textContent = words;
    this.minedNote.textContent = "";
    this.#draw("records", [], logged);
    this.#draw("mined", [], mined);
  }

  #draw(name, items, make) {
    const now = JSON.stringify(items);
    if (now === this.drawn[name]) return;
    this.drawn[name] = now;
    const target = this[name];
    const open = new Set([...target.querySelectorAll("details[open]")].map((row) => row.dataset.key));
    const focused = target.contains(document.activeElement) && document.activeElement.parentElement.dataset.key;
    target.replaceChildren(...items.map(make));
    for (const row of target.querySelectorAll("details")) {
      if (open.has(row.dataset.key)) row.open = true;
      if (focused && row.dataset.key === focused) row.firstElementChild.focus({ preventScroll: true });
    }
  }
}
