// A click on a column's head sorts the table by it: upwards, downwards, as it was.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
  const number = text => /^-?[\d,.]+/.test(text) ? parseFloat(text.replace(/,/g, "")) : NaN;
  const compare = column => (one, other) => {
    const [a, b] = [one, other].map(row => row.cells[column].textContent.trim());
    const [x, y] = [number(a), number(b)];
    return isNaN(x) || isNaN(y) ? isNaN(x) - isNaN(y) || a.localeCompare(b) : x - y;
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    if (!button.textContent) button.setAttribute("aria-label", "name");
    head.append(button);
    button.addEventListener("click", () => {
      const way = { none: "ascending", ascending: "descending", descending: "none" }[head.ariaSort || "none"];
      heads.forEach(other => { other.ariaSort = "none"; });
      head.ariaSort = way;
      const sorted = way === "none" ? rows : [...rows].sort(compare(column));
      body.append(...(way === "descending" ? sorted.reverse() : sorted));
    });
  });
}
