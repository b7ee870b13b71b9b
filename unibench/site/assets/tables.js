"use strict";
// Sorting by a click on a head, and the filters of the leaderboard. Tables are whole without it.
(() => {
  const value = (row, column, kind) => {
    const cell = row.cells[column], text = (cell.firstChild?.textContent ?? "").trim();
    return kind === "number" ? (text === "" ? null : parseFloat(text)) : cell.textContent.trim();
  };

  function compare(first, second, sign) {
    if (first === null || second === null) return (first === null) - (second === null);  // blanks last, either way
    return sign * (typeof first === "number" ? first - second : first.localeCompare(second, "en", { numeric: true }));
  }

  function sort(table, head) {
    const column = head.cellIndex, kind = head.dataset.sort;
    const bestFirst = kind === "number" && head.dataset.better !== "-1" ? "descending" : "ascending";
    const other = bestFirst === "ascending" ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === bestFirst ? other : bestFirst;
    const sign = order === "ascending" ? 1 : -1, body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [value(row, column, kind), row]);
    rows.sort((one, two) => compare(one[0], two[0], sign));
    body.append(...rows.map(([, row]) => row));
    for (const one of table.tHead.rows[0].cells) one.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    for (const head of table.tHead.rows[0].cells) {
      if (!head.dataset.sort) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.title = "Sort";
      const lines = [...head.childNodes].map((node) => node.textContent);  // innerText would lay the page out each time
      button.setAttribute("aria-label", `Sort by ${lines.join(" ").replace(/\s+/g, " ").trim()}`);
      head.append(button);
      head.addEventListener("click", (event) => { if (!event.target.closest("a")) sort(table, head); });
    }
  }

  function filter(form, table, style) {
    const asked = Object.fromEntries(new FormData(form)), text = asked.text.trim().toLowerCase();
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const layer = asked.layer === "best" ? "best" in row.dataset : !asked.layer || row.dataset.layer === asked.layer;
      const fits = layer && (!asked.kind || row.dataset.kind === asked.kind)
        && (!asked.group || row.dataset.group === asked.group)
        && row.cells[0].textContent.toLowerCase().includes(text);
      row.hidden = !fits;
      shown += fits;
    }
    const gone = [...table.tHead.rows[0].cells].filter(({ dataset }) => dataset.task
      && ((asked.task && dataset.task !== asked.task) || (asked.protocol && dataset.protocol !== asked.protocol)));
    style.textContent = gone.map((head) => `#${table.id} tr > :nth-child(${head.cellIndex + 1})`).join(",")
      + (gone.length ? "{display:none}" : "");
    form.querySelector("output").textContent = `${shown} of ${table.tBodies[0].rows.length} rows`;
  }

  for (const form of document.querySelectorAll("form.filters[data-table]")) {
    const table = document.getElementById(form.dataset.table), style = document.head.appendChild(document.createElement("style"));
    const apply = () => filter(form, table, style);
    form.addEventListener("input", apply);
    form.addEventListener("reset", () => setTimeout(apply));  // the fields are cleared after the event
    form.addEventListener("submit", (event) => event.preventDefault());
    apply();
  }

  // A cell of a heat map leads to the clip's page, with the cell's row on the right.
  for (const table of document.querySelectorAll(".heat table")) {
    const heads = [...table.tHead.rows[0].cells].map((head) => head.querySelector("a"));
    for (const row of table.tBodies[0].rows) {
      for (const cell of row.cells) if (cell.tagName === "TD" && heads[cell.cellIndex]) cell.classList.add("open");
    }
    table.tBodies[0].addEventListener("click", ({ target }) => {
      const cell = target.closest("td.open");
      if (cell) location.href = `${heads[cell.cellIndex].href}#right=${encodeURIComponent(cell.parentNode.dataset.row)}`;
    });
  }
})();
