/* The little that this page needs to make elements and to keep lists of them up to date. */

export const $ = (id) => document.getElementById(id);

/** An element: `h("p", {class: "hint"}, "text", child)`. Attributes that are null or false are left out. */
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same in SVG. */
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

/** The text is set only where it differs: screen readers and selections are left alone. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * `list` has one child for each item, in this order. Children stay while their item does, so that the focus stays.
 * `make(item)` gives `{element, update(item)}`.
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
