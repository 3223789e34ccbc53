// Dialogues that were forked from one another, as a tree.

/** The dialogue from which all others of the tree were forked, as far as it is in the page. */
function rootOf(entry) {
  const passed = new Set([entry]);
  let root = entry;
  while (root.branch && archive.byKey.has(root.branch.parent)) {
    const parent = archive.byKey.get(root.branch.parent);
    if (passed.has(parent)) break;
    passed.add(parent);
    root = parent;
  }
  return root;
}

function branchTree(entry) {
  if (!entry.branch && !archive.children.has(entry.key)) return null;
  const drawn = new Set();
  const node = (one) => {
    if (drawn.has(one)) return null;
    drawn.add(one);
    const here = one === entry;
    const title = textOf(one.title || one.key, "span");
    const branches = (archive.children.get(one.key) || []).map(node).filter(Boolean);
    return make("li", {},
      here ? make("strong", { "aria-current": "true" }, title) : make("a", { href: addressWith({ t: one.key }) }, title),
      " ", outcomeLabel(one.outcome),
      one.branch ? [" ", make("a", {
        class: "parting", href: addressWith({ t: one.key, m: one.branch.shared || 0 }), text: `parts at #${one.branch.shared || 0}`,
      })] : null,
      here ? null : [" ", compareLink(entry, one)],
      branches.length ? make("ul", {}, branches) : null);
  };
  const root = rootOf(entry);
  let lost = null;
  if (root.branch && !archive.byKey.has(root.branch.parent || "")) {
    lost = make("p", { class: "hint", text: "The dialogue from which the first one was forked is not in this page." });
  }
  return make("section", { class: "tree" }, make("h4", { text: "Branches" }), lost, make("ul", {}, node(root)));
}
