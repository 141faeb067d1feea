"use strict";
window.addEventListener("load", () => {
  const body = document.querySelector(".runs tbody"), rows = [...body.rows], find = document.getElementById("find");
  const shown = document.getElementById("shown");
  let sorted = { column: 0, up: true };

  function value(row, column) {
    const cell = row.cells[column], data = cell.querySelector("data");
    if (data === null) return cell.textContent.trim() === "\u2013" ? null : cell.textContent.trim().toLowerCase();
    return data.getAttribute("value") === "" ? Infinity : Number(data.getAttribute("value"));
  }

  function sort(column) {
    // Large first for numbers, except for the rank; a second click turns it round.
    const first = column === 0 || typeof value(rows[0], column) === "string";
    sorted = { column, up: sorted.column === column ? !sorted.up : first };
    const order = rows.map((row) => [value(row, column), row]);
    order.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return (a < b ? -1 : a > b ? 1 : 0) * (sorted.up ? 1 : -1);
    });
    order.forEach(([, row]) => body.append(row));
  }

  function filter() {
    const words = find.value.trim().toLowerCase();
    let count = 0;
    for (const row of rows) {
      row.hidden = !row.textContent.toLowerCase().includes(words);
      count += row.hidden ? 0 : 1;
    }
    shown.textContent = words ? `${count} of ${rows.length}` : "";
  }

  document.querySelectorAll(".runs th").forEach((head, column) => head.addEventListener("click", () => sort(column)));
  find.addEventListener("input", filter);
  document.body.dataset.ready = "yes";
});
