// A table of numbers with bars.
import {element} from './dom.js';

/** A bar that fills a share of its place, 0…1. Its number stands beside it, so that it says nothing
    new to those who don't see it. */
export function bar(share) {
  const fill = element('span', {class: 'fill'});
  fill.style.setProperty('--share', Math.min(1, Math.max(0, share)));
  return element('span', {class: 'bar', 'aria-hidden': 'true'}, fill);
}

/** A table. caption: what it shows, read aloud; heads: of its columns, the last one of the numbers;
    rows: [{cells, share, value, marked}]: what stands before the number, the length of the bar, the
    number's element, and whether the row stands out. */
export function barTable(caption, heads, rows) {
  const titles = heads.map((head, i) => element(
    'th', {scope: 'col', colspan: i === heads.length - 1 ? 2 : null}, head));
  return element(
    'table', {class: heads.length > 2 ? 'bars many' : 'bars'}, element('caption', {}, caption),
    element('thead', {}, element('tr', {}, ...titles)),
    element('tbody', {}, ...rows.map(makeRow)));
}

function makeRow({cells, share, value, marked}) {
  const [first, ...others] = cells;
  return element(
    'tr', {class: marked ? 'marked' : null}, element('th', {scope: 'row'}, first),
    ...others.map(cell => element('td', {}, cell)),
    element('td', {class: 'wide'}, bar(share)), element('td', {class: 'number'}, value));
}
