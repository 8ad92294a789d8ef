// The code editor. It lives in a shadow root: there CodeMirror's styles are constructed style sheets, so
// the page needs neither inline styles nor a nonce in its Content-Security-Policy.

import { defaultKeymap, history, historyKeymap, indentLess, indentMore, insertTab } from "@codemirror/commands";
import { bracketMatching, HighlightStyle, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { EditorState } from "@codemirror/state";
import { drawSelection, EditorView, highlightActiveLine, highlightActiveLineGutter, highlightSpecialChars, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { LANGUAGES } from "./samples.js";

// Colours are custom properties of the page, which a shadow root inherits: one theme, light and dark.
const theme = EditorView.theme({
  "&": { height: "100%", fontSize: "14px", color: "var(--text)", backgroundColor: "var(--page)" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.6", fontVariantLigatures: "none" },
  ".cm-content": { padding: "12px 0", caretColor: "var(--accent)" },
  ".cm-line": { padding: "0 20px 0 10px" },
  ".cm-gutters": { backgroundColor: "var(--page)", color: "var(--faint)", border: "none", paddingLeft: "10px" },
  ".cm-activeLine": { backgroundColor: "var(--line-now)" },
  ".cm-activeLineGutter": { backgroundColor: "transparent", color: "var(--text)" },
  ".cm-cursor, .cm-dropCursor": { borderLeftColor: "var(--accent)", borderLeftWidth: "2px" },
  ".cm-selectionBackground, &.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground": {
    backgroundColor: "var(--selection)",
  },
  "&.cm-focused .cm-matchingBracket": { backgroundColor: "var(--selection)" },
  "&.cm-focused .cm-nonmatchingBracket": { backgroundColor: "var(--bad-back)" },
  ".cm-ghost": { color: "var(--ghost)", fontStyle: "italic", whiteSpace: "pre-wrap" },
});

const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.modifier, tags.controlKeyword, tags.operatorKeyword], color: "var(--syn-keyword)" },
  { tag: [tags.string, tags.special(tags.string), tags.regexp, tags.attributeValue], color: "var(--syn-string)" },
  { tag: [tags.number, tags.bool, tags.null, tags.atom, tags.self], color: "var(--syn-number)" },
  { tag: [tags.comment, tags.docString], color: "var(--syn-comment)" },
  {
    tag: [tags.function(tags.variableName), tags.function(tags.definition(tags.variableName)), tags.function(tags.propertyName)],
    color: "var(--syn-function)",
  },
  { tag: [tags.typeName, tags.className, tags.namespace, tags.tagName], color: "var(--syn-type)" },
  { tag: [tags.meta, tags.processingInstruction, tags.attributeName], color: "var(--syn-meta)" },
]);

function tab(view) {
  return view.state.selection.ranges.some((range) => !range.empty) ? indentMore(view) : indentHere(view);
}

function indentHere(view) {
  const unit = view.state.facet(indentUnit);
  if (unit === "\t") return insertTab(view);
  const { head } = view.state.selection.main;
  const column = head - view.state.doc.lineAt(head).from;
  view.dispatch(view.state.replaceSelection(" ".repeat(unit.length - (column % unit.length))), {
    scrollIntoView: true,
    userEvent: "input",
  });
  return true;
}

/** The state in which the sample of `language` stands; `extensions` are the page's. */
export function stateOf(language, extensions) {
  const { name, text, cursor, indent, support } = LANGUAGES[language];
  return EditorState.create({
    doc: text,
    selection: { anchor: cursor },
    extensions: [
      extensions,
      lineNumbers(),
      highlightSpecialChars(),
      history(),
      drawSelection(),
      indentOnInput(),
      bracketMatching(),
      highlightActiveLine(),
      highlightActiveLineGutter(),
      EditorState.tabSize.of(4),
      indentUnit.of(indent),
      keymap.of([...defaultKeymap, ...historyKeymap, { key: "Tab", run: tab, shift: indentLess }]),
      support(),
      syntaxHighlighting(colours),
      theme,
      EditorView.contentAttributes.of({
        "aria-label": `${name} code. Tab accepts a suggestion; Escape twice and then Tab leaves the editor.`,
        spellcheck: "false",
      }),
    ],
  });
}

/** An editor under `host`. */
export function createEditor(host, state) {
  const root = host.attachShadow({ mode: "open" });
  const parent = document.createElement("div");
  parent.style.height = "100%";
  root.append(parent);
  return new EditorView({ parent, root, state });
}
