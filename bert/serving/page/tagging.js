// Entities, coloured in the text.
import {barTable} from './bars.js';
import {element} from './dom.js';
import {percent} from './numbers.js';
import {count, cutAtSpans} from './texts.js';

const EXAMPLE = 'Marie Curie was born in Warsaw and worked at the University of Paris.';
// Degrees between the hues of two types: any number of them stay apart
const GOLDEN_ANGLE = 137.5;

/** The types of entities that a model knows, without the prefixes of BIO and its like. */
function typesOf(labels) {
  return [...new Set(labels.filter(label => label !== 'O').map(
    label => label.replace(/^[BIESLUM]-/, '')))];
}

function show({entities: [entities]}, {text}, {labels}) {
  const types = typesOf(labels || []);
  if (!entities.length) {
    return [element('p', {class: 'verdict'}, element('strong', {}, 'No entity'), ' found.'),
      element('p', {class: 'text'}, text)];
  }
  return [
    element('p', {class: 'verdict'}, element('strong', {}, String(entities.length)),
      entities.length === 1 ? ' entity found.' : ' entities found.'),
    legend(entities, types), markedText(text, entities, types),
    barTable('The entities, in the order of the text', ['Entity', 'Type', 'Score'], entities.map(
      ({text: name, type, score}) => ({
        cells: [name, coloured('span', type, types, 'entity-type', type)], share: score,
        value: percent(score), marked: true})))];
}

function coloured(tag, type, types, className, ...children) {
  const node = element(tag, {class: className}, ...children);
  const index = types.includes(type) ? types.indexOf(type) : types.length;
  node.style.setProperty('--hue', (210 + index * GOLDEN_ANGLE) % 360);
  return node;
}

function legend(entities, types) {
  const found = [...new Set(entities.map(({type}) => type))];
  const names = found.map(type => element(
    'li', {}, coloured('span', type, types, 'entity-type', type), ' ',
    count(entities.filter(entity => entity.type === type).length, 'time')));
  return element('ul', {class: 'legend', 'aria-label': 'Types'}, ...names);
}

function markedText(text, entities, types) {
  const pieces = cutAtSpans(text, entities).map(({text: piece, spans: [entity]}) => {
    if (!entity) {
      return piece;
    }
    const mark = coloured('mark', entity.type, types, 'entity',
      element('span', {class: 'entity-text'}, piece),
      element('span', {class: 'entity-type'}, entity.type));
    mark.title = `${entity.type}, score ${entity.score}`;
    return mark;
  });
  return element('p', {class: 'text tagged'}, ...pieces);
}

export const tokenClassification = {
  name: 'Entities', purpose: 'Finds names and other entities in a text.', action: 'Find entities',
  fields: () => [{name: 'text', label: 'Text', kind: 'text', value: EXAMPLE}],
  request: ({text}) => ({path: 'entities', body: {inputs: text}}),
  show,
  isNeverCut: true,
};
