// The address says what is shown: #t=KEY&m=INDEX, c=KEY (compared with), s=2 (m is a message of that one),
// q=SEARCH, f.FACET=VALUE. Every state has a permalink, and the browser's back and forward buttons work.

function emptyState() {
  return { t: "", m: null, c: "", s: 1, q: "", filters: new Map() };
}

/** The state that an address describes; null if it is the anchor of a section. */
function readAddress(address = location.hash) {
  const raw = address.slice(1);
  const state = emptyState();
  if (!raw) return state;
  if (!raw.includes("=")) return null;
  for (const [name, value] of new URLSearchParams(raw)) {
    if (name === "t" || name === "c" || name === "q") state[name] = value;
    else if (name === "m" && /^\d+$/.test(value)) state.m = Number(value);
    else if (name === "s" && value === "2") state.s = 2;
    else if (name.startsWith("f.")) state.filters.set(name.slice(2), value);
  }
  return state;
}

function addressOf(state) {
  const query = new URLSearchParams();
  for (const name of ["t", "c", "q"]) if (state[name]) query.set(name, state[name]);
  if (state.m !== null) query.set("m", String(state.m));
  if (state.s === 2) query.set("s", "2");
  for (const [facet, value] of state.filters) query.set(`f.${facet}`, value);
  return `#${query}`;
}

/** The state that is shown now; start.js draws every new one. */
let shown = emptyState();

/** The address of the shown state with these changes; opening another transcript forgets message and comparison. */
function addressWith(changes) {
  const fresh = "t" in changes ? { m: null, c: "", s: 1 } : {};
  return addressOf({ ...shown, ...fresh, ...changes });
}

/** Links that were drawn before the filters changed keep to the filters that are set now. */
function refreshLinks(box) {
  for (const link of box.querySelectorAll('a[href^="#"]')) {
    const { filters, q } = shown;
    link.href = addressOf({ ...readAddress(link.hash), filters, q });
  }
}

function go(changes, { replace = false } = {}) {
  const address = addressWith(changes);
  if (address === location.hash || (address === "#" && !location.hash)) return;
  if (replace) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  drawAddress();
}
