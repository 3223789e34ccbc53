// Tables that are sorted by a click on a column, and grids whose cells are compared.

/** The number that a cell begins with or shows; null if it shows none. */
function numberIn(text) {
  const match = /[-−]?(?:\d{1,3}(?:[,\u202f ]\d{3})+(?!\d)|\d+)?(?:\.\d+|(?<=\d))(?:e[-+]?\d+)?/i.exec(text);
  return match ? Number(match[0].replace("−", "-").replace(/[,\u202f ]/g, "")) : null;
}

function compareCells(one, other, numeric) {
  if (!numeric) return one.localeCompare(other, "en", { numeric: true });
  const [left, right] = [numberIn(one), numberIn(other)];
  return left - right;
}

/** Sort by a column: up, then down, then as it was. Rows without a number stay last. */
function sortBy(table, column) {
  const header = table.tHead.rows[0].cells[column];
  const body = table.tBodies[0];
  const rows = [...body.rows];
  rows.forEach((row, place) => { if (!("place" in row.dataset)) row.dataset.place = place; });
  const now = header.getAttribute("aria-sort");
  const order = now === "ascending" ? "descending" : now === "descending" ? null : "ascending";
  for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
  if (order) header.setAttribute("aria-sort", order);
  const numeric = header.classList.contains("number");
  const text = (row) => row.cells[column]?.textContent ?? "";
  const place = (row) => Number(row.dataset.place);
  const sign = order === "descending" ? -1 : 1;
  rows.sort((one, other) => {
    if (!order) return place(one) - place(other);
    const blank = (row) => (numeric ? numberIn(text(row)) === null : text(row) === "");
    return blank(one) - blank(other) || (blank(one) ? 0 : sign * compareCells(text(one), text(other), numeric))
      || place(one) - place(other);
  });
  body.append(...rows);
}

function keyOfCell(cell) {
  return new URLSearchParams(cell.hash.slice(1)).get("t");
}

/** Choose a cell for a comparison; the second one of a row opens it. */
function chooseCell(grid, cell) {
  const chosen = grid.querySelector(".cell.chosen");
  const say = (text) => { grid.querySelector(".status").textContent = text; };
  chosen?.classList.remove("chosen");
  if (chosen === cell) return say("");
  if (chosen && chosen.closest("tr") === cell.closest("tr")) {
    grid.querySelector(".choose").setAttribute("aria-pressed", "false");
    say("");
    return go({ t: keyOfCell(chosen), c: keyOfCell(cell), m: null, s: 1 });
  }
  cell.classList.add("chosen");
  return say(`${cell.closest("tr").cells[0].textContent}: choose another trial of this row.`);
}

function listenToGrid(grid) {
  const choose = grid.querySelector(".choose");
  choose.addEventListener("click", () => {
    const pressed = choose.getAttribute("aria-pressed") !== "true";
    choose.setAttribute("aria-pressed", String(pressed));
    grid.querySelector(".cell.chosen")?.classList.remove("chosen");
    grid.querySelector(".status").textContent = pressed ? "Choose two trials of a row." : "";
  });
  grid.addEventListener("click", (event) => {
    const cell = event.target.closest("a.cell");
    if (!cell || event.ctrlKey || event.metaKey) return;
    if (event.shiftKey || choose.getAttribute("aria-pressed") === "true") {
      event.preventDefault();
      chooseCell(grid, cell);
    }
  });
  grid.addEventListener("keydown", (event) => {
    const cell = event.target.closest("a.cell");
    if (!cell || event.key !== "c" || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    chooseCell(grid, cell);
  });
}

function listenToSections() {
  for (const table of document.querySelectorAll("table.sortable")) {
    table.tHead.addEventListener("click", (event) => {
      const header = event.target.closest("th");
      if (header && event.target.closest("button")) sortBy(table, header.cellIndex);
    });
  }
  for (const grid of document.querySelectorAll(".grid")) listenToGrid(grid);
}
