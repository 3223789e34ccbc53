// The left side: search, a select for each facet, and the list, a hundred transcripts at a time.

const PAGE_SIZE = 100;
const list = { entries: [], page: 0, facets: [] };

function drawFacets() {
  byId("ui-facets").replaceChildren(...list.facets.map((facet, number) => {
    const counts = countsOf(facet);
    const chosen = shown.filters.get(facet);
    if (chosen !== undefined && !counts.has(chosen)) counts.set(chosen, 0);
    const values = [...counts.keys()].sort((one, other) => one.localeCompare(other, "en", { numeric: true }));
    const select = make("select", { id: `ui-facet-${number}`, "data-facet": facet, onchange: () => {
      const filters = new Map(shown.filters);
      if (select.selectedIndex) filters.set(facet, values[select.selectedIndex - 1]);
      else filters.delete(facet);
      go({ filters });
      byId(`ui-facet-${number}`)?.focus();
    } }, make("option", { text: "any" }), values.map((value) => make("option", { text: `${value} (${counts.get(value)})` })));
    select.selectedIndex = chosen === undefined ? 0 : values.indexOf(chosen) + 1;
    return make("div", { class: chosen === undefined ? "facet" : "facet chosen" },
      make("label", { for: select.id, text: facet }), select);
  }));
  drawChips();
}

/** What is filtered, each with a button to undo it: also filters that have no select, set by a link in a table. */
function drawChips() {
  const chips = [...shown.filters].map(([facet, value]) => button(`${facet}: ${value} ✕`, () => {
    const filters = new Map(shown.filters);
    filters.delete(facet);
    go({ filters });
  }, { "aria-label": `Remove the filter ${facet}: ${value}` }));
  if (chips.length + (shown.q ? 1 : 0) > 1) chips.push(button("Remove all", () => go({ filters: new Map(), q: "" })));
  byId("ui-chips").replaceChildren(...chips);
}

function drawList({ keepPage = false } = {}) {
  list.entries = listed();
  if (!keepPage) {
    const place = list.entries.findIndex((entry) => entry.key === shown.t);
    list.page = place < 0 ? 0 : Math.floor(place / PAGE_SIZE);
  }
  list.page = Math.min(list.page, Math.max(0, Math.ceil(list.entries.length / PAGE_SIZE) - 1));
  drawPage();
}

function drawPage() {
  const first = list.page * PAGE_SIZE;
  const entries = list.entries.slice(first, first + PAGE_SIZE);
  byId("ui-list").replaceChildren(...entries.map(item));
  const last = first + entries.length;
  let status = `${list.entries.length.toLocaleString("en")} of ${counted(archive.entries.length, "transcript")}`;
  if (searching()) status += ` · searching, ${Math.round((100 * found.done) / archive.counts.length)} % read`;
  byId("ui-status").textContent = status;
  byId("ui-pager").replaceChildren(...(list.entries.length <= PAGE_SIZE ? [] : [
    button("Previous", () => turnPage(-1), { disabled: list.page === 0 }),
    make("span", { text: `${first + 1}–${last}` }),
    button("Next", () => turnPage(1), { disabled: last >= list.entries.length }),
  ]));
}

function turnPage(step) {
  list.page += step;
  drawPage();
  byId("ui-list").scrollTop = 0;
  byId("ui-list").querySelector("a")?.focus();
}

function item(entry) {
  const turns = counted(entry.turns, "turn");
  return make("li", {}, make("a", {
    href: addressWith({ t: entry.key }), "data-key": entry.key, "aria-current": entry.key === shown.t ? "true" : null,
  },
  make("span", { class: "title text", text: entry.title || entry.key }),
  make("span", { class: "about" }, outcomeLabel(entry.outcome), ` · ${turns}`, entry.branch ? " · branch" : "",
    " · ", textOf(entry.key, "span")),
  entry.reason ? make("span", { class: "reason text", text: entry.reason }) : null));
}

/** Mark the open transcript in the list without drawing it anew, and bring it into the list's view. */
function markOpen() {
  const place = list.entries.findIndex((entry) => entry.key === shown.t);
  const page = Math.floor(place / PAGE_SIZE);
  if (place >= 0 && page !== list.page) {
    list.page = page;
    drawPage();
  }
  for (const link of byId("ui-list").querySelectorAll("a")) {
    const open = link.dataset.key === shown.t;
    if (open) {
      link.setAttribute("aria-current", "true");
      const box = byId("ui-list");
      const [top, bottom] = [link.offsetTop - box.offsetTop, link.offsetTop - box.offsetTop + link.offsetHeight];
      if (top < box.scrollTop) box.scrollTop = top;
      else if (bottom > box.scrollTop + box.clientHeight) box.scrollTop = bottom - box.clientHeight;
    } else link.removeAttribute("aria-current");
  }
}

function step(change) {
  const place = list.entries.findIndex((entry) => entry.key === shown.t);
  const next = place < 0 ? 0 : place + change;
  if (next < 0 || next >= list.entries.length) return announce(change < 0 ? "First transcript" : "Last transcript");
  const inList = byId("ui-list").contains(document.activeElement);
  go({ t: list.entries[next].key });
  if (inList) byId("ui-list").querySelector("[aria-current]")?.focus({ preventScroll: true });
  return undefined;
}

let waiting = 0;

function listenToSearch() {
  const field = byId("ui-search");
  field.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => go({ q: field.value }, { replace: true }), 250);
  });
}
