// Keys, and the window that explains them.

const KEYS = [
  ["/", "search"],
  ["j, k", "next or previous transcript; in the list also the arrow keys"],
  ["n, p", "next or previous turn"],
  ["r", "unfold or fold all reasoning"],
  ["c", "on a trial in a grid: choose it for a comparison"],
  ["Esc", "leave the search or the comparison"],
  ["?", "this help"],
];
let singleKeys = true;

function showHelp() {
  let help = byId("ui-help");
  if (!help) {
    const box = make("input", { type: "checkbox", id: "ui-single-keys", onchange: () => { singleKeys = box.checked; } });
    box.checked = singleKeys;
    help = make("dialog", { id: "ui-help", "aria-labelledby": "ui-help-title" },
      make("h2", { id: "ui-help-title", text: "Keys" }),
      make("dl", {}, KEYS.map(([keys, use]) => make("div", {}, make("dt", {}, make("kbd", { text: keys })), make("dd", { text: use })))),
      make("p", {}, box, " ", make("label", { for: "ui-single-keys", text: "Single keys do this" })),
      button("Close", () => help.close()));
    document.body.append(help);
  }
  if (!help.open) help.showModal();
}

function leave() {
  const field = byId("ui-search");
  if (document.activeElement === field) {
    if (field.value) {
      field.value = "";
      go({ q: "" }, { replace: true });
    } else field.blur();
  } else if (shown.c) go({ c: "", m: null, s: 1 });
}

const ACTIONS = {
  "/": () => { byId("ui-search").focus(); },
  j: () => step(1),
  k: () => step(-1),
  n: () => stepMessage(1),
  p: () => stepMessage(-1),
  r: unfoldReasoning,
  "?": showHelp,
};

function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (byId("ui-help")?.open) return;
    if (event.key === "Escape") return leave();
    const inList = byId("ui-list").contains(event.target);
    if (inList && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      return step(event.key === "ArrowDown" ? 1 : -1);
    }
    if (event.target.closest("input, select, textarea") || !singleKeys) return;
    const action = ACTIONS[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
