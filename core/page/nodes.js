// Building the page: everything that is shown is a node or a text, so no content can become markup.

/** A new element. `attributes` may hold `text` and listeners (`onclick`); children are nodes or strings. */
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") node.textContent = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

function byId(id) {
  return document.getElementById(id);
}

const PIECE = 4000;

/** `end`, or the place before it if it would part a pair of surrogates, which are one letter. */
function letterEnd(text, end) {
  const code = text.charCodeAt(end);
  return code >= 0xdc00 && code <= 0xdfff ? end - 1 : end;
}

/** Where a piece that begins at `start` ends: after a line if it can. */
function pieceEnd(text, start) {
  const end = start + PIECE;
  if (end >= text.length) return text.length;
  const line = text.lastIndexOf("\n", end - 1);
  return line >= start ? line + 1 : letterEnd(text, end);
}

/** Show a text. A very long one becomes pieces that are laid out only when they are seen: one line of a megabyte would
 * stop the browser for a minute. */
function fillText(node, text) {
  if (text.length <= 5 * PIECE) {
    node.textContent = text;
    return;
  }
  const pieces = [];
  for (let start = 0; start < text.length;) {
    const end = pieceEnd(text, start);
    pieces.push(make("span", { class: "piece", text: text.slice(start, end) }));
    start = end;
  }
  node.replaceChildren(...pieces);
}

/** Text as it was written: white space is kept, and writing directions end with it. */
function textOf(text, tag = "div") {
  const node = make(tag, { class: "text" });
  fillText(node, text);
  return node;
}

/** Copied text is the text, without line breaks between its pieces. */
function listenToCopying() {
  document.addEventListener("copy", (event) => {
    const selection = getSelection();
    if (!event.target.closest?.(".text") || !selection.rangeCount || event.target.closest("input")) return;
    event.clipboardData.setData("text/plain", selection.getRangeAt(0).toString());
    event.preventDefault();
  });
}

function button(label, onclick, attributes = {}) {
  return make("button", { type: "button", ...attributes, onclick, text: label });
}

function counted(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

function announce(text) {
  byId("ui-announcement").textContent = text;
}

const OUTCOME_SIGNS = { accepted: "✓", passed: "✓", rejected: "✗", failed: "✗", error: "!" };

function outcomeLabel(outcome) {
  return make("span", { class: `outcome ${outcome}` },
    make("span", { "aria-hidden": "true", text: `${OUTCOME_SIGNS[outcome] || "?"} ` }), outcome);
}

const FOLDED_LINES = 20;
const FOLDED_CHARACTERS = 4000;

/** The beginning that is shown of a long text, or the text itself if it is short. */
function beginning(text, lines = FOLDED_LINES, characters = FOLDED_CHARACTERS) {
  let end = -1;
  for (let line = 0; line < lines; line += 1) {
    end = text.indexOf("\n", end + 1);
    if (end < 0) break;
  }
  if (end < 0) end = text.length;
  return text.slice(0, end <= characters ? end : letterEnd(text, characters));
}

/** A text with buttons to show all of it if it is long, and to indent it if it is JSON. */
function longText(text, { lines, characters, name = "text" } = {}) {
  const shown = make("pre", { class: "text" });
  const start = beginning(text, lines, characters);
  let whole = start.length === text.length;
  let indented = null;
  const fill = () => {
    const all = indented ?? text;
    fillText(shown, whole ? all : beginning(all, lines, characters));
    shown.classList.toggle("folded", !whole);
  };
  const buttons = make("div", { class: "buttons" });
  if (!whole) {
    const size = `${counted(text.split("\n").length, "line")}, ${counted(text.length, "character")}`;
    const unfold = button(`Show all of the ${name} (${size})`, () => {
      whole = !whole;
      unfold.setAttribute("aria-expanded", String(whole));
      unfold.textContent = whole ? "Show fewer lines" : `Show all of the ${name} (${size})`;
      fill();
    }, { class: "unfold", "aria-expanded": "false" });
    buttons.append(unfold);
  }
  if (/^\s*[[{]/.test(text) && /[\]}]\s*$/.test(text)) {
    const indent = button("Indent JSON", () => {
      try {
        indented = indented === null ? indentJson(text) : null;
        indent.setAttribute("aria-pressed", String(indented !== null));
        fill();
      } catch {
        indent.disabled = true;
        indent.textContent = "Not valid JSON";
      }
    }, { class: "indent", "aria-pressed": "false" });
    buttons.append(indent);
  }
  fill();
  return make("div", { class: "long" }, shown, buttons.childNodes.length ? buttons : null);
}

/** JSON on several lines. Its tokens stay as they were written: long numbers keep their digits, keys their order. */
function indentJson(text) {
  JSON.parse(text);
  const parts = [];
  const blank = /\s/;
  let depth = 0;
  let at = 0;
  const newLine = () => `\n${"  ".repeat(depth)}`;
  while (at < text.length) {
    const sign = text[at];
    if (sign === '"') {
      let end = at + 1;
      while (text[end] !== '"') end += text[end] === "\\" ? 2 : 1;
      parts.push(text.slice(at, end + 1));
      at = end;
    } else if (sign === "{" || sign === "[") {
      let next = at + 1;
      while (blank.test(text[next])) next += 1;
      if (text[next] === "}" || text[next] === "]") {
        parts.push(sign + text[next]);
        at = next;
      } else {
        depth += 1;
        parts.push(sign, newLine());
      }
    } else if (sign === "}" || sign === "]") {
      depth -= 1;
      parts.push(newLine(), sign);
    } else if (sign === ",") parts.push(",", newLine());
    else if (sign === ":") parts.push(": ");
    else if (!blank.test(sign)) parts.push(sign);
    at += 1;
  }
  return parts.join("");
}
