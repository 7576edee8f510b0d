// Documents in the order of their scores for a query.
import {barTable} from './bars.js';
import {decimal} from './numbers.js';
import {element} from './dom.js';
import {shorten, splitLines} from './texts.js';

const EXAMPLE = `The Rhine flows to the North Sea.
Bread is baked from flour, water and salt.
The Danube flows into the Black Sea.`;

function show(items, {documents}) {
  const texts = splitLines(documents);
  return [
    element('p', {class: 'verdict'}, 'Best: ', element('strong', {}, shorten(texts[items[0].index],
      80))),
    barTable('The documents, the best one first', ['Document', 'Line', 'Score'], items.map(
      ({index, score}, i) => ({
        cells: [texts[index], String(index + 1)], share: score, value: decimal(score),
        marked: i === 0})))];
}

export const ranking = {
  name: 'Ranking', purpose: 'Sorts documents by how well they answer a query.', action: 'Rank',
  fields: () => [
    {name: 'query', label: 'Query', kind: 'line', value: 'Which river ends in the North Sea?'},
    {name: 'documents', label: 'Documents', kind: 'text', value: EXAMPLE, rows: 6,
      hint: 'One document a line.'}],
  request: ({query, documents}) => ({path: 'rerank', body: {query, texts: splitLines(documents)}}),
  show,
  nameText: (index, {documents}) =>
    `the query with document ${index + 1} (“${shorten(splitLines(documents)[index])}”)`,
};
