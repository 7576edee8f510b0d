// Labels and scores of texts or pairs.
import {barTable} from './bars.js';
import {element} from './dom.js';
import {decimal, percent} from './numbers.js';
import {count} from './texts.js';

const PAIR_EXAMPLE = ['A man plays the guitar on a stage.', 'Someone makes music.'];
const THRESHOLD = 0.5;

function fieldsFor(example) {
  return ({reads_pairs: readsPairs}) => {
    if (readsPairs) {
      return [{name: 'text', label: 'First text', kind: 'text', value: PAIR_EXAMPLE[0]},
        {name: 'second', label: 'Second text', kind: 'text', value: PAIR_EXAMPLE[1]}];
    }
    const text = {name: 'text', label: 'Text', kind: 'text', value: example};
    return readsPairs === false ? [text] : [text, {
      name: 'second', label: 'Second text', kind: 'text', rows: 2, isOptional: true,
      hint: 'Only for models that compare two texts.'}];
  };
}

function request({text, second}) {
  return {path: 'predict', body: {inputs: second ? [text, second] : text}};
}

function labelRows(items, threshold = Infinity) {
  return items.map(({label, score}, i) => ({
    cells: [threshold === Infinity ? label : withTag(label, score > threshold)],
    share: score, value: percent(score),
    marked: threshold === Infinity ? i === 0 : score > threshold}));
}

function withTag(label, fits) {
  const name = element('span', {}, label);
  if (fits) {
    name.append(' ', element('span', {class: 'tag'}, 'fits'));
  }
  return name;
}

export const classification = {
  name: 'Classification', purpose: 'Finds the label that fits a text best.', action: 'Classify',
  fields: fieldsFor('The film was a delight, and the actors were great.'),
  request,
  show: items => [
    element('p', {class: 'verdict'}, element('strong', {}, items[0].label), ', ',
      percent(items[0].score)),
    barTable('All labels, the best one first', ['Label', 'Probability'], labelRows(items))],
};

export const multiLabel = {
  name: 'Several labels', purpose: 'Finds the labels that fit a text: none, one or several.',
  action: 'Find labels',
  fields: fieldsFor('The film was a delight, but the plot was poor.'),
  request,
  show(items, values, {threshold = THRESHOLD}) {
    const fitting = items.filter(({score}) => score > threshold).map(({label}) => label);
    const verdict = fitting.length
      ? [`${count(fitting.length, 'label')} fit${fitting.length === 1 ? 's' : ''}: `,
        element('strong', {}, fitting.join(', '))]
      : [`No label fits: all are at ${100 * threshold}% or less.`];
    return [
      element('p', {class: 'verdict'}, ...verdict),
      barTable('All labels, the best one first', ['Label', 'Probability'],
        labelRows(items, threshold))];
  },
};

export const regression = {
  name: 'Score', purpose: 'Gives a text a score: a number.', action: 'Score',
  fields: fieldsFor('The film was a delight, and the actors were great.'),
  request,
  show: ([{score}]) => [
    element('p', {class: 'verdict'}, 'Score: ', element('strong', {}, decimal(score)))],
};
