// Words in the place of masks.
import {barTable} from './bars.js';
import {element} from './dom.js';
import {percent} from './numbers.js';

function fields({mask_token: mask}) {
  return [{name: 'text', label: 'Text', kind: 'text', insert: mask,
    value: `Paris is the ${mask} of France. It is a ${mask} city.`,
    hint: `Write ${mask} where a word is missing.`}];
}

function show({masks: [masks]}, {text}, {mask_token: mask}) {
  const tables = masks.map(({words}, i) => barTable(
    masks.length > 1 ? `Mask ${i + 1}` : 'Words for the mask', ['Word', 'Probability'], words.map(
      ({word, score}, k) => ({cells: [word], share: score, value: percent(score),
        marked: k === 0}))));
  return [filledText(text, mask, masks), ...tables];
}

/** The text with the best word at each mask. */
function filledText(text, mask, masks) {
  const line = element('p', {class: 'text'});
  text.split(mask).forEach((part, i) => {
    if (i > 0) {
      line.append(element('mark', {class: 'rank-1'}, masks[i - 1]?.words[0].word ?? mask));
    }
    line.append(part);
  });
  return line;
}

export const fillMask = {
  name: 'Missing words', purpose: 'Finds the words that are missing in a text.', action: 'Fill',
  fields, show,
  request: ({text}) => ({path: 'fill', body: {inputs: text}}),
};
