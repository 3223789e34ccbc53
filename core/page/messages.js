// Messages as cards: reasoning folded, calls next to their results, marks as labels.

const ROLE_NAMES = { system: "System", user: "User", assistant: "Assistant" };
const MARK_NAMES = {
  gold: "gold call", told: "value told", broken_rule: "rule broken", change: "state changed", fault: "user fault",
};

function markLabels(marks = []) {
  if (!marks.length) return null;
  return make("ul", { class: "marks" }, marks.map((mark) => {
    const task = mark.task === undefined || mark.task === null ? "" : ` (task ${mark.task})`;
    return make("li", { class: `mark ${mark.kind}` }, make("strong", { text: `${MARK_NAMES[mark.kind]}${task}` }),
      mark.text ? [" ", textOf(mark.text, "span")] : null);
  }));
}

/** The link to a message; `side` 2 is the right transcript of a comparison. */
function messageLink(index, text, side = 1, attributes = {}) {
  return make("a", { href: addressWith({ m: index, s: side }), ...attributes, text });
}

function messageCard(message, side = 1) {
  const name = ROLE_NAMES[message.role] || message.role;
  const card = make("article", {
    class: `message ${message.role}`, id: `ui-m${side}-${message.index}`, "data-index": message.index, "data-side": side,
    tabindex: "-1", "aria-label": `Message ${message.index}, ${name}`,
  },
  make("header", {}, make("h5", { text: name }),
    messageLink(message.index, `#${message.index}`, side, { class: "anchor", "aria-label": `Link to message ${message.index}` })),
  markLabels(message.marks));
  if (message.reasoning) {
    card.append(make("details", { class: "reasoning" },
      make("summary", { text: `Reasoning (${counted(message.reasoning.length, "character")})` }), textOf(message.reasoning)));
  }
  if (message.content) card.append(longText(message.content, { lines: 200, characters: 20000, name: "message" }));
  else if (!message.calls) card.append(make("p", { class: "hint", text: "An empty message." }));
  for (const call of message.calls || []) card.append(callView(call));
  return card;
}

function callView(call) {
  const answered = call.result !== undefined && call.result !== null;
  return make("div", { class: "call" },
    make("div", { class: "asked" }, make("h6", {}, make("span", { class: "kind", text: "Call " }), textOf(call.name, "code")),
      call.arguments ? longText(call.arguments, { name: "arguments" }) : null),
    make("div", { class: "answered" }, make("h6", {}, make("span", { class: "kind", text: "Result" })),
      answered ? longText(call.result, { name: "result" }) : make("p", { class: "hint", text: "none" })),
    markLabels(call.marks));
}

/** The card of a message; a tool's message stands in the card of its call, the last one before it. What the right
 * transcript of a comparison shares with the left one stands there. */
function cardAt(index, side = 1) {
  let card = null;
  for (const candidate of byId("ui-reader").querySelectorAll(`.message[data-side="${side}"]`)) {
    if (Number(candidate.dataset.index) > index) break;
    card = candidate;
  }
  return card || (side === 2 ? cardAt(index, 1) : null);
}

function showMessage(index, side) {
  const card = cardAt(index, side);
  for (const other of byId("ui-reader").querySelectorAll(".message.here")) other.classList.remove("here");
  if (!card) return false;
  for (let box = card.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
  card.classList.add("here");
  card.scrollIntoView({ block: "start", behavior: "auto" });
  card.focus({ preventScroll: true });
  return true;
}

/** Go to the next or previous message of the transcript, or of its left one in a comparison. */
function stepMessage(change) {
  const side = shown.s;
  const cards = [...byId("ui-reader").querySelectorAll(`.message[data-side="${side}"]`)];
  if (!cards.length) return;
  const here = shown.m === null ? -1 : cards.indexOf(cardAt(shown.m, side));
  const next = cards[Math.min(cards.length - 1, Math.max(0, here + change))];
  go({ m: Number(next.dataset.index) }, { replace: true });
}

/** Mark the searched words in the transcript; the texts themselves are not touched. */
function highlightWords() {
  if (!window.Highlight) return;
  CSS.highlights.delete("found");
  const words = found.words.toLowerCase();
  if (!words) return;
  const ranges = [];
  const walker = document.createTreeWalker(byId("ui-reader"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const text = node.data.toLowerCase();
    // Some letters change their length with their case.
    if (text.length !== node.length) continue;
    for (let at = text.indexOf(words); at >= 0; at = text.indexOf(words, at + words.length)) {
      const range = document.createRange();
      range.setStart(node, at);
      range.setEnd(node, at + words.length);
      ranges.push(range);
    }
  }
  CSS.highlights.set("found", new Highlight(...ranges));
}

function unfoldReasoning() {
  const folded = [...byId("ui-reader").querySelectorAll("details.reasoning")];
  const open = folded.some((details) => !details.open);
  for (const details of folded) details.open = open;
  announce(open ? "All reasoning is shown" : "All reasoning is folded");
}
