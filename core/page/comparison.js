// Two transcripts side by side: what they share is folded, and the message at which they part is marked.

/** A message as far as it was said and done: without its marks and its place. */
function substance(message) {
  const calls = (message.calls || []).map((call) => [call.name, call.arguments, call.result]);
  return JSON.stringify([message.role, message.content, message.reasoning, calls]);
}

/** How many first messages are equal in both. */
function sharedMessages(one, other) {
  const [left, right] = [one.messages || [], other.messages || []];
  let shared = 0;
  while (shared < left.length && shared < right.length && substance(left[shared]) === substance(right[shared])) shared += 1;
  return shared;
}

function comparedHead(entry, transcript, side) {
  const details = findings(transcript, side);
  return make("div", { class: "side" },
    make("h4", { class: "title" }, make("a", { href: addressWith({ t: entry.key }) }, textOf(entry.title || entry.key, "span"))),
    verdict(entry), facetList(entry),
    details.length ? make("details", {}, make("summary", { text: "Tasks and checks" }), details) : null);
}

function comparedRest(entry, transcript, shared, side) {
  const rest = { ...transcript, messages: (transcript.messages || []).slice(shared) };
  const cards = rest.messages.length || rest.text ? messageList(rest, side)
    : [make("p", { class: "hint" }, "It ends here", entry.reason ? [": ", textOf(entry.reason, "span")] : ".")];
  cards[0].classList.add("parts");
  return make("div", { class: "side" }, cards);
}

function comparisonView(entry, transcript, otherEntry, other) {
  const shared = sharedMessages(transcript, other);
  const [left, right] = [transcript.messages || [], other.messages || []];
  const same = shared === left.length && shared === right.length && !transcript.text && !other.text;
  const parting = left[shared] ? messageLink(left[shared].index, `Go to where they part (#${left[shared].index})`, 1, { class: "parting" })
    : right[shared] ? messageLink(right[shared].index, `Go to where they part (#${right[shared].index})`, 2, { class: "parting" }) : null;
  const common = shared ? make("details", { class: "shared" },
    make("summary", { text: `${counted(shared, "shared message")}` }),
    left.slice(0, shared).map((message) => messageCard(message, 1))) : null;
  return make("article", { class: "transcript comparison", "data-key": entry.key, "data-other": otherEntry.key },
    make("header", {}, make("h3", { tabindex: "-1", text: "Comparison" }), parting,
      tools(hasReasoning(transcript) || hasReasoning(other))),
    make("div", { class: "sides" }, comparedHead(entry, transcript, 1), comparedHead(otherEntry, other, 2)),
    common,
    make("p", { class: "partition" }, make("strong", { text: same ? "They are equal" : "Here they part" })),
    same ? null : make("div", { class: "sides" }, comparedRest(entry, transcript, shared, 1), comparedRest(otherEntry, other, shared, 2)));
}
