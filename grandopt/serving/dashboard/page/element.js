// Elements of the page. What comes from the server is only ever set as text.

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Draws a container anew only when what it shows has changed, so that focus and selection stay.
export function fill(container, data, draw) {
  const key = JSON.stringify(data);
  if (container.shownData === key) return;
  container.shownData = key;
  container.replaceChildren(...draw(data));
}

// A table: columns are [title, "number" or "name" or ""]; cells are texts or nodes, null where there is nothing.
export function table(columns, rows, caption) {
  const head = columns.map(([title, kind]) => element("th", { scope: "col", class: kind || null }, title));
  const body = rows.map((cells) =>
    element("tr", {}, ...cells.map((cell, place) => {
      const [title, kind] = columns[place];
      const empty = cell === null || cell === undefined;
      return element("td", { class: [kind, empty ? "empty" : ""].filter(Boolean).join(" ") || null, "data-label": title },
        empty ? "–" : cell);
    })));
  return element("table", { class: "stack" },
    caption ? element("caption", {}, caption) : null,
    element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body));
}

// A list of terms; those without a value are left out.
export function terms(pairs) {
  const told = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return element("dl", {}, ...told.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

// The first click asks, the second one within five seconds does it.
export function twice(button, act) {
  if (button.asked) { button.asked = false; act(); return; }
  const text = button.textContent;
  button.asked = true;
  button.textContent = `Really ${text[0].toLowerCase()}${text.slice(1)}?`;
  setTimeout(() => { button.asked = false; button.textContent = text; }, 5000);
}
