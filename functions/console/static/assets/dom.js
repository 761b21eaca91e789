/* Make elements, and keep lists of them up to date. */

export const $ = (id) => document.getElementById(id);

/** Make an element: `h("p", {class: "hint"}, "text", child)`. Attributes that are null or false are left out. */
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** Make an SVG element. */
export function s(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value != null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}

/** Set the text only where it differs, so that screen readers and selections are not disturbed. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Give `list` one child per item, in this order. A child stays while its item does, and so does the focus.
 * `make(item)` returns `{element, update(item)}`.
 */
export function keep(list, items, key, make) {
  const rows = (list.rows ??= new Map());
  const wanted = new Set(items.map(key));
  for (const [id, row] of rows) {
    if (wanted.has(id)) continue;
    row.element.remove();
    rows.delete(id);
  }
  let previous = null;
  for (const item of items) {
    const id = key(item);
    if (!rows.has(id)) rows.set(id, make(item));
    const { element, update } = rows.get(id);
    const place = previous ? previous.nextSibling : list.firstChild;
    if (place !== element) list.insertBefore(element, place);
    update(item);
    previous = element;
  }
}
