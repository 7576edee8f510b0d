// Vectors, and how similar they are.
import {element} from './dom.js';
import {decimal} from './numbers.js';
import {count, shorten, splitLines} from './texts.js';

const EXAMPLE = `A cat sleeps on the sofa.
A kitten naps on the couch.
The train to Paris leaves at nine.
When does the next train go?`;
const MAX_SHOWN = 30;       // a larger table is slow, and nobody reads it

export function cosine(first, second) {
  const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  const lengths = Math.sqrt(dot(first, first) * dot(second, second));
  return lengths ? dot(first, second) / lengths : 0;
}

function show({data}, {texts}) {
  const vectors = data.map(({embedding}) => embedding);
  const names = splitLines(texts).slice(0, MAX_SHOWN);
  const rows = names.map((name, i) => names.map((other, k) => cosine(vectors[i], vectors[k])));
  const lines = [element('p', {class: 'verdict'},
    `${count(vectors.length, 'vector')} of ${count(vectors[0].length, 'number')}.`,
    ...closestPair(rows))];
  if (vectors.length > MAX_SHOWN) {
    lines.push(element('p', {class: 'notice'},
      `The table shows the first ${MAX_SHOWN} texts of ${vectors.length}.`));
  }
  return [...lines, heatMap(names, rows), scale()];
}

function closestPair(rows) {
  const pairs = rows.flatMap((row, i) => row.slice(0, i).map((value, k) => ({value, i, k})));
  if (!pairs.length) {
    return [];
  }
  const {value, i, k} = pairs.reduce((best, pair) => (pair.value > best.value ? pair : best));
  return [' Most similar: ', element('strong', {}, `${k + 1} and ${i + 1}`), ', ',
    decimal(value, 2), '.'];
}

/** A table that scrolls by itself where the window is narrow; it takes the focus for the arrow
    keys. */
function heatMap(names, rows) {
  const heads = names.map((name, i) => element('th', {scope: 'col', title: name}, String(i + 1)));
  const body = rows.map((row, i) => element(
    'tr', {}, element('th', {scope: 'row', title: names[i]},
      element('span', {class: 'rank'}, String(i + 1)), ' ', shorten(names[i])),
    ...row.map(heatCell)));
  return element(
    'div', {class: 'scroller', tabindex: '0', role: 'region', 'aria-label': 'Similarities'},
    element('table', {class: 'heat'},
      element('caption', {}, 'How similar the texts are: the cosine of their vectors'),
      element('thead', {}, element('tr', {}, element('th', {scope: 'col'}, 'Text'), ...heads)),
      element('tbody', {}, ...body)));
}

function heatCell(value) {
  return paint(element('td', {}, decimal(value, 2)), value);
}

/** Colour a node by a similarity: the stronger, the farther it is from 0. */
function paint(node, value) {
  node.classList.add(value < 0 ? 'cold' : 'warm');
  node.style.setProperty('--heat', `${Math.round(100 * Math.min(1, Math.abs(value)))}%`);
  return node;
}

function scale() {
  const steps = [-1, -0.5, 0, 0.5, 1].map(
    value => paint(element('span', {class: 'step'}, decimal(value, 1)), value));
  return element('p', {class: 'legend'}, 'Opposite', ...steps, 'same');
}

export const embedding = {
  name: 'Vectors',
  purpose: 'Turns texts into vectors. Texts of similar meaning have similar vectors.',
  action: 'Compare',
  fields: () => [{name: 'texts', label: 'Texts', kind: 'text', value: EXAMPLE, rows: 6,
    hint: 'One text a line.'}],
  request: ({texts}) => ({path: 'v1/embeddings', body: {input: splitLines(texts)}}),
  show,
  nameText: (index, {texts}) => `text ${index + 1} (“${shorten(splitLines(texts)[index])}”)`,
};
