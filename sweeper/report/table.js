// Sorts and filters the table of trials. Without it the table is whole, the best trial first.
(() => {
  "use strict";
  const table = document.getElementById("trials-table");
  if (!table) return;
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const names = heads.map((head) => head.textContent.trim().toLowerCase());
  const full = heads.map((head) => head.firstElementChild.title.toLowerCase());
  const rows = [...body.rows].map((row) => ({
    row,
    cells: [...row.cells].map((cell) => {
      const given = cell.dataset.value;
      const text = cell.textContent.trim();
      return { number: given === undefined ? NaN : Number(given), text };
    }),
    words: row.textContent.toLowerCase(),
    state: row.dataset.state,
  }));
  const filter = document.getElementById("filter");
  const state = document.getElementById("state");
  const shown = document.getElementById("shown");
  document.querySelector(".controls").hidden = false;

  // Numbers before texts before what is missing, whatever the direction.
  const kind = (cell) => (!Number.isNaN(cell.number) ? 0 : cell.text === "" || cell.text === "-" ? 2 : 1);
  const compare = (a, b, sign) => {
    const kinds = kind(a) - kind(b);
    if (kinds) return kinds;
    if (kind(a) === 0) return a.number === b.number ? 0 : a.number < b.number ? -sign : sign;
    return sign * a.text.localeCompare(b.text, undefined, { numeric: true });
  };

  const sortBy = (column) => {
    const before = heads[column].getAttribute("aria-sort");
    const sign = before === "ascending" ? -1 : 1;
    heads.forEach((head) => head.setAttribute("aria-sort", "none"));
    heads[column].setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    rows.sort((a, b) => compare(a.cells[column], b.cells[column], sign) || compare(a.cells[0], b.cells[0], 1));
    body.append(...rows.map((one) => one.row));
  };

  const condition = (word) => {
    const found = /^(.+?)(<=|>=|<|>|=)(.+)$/.exec(word);
    if (found) {
      const name = found[1];
      let column = names.indexOf(name);
      if (column < 0) column = full.indexOf(name);
      if (column < 0) column = names.findIndex((other) => other.startsWith(name));
      const limit = Number(found[3]);
      if (column >= 0) {
        return ({ cells }) => {
          const cell = cells[column];
          const value = column === 0 ? NaN : cell.number;
          if (Number.isNaN(limit) || Number.isNaN(value)) {
            return found[2] === "=" && cell.text.toLowerCase() === found[3];
          }
          switch (found[2]) {
            case "<": return value < limit;
            case ">": return value > limit;
            case "<=": return value <= limit;
            case ">=": return value >= limit;
            default: return value === limit;
          }
        };
      }
    }
    return ({ words }) => words.includes(word);
  };

  const apply = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const conditions = words.map(condition);
    let number = 0;
    for (const one of rows) {
      const kept = (!state.value || one.state === state.value) && conditions.every((is) => is(one));
      one.row.hidden = !kept;
      number += kept;
    }
    shown.textContent = number === rows.length ? `${number} trials` : `${number} of ${rows.length} trials`;
  };

  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => sortBy(column)));
  filter.addEventListener("input", apply);
  state.addEventListener("change", apply);
})();
