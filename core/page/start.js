// Drawing what the address describes, and the start of the page.

let drawing = 0;

/** Draw the state of the address: the list if filters changed, the transcript if it changed, then its message. */
function drawAddress() {
  const state = readAddress();
  if (!state) return;
  const before = shown;
  shown = state;
  const filtersOf = ({ filters }) => addressOf({ ...emptyState(), filters });
  const filtered = filtersOf(before) !== filtersOf(state);
  if (filtered) {
    drawFacets();
    drawList();
  }
  if (state.q !== found.words) {
    if (document.activeElement !== byId("ui-search")) byId("ui-search").value = state.q;
    list.page = 0;
    search(state.q, drawFound);
  }
  refreshLinks(byId("ui-list"));
  markOpen();
  if (before.t !== state.t || before.c !== state.c) drawReader();
  else {
    refreshLinks(byId("ui-reader"));
    if (before.m !== state.m || before.s !== state.s) showPlace();
  }
  if (filtered && !state.t && !byId("ui-browser").contains(document.activeElement)) byId("ui-browser").scrollIntoView();
}

function drawFound() {
  drawFacets();
  drawList({ keepPage: true });
  if (!searching()) highlightWords();
}

function showPlace() {
  if (shown.m !== null && showMessage(shown.m, shown.s)) return;
  if (shown.t) byId("ui-reader").firstElementChild?.scrollIntoView();
}

function hint(...parts) {
  return make("p", { class: "hint" }, ...parts);
}

async function drawReader() {
  drawing += 1;
  const run = drawing;
  const reader = byId("ui-reader");
  reader.setAttribute("aria-busy", "true");
  let view;
  try {
    view = await readerView(archive.byKey.get(shown.t), archive.byKey.get(shown.c));
  } catch (error) {
    view = hint(`This transcript cannot be opened: ${error.message}`);
  }
  if (run !== drawing) return;
  reader.replaceChildren(view);
  reader.removeAttribute("aria-busy");
  highlightWords();
  // Who came from the list goes on in the list; everyone else, at the transcript.
  if (shown.t && !byId("ui-finder").contains(document.activeElement)) view.querySelector("h3")?.focus({ preventScroll: true });
  showPlace();
}

async function readerView(entry, other) {
  if (!archive.entries.length) return hint("This page has no transcripts.");
  if (!shown.t) return hint("Choose a transcript. Press ? for the keys.");
  if (!entry) return hint("There is no transcript ", textOf(shown.t, "code"), " in this page.");
  if (shown.c && !other) return hint("There is no transcript ", textOf(shown.c, "code"), " in this page.");
  const [transcript, second] = await Promise.all([transcriptOf(entry), other ? transcriptOf(other) : null]);
  announce(`${entry.title || entry.key}, ${entry.outcome}${other ? `, compared with ${other.title || other.key}` : ""}`);
  return other ? comparisonView(entry, transcript, other, second) : transcriptView(entry, transcript);
}

/** On paper reasoning is shown, and folded again afterwards. */
function listenToPrinting() {
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = [...byId("ui-reader").querySelectorAll("details:not([open])")];
    for (const details of opened) details.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const details of opened) details.open = false;
  });
}

async function start() {
  listenToSections();
  listenToPrinting();
  listenToCopying();
  try {
    await openArchive();
  } catch (error) {
    byId("ui-reader").replaceChildren(make("p", { class: "notice error", text: `The transcripts cannot be opened: ${error.message}` }));
    return;
  }
  list.facets = facetNames();
  byId("ui-finder").hidden = !archive.entries.length;
  drawFacets();
  drawList();
  listenToSearch();
  listenToKeys();
  window.addEventListener("hashchange", drawAddress);
  window.addEventListener("popstate", drawAddress);
  drawAddress();
  if (!shown.t) drawReader();
  document.documentElement.dataset.ready = "true";
}

start();
