// Ghost text at the cursor: shown as a widget, typed through, accepted whole or by the word, dismissed.

import { Annotation, Prec, StateEffect, StateField } from "@codemirror/state";
import { Decoration, EditorView, keymap, WidgetType } from "@codemirror/view";

/**
 * @typedef {object} Ghost
 * @property {string} requestId
 * @property {string} text What is left of the proposal.
 * @property {number} pos Where it stands in the document.
 * @property {number} shownAt `performance.now()` of its first paint.
 * @property {number} accepted Characters (code points) that accepting has inserted so far.
 */

const show = StateEffect.define();
const accepting = Annotation.define();

class GhostWidget extends WidgetType {
  constructor(text) {
    super();
    this.text = text;
  }
  eq(other) {
    return other.text === this.text;
  }
  toDOM(view) {
    const node = document.createElement("span");
    node.className = "cm-ghost";
    node.setAttribute("aria-hidden", "true"); // the live region of the page says it
    node.textContent = this.text;
    node.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "mouse") return; // a click places the cursor; a touch screen has no Tab
      event.preventDefault();
      accept(view, whole);
    });
    return node;
  }
  ignoreEvent(event) {
    return event.type === "pointerdown" && event.pointerType !== "mouse";
  }
}

const field = StateField.define({
  create: () => null,
  update(ghost, transaction) {
    for (const effect of transaction.effects) if (effect.is(show)) return effect.value;
    if (!ghost) return null;
    if (transaction.docChanged) return typedThrough(ghost, transaction);
    const { main, ranges } = transaction.newSelection;
    return ranges.length === 1 && main.empty && main.head === ghost.pos ? ghost : null;
  },
  provide: (self) =>
    EditorView.decorations.from(self, (ghost) =>
      ghost
        ? Decoration.set([Decoration.widget({ widget: new GhostWidget(ghost.text), side: 1 }).range(ghost.pos)])
        : Decoration.none,
    ),
});

function inserted(ghost, transaction) {
  let text = null;
  let changes = 0;
  transaction.changes.iterChanges((from, to, _fromB, _toB, insert) => {
    changes += 1;
    if (from === ghost.pos && to === from) text = insert.toString();
  });
  return changes === 1 ? text : null;
}

function typedThrough(ghost, transaction) {
  const text = inserted(ghost, transaction);
  if (!text || !ghost.text.startsWith(text) || transaction.newSelection.main.head !== ghost.pos + text.length)
    return null;
  const taken = transaction.annotation(accepting) ? length(text) : 0;
  const rest = ghost.text.slice(text.length);
  return rest ? { ...ghost, pos: ghost.pos + text.length, text: rest, accepted: ghost.accepted + taken } : null;
}

/** Length in code points, which is how the log counts characters. */
export const length = (text) => [...text].length;

/** The ghost of an editor state, or null. */
export const ghostOf = (state) => state.field(field, false) ?? null;

/** Show `text` at the cursor as the proposal of `requestId`. */
export function showGhost(view, requestId, text) {
  const pos = view.state.selection.main.head;
  view.dispatch({ effects: show.of({ requestId, text, pos, shownAt: performance.now(), accepted: 0 }) });
}

function accept(view, part) {
  const ghost = ghostOf(view.state);
  if (!ghost) return false;
  const text = part(ghost.text);
  view.dispatch({
    changes: { from: ghost.pos, insert: view.state.toText(text) },
    selection: { anchor: ghost.pos + text.length },
    annotations: accepting.of(true),
    userEvent: "input.complete",
    scrollIntoView: true,
  });
  return true;
}

const whole = (text) => text;
const word = (text) => /^\s*(?:[\p{L}\p{N}_]+|[^\p{L}\p{N}_\s]+)/u.exec(text)?.[0] ?? text;

/** Take the ghost away; false when there is none. */
export function dismiss(view) {
  if (!ghostOf(view.state)) return false;
  view.dispatch({ effects: show.of(null) });
  return true;
}

function gone(before, after, transaction) {
  const typedOut = transaction.docChanged && inserted(before, transaction) === before.text;
  return after?.requestId !== before.requestId && !before.accepted && !typedOut;
}

/**
 * The editor extension. `report(type, ghost, acceptedChars)` is told `shown`, `accepted`,
 * `partially_accepted` and `dismissed`. `acceptedChars` counts from the proposal's first accept. A proposal
 * is dismissed by Escape and by editing or going elsewhere, unless some of it was accepted; one that was
 * typed to its end is not.
 */
export function ghostText(report) {
  const byWord = (view) => accept(view, word);
  return [
    field,
    Prec.highest(
      keymap.of([
        { key: "Tab", run: (view) => accept(view, whole) },
        { key: "Ctrl-ArrowRight", run: byWord },
        { key: "Alt-ArrowRight", run: byWord },
        { key: "Escape", run: dismiss },
      ]),
    ),
    EditorView.updateListener.of((update) => {
      for (const transaction of update.transactions) {
        const before = ghostOf(transaction.startState);
        const after = ghostOf(transaction.state);
        if (before === after) continue;
        if (after && after.requestId !== before?.requestId) report("shown", after, null);
        if (!before) continue;
        if (transaction.annotation(accepting)) {
          const total = before.accepted + length(inserted(before, transaction) ?? "");
          report(after ? "partially_accepted" : "accepted", before, total);
        } else if (gone(before, after, transaction)) {
          report("dismissed", before, null);
        }
      }
    }),
  ];
}
