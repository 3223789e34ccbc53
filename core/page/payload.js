// The transcripts: an index of small entries, and chunks that are decompressed when one of their transcripts is needed.

const OPEN_CHUNKS = 6;

/** `entries`: key, title, outcome, reason, same_task, facets (a Map), turns, branch, chunk, place in the chunk. */
const archive = { entries: [], byKey: new Map(), children: new Map(), sameTask: new Map(), counts: [], open: new Map() };

async function inflate(id) {
  const text = byId(id).textContent;
  const bytes = Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

function addTo(groups, key, entry) {
  if (groups.has(key)) groups.get(key).push(entry);
  else groups.set(key, [entry]);
}

async function openArchive() {
  const { counts, entries } = await inflate("ui-index");
  archive.counts = counts;
  let chunk = 0;
  let place = 0;
  for (const [position, raw] of entries.entries()) {
    while (place === counts[chunk]) [chunk, place] = [chunk + 1, 0];
    const entry = {
      title: "", outcome: "", reason: "", same_task: "", turns: 0, branch: null, ...raw,
      facets: new Map(Object.entries(raw.facets || {})), position, chunk, place,
    };
    place += 1;
    archive.entries.push(entry);
    archive.byKey.set(entry.key, entry);
    if (entry.branch) addTo(archive.children, entry.branch.parent || "", entry);
    if (entry.same_task) addTo(archive.sameTask, entry.same_task, entry);
  }
}

/** The transcripts of a chunk; equal messages were written once. */
async function inflateChunk(number) {
  const { messages, transcripts } = await inflate(`ui-chunk-${number}`);
  for (const transcript of transcripts) transcript.messages = transcript.messages.map((place) => messages[place]);
  return transcripts;
}

/** The transcripts of a chunk. The last few chunks stay open. */
function chunkOf(number) {
  const chunk = archive.open.get(number) || inflateChunk(number);
  archive.open.delete(number);
  archive.open.set(number, chunk);
  if (archive.open.size > OPEN_CHUNKS) archive.open.delete(archive.open.keys().next().value);
  return chunk;
}

async function transcriptOf(entry) {
  return (await chunkOf(entry.chunk))[entry.place];
}

/** All that search looks at in a transcript, in small letters. */
function haystack(transcript) {
  const texts = [transcript.title, transcript.reason, transcript.text];
  for (const task of transcript.tasks || []) texts.push(task.goal, task.judgment, task.judge_reasoning);
  for (const message of transcript.messages || []) {
    texts.push(message.content, message.reasoning);
    for (const call of message.calls || []) texts.push(call.name, call.arguments, call.result);
  }
  return texts.filter(Boolean).join("\n").toLowerCase();
}

const haystacks = [];

/** Yields the positions of the transcripts of each chunk in turn that contain `words`. */
async function* searchChunks(words) {
  const sought = words.toLowerCase();
  let first = 0;
  for (let number = 0; number < archive.counts.length; number += 1) {
    // Not through chunkOf: a search must not push the chunks out that are being read.
    if (!haystacks[number]) haystacks[number] = (await inflateChunk(number)).map(haystack);
    const found = [];
    haystacks[number].forEach((text, place) => { if (text.includes(sought)) found.push(first + place); });
    first += archive.counts[number];
    yield { number, found };
  }
}
