// The right side: what a transcript was for and how it was judged, then its messages.

function heading(entry, level = "h3") {
  return make(level, { class: "title", tabindex: "-1" }, textOf(entry.title || entry.key, "span"));
}

function verdict(entry) {
  return make("p", { class: "verdict" }, outcomeLabel(entry.outcome),
    entry.reason ? [" ", textOf(entry.reason, "span")] : null);
}

function facetList(entry) {
  return make("dl", { class: "facts" }, [["key", [entry.key]], ...entry.facets].map(([name, values]) =>
    make("div", {}, textOf(name, "dt"), textOf(values.join(", "), "dd"))));
}

function checkList(checks = []) {
  if (!checks.length) return null;
  return make("ul", { class: "checks" }, checks.map((check) => make("li", { class: check.passed ? "yes" : "no" },
    make("strong", { text: check.passed ? "✓ holds" : "✗ fails" }), " ", textOf(check.name, "span"),
    check.detail ? [": ", textOf(check.detail, "span")] : null)));
}

function expectedList(title, expected = [], side = 1) {
  if (!expected.length) return null;
  return make("div", { class: "expected" }, make("h6", { text: title }), make("ul", {}, expected.map((one) => {
    const met = one.met_at !== undefined && one.met_at !== null;
    return make("li", { class: met ? "yes" : "no" }, textOf(one.text, "code"), " ",
      met ? messageLink(one.met_at, `✓ met at #${one.met_at}`, side) : make("strong", { text: "✗ not met" }));
  })));
}

function taskView(task, number, side) {
  const judged = task.judgment || task.judge_reasoning;
  return make("section", { class: "task" },
    make("h5", {}, `Task ${number}`, task.start === undefined || task.start === null ? null
      : [" ", messageLink(task.start, `starts at #${task.start}`, side)]),
    task.goal ? textOf(task.goal, "p") : null,
    task.facts ? make("dl", { class: "facts" }, task.facts.map(([name, value]) =>
      make("div", {}, textOf(name, "dt"), textOf(value, "dd")))) : null,
    make("div", { class: "pair" }, expectedList("Gold calls", task.gold_calls, side),
      expectedList("Values to be told", task.told_values, side)),
    make("div", { class: "pair" },
      task.checks ? make("div", {}, make("h6", { text: "Checks" }), checkList(task.checks)) : null,
      judged ? make("div", {}, make("h6", { text: "Judge" }), task.judgment ? textOf(task.judgment, "p") : null,
        task.judge_reasoning ? make("details", { class: "reasoning" },
          make("summary", { text: "The judge's reasoning" }), textOf(task.judge_reasoning)) : null) : null));
}

/** Tasks, checks and what was changed. */
function findings(transcript, side = 1) {
  const parts = (transcript.tasks || []).map((task, number) => taskView(task, number, side));
  if (transcript.checks) {
    parts.push(make("section", { class: "task" }, make("h5", { text: "Checks of the dialogue" }), checkList(transcript.checks)));
  }
  if (transcript.changes) {
    parts.push(make("section", { class: "task" }, make("h5", { text: "What was changed" }),
      make("ul", { class: "changes" }, transcript.changes.map((change) => make("li", {}, textOf(change, "code"))))));
  }
  return parts;
}

function otherTrials(entry) {
  const others = (archive.sameTask.get(entry.same_task) || []).filter((other) => other !== entry);
  if (!entry.same_task || !others.length) return null;
  return make("details", { class: "others" }, make("summary", { text: `Other trials of this task (${others.length})` }),
    make("ul", {}, others.map((other) => make("li", {}, make("a", { href: addressWith({ t: other.key }) },
      textOf(other.title || other.key, "span")), " ", outcomeLabel(other.outcome), " ", compareLink(entry, other)))));
}

function compareLink(entry, other) {
  return make("a", { class: "compare", href: addressWith({ t: entry.key, c: other.key, s: 1, m: null }),
    "aria-label": `Compare with ${other.title || other.key}`, text: "compare" });
}

function backToList() {
  byId("ui-finder").scrollIntoView();
  (byId("ui-list").querySelector("[aria-current]") || byId("ui-search")).focus({ preventScroll: true });
}

function tools(reasoned = true) {
  return make("div", { class: "buttons" },
    button("Back to the list", backToList, { class: "back" }),
    reasoned ? button("Unfold all reasoning", unfoldReasoning, { class: "reasons", "aria-keyshortcuts": "r" }) : null,
    shown.c ? button("End the comparison", () => go({ c: "", m: null, s: 1 }), { class: "end" }) : null);
}

function hasReasoning(transcript) {
  return (transcript.messages || []).some((message) => message.reasoning)
    || (transcript.tasks || []).some((task) => task.judge_reasoning);
}

function messageList(transcript, side = 1) {
  const parts = (transcript.messages || []).map((message) => messageCard(message, side));
  if (transcript.text) parts.push(longText(transcript.text, { lines: 1000, characters: 200000, name: "transcript" }));
  return parts.length ? parts : [make("p", { class: "hint", text: "No messages." })];
}

function transcriptView(entry, transcript) {
  return make("article", { class: "transcript", "data-key": entry.key },
    make("header", {}, heading(entry), verdict(entry), facetList(entry), tools(hasReasoning(transcript))),
    branchTree(entry), otherTrials(entry), findings(transcript),
    make("h4", { text: "Messages" }), messageList(transcript));
}
