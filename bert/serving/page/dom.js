// Elements of the page. Texts become text nodes, so that no text is ever read as HTML.

/** An element. attributes: those that are null, undefined or false are left out; one with the name
    of an event, such as onclick, is a function. children: elements and texts. */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') {
      node.addEventListener(name.slice(2), value);
    } else if (value !== null && value !== undefined && value !== false) {
      node.setAttribute(name, value === true ? '' : value);
    }
  }
  node.append(...children);
  return node;
}

let numIds = 0;

/** An id that no other element has. */
export function newId() {
  numIds += 1;
  return `id-${numIds}`;
}
