// Which transcripts are listed: those with the chosen values of facets that contain the searched words.

const BUILT_IN = ["outcome", "reason", "same_task"];
const found = { words: "", hits: null, running: 0, done: 0 };

/** The values of a facet; an entry's outcome, reason and same_task are facets, too, unless it names its own so. */
function valuesOf(entry, facet) {
  const values = entry.facets.get(facet);
  if (values) return values;
  return BUILT_IN.includes(facet) && entry[facet] ? [entry[facet]] : [];
}

/** The facets by which transcripts differ. */
function facetNames() {
  const names = new Set(["outcome"]);
  for (const entry of archive.entries) for (const name of entry.facets.keys()) names.add(name);
  const text = (entry, name) => valuesOf(entry, name).join("\n");
  return [...names].filter((name) => archive.entries.some((entry) => text(entry, name) !== text(archive.entries[0], name)));
}

function passes(entry, filters, except = null) {
  for (const [facet, value] of filters) {
    if (facet !== except && !valuesOf(entry, facet).includes(value)) return false;
  }
  return !found.hits || found.hits.has(entry.position);
}

function listed() {
  return archive.entries.filter((entry) => passes(entry, shown.filters));
}

/** Value -> how many transcripts would be listed if it were chosen, the other filters being as they are. */
function countsOf(facet) {
  const counts = new Map();
  for (const entry of archive.entries) {
    if (!passes(entry, shown.filters, facet)) continue;
    for (const value of valuesOf(entry, facet)) counts.set(value, (counts.get(value) || 0) + 1);
  }
  return counts;
}

/** Search the keys, titles and reasons at once, and all texts chunk by chunk. Calls `progress` as transcripts are found. */
async function search(words, progress) {
  const run = found.running + 1;
  Object.assign(found, { words, running: run, done: 0, hits: null });
  if (!words) return progress();
  const sought = words.toLowerCase();
  found.hits = new Set();
  for (const entry of archive.entries) {
    if (`${entry.key}\n${entry.title}\n${entry.reason}`.toLowerCase().includes(sought)) found.hits.add(entry.position);
  }
  progress();
  let painted = performance.now();
  for await (const { number, found: positions } of searchChunks(words)) {
    if (found.running !== run) return undefined;
    for (const position of positions) found.hits.add(position);
    found.done = number + 1;
    if (performance.now() - painted > 200 || found.done === archive.counts.length) {
      progress();
      // Let the browser paint and take keys.
      await new Promise((resolve) => { setTimeout(resolve); });
      painted = performance.now();
    }
  }
  return undefined;
}

function searching() {
  return found.words !== "" && found.done < archive.counts.length;
}
