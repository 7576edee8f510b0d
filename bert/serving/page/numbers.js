// Numbers, short for the reader. The full number is in the element's value and in its tooltip.
import {element} from './dom.js';

/** A probability in percent. It is never rounded to 0% or 100%. */
export function percent(probability) {
  let text = `${(100 * probability).toFixed(1)}%`;
  if (probability > 0 && text === '0.0%') {
    text = '<0.1%';
  } else if (probability < 1 && text === '100.0%') {
    text = '>99.9%';
  }
  return exact(probability, text);
}

/** Any other number, with some digits after its point. */
export function decimal(number, digits = 4) {
  return exact(number, number.toFixed(digits).replace('-', '−'));
}

function exact(number, text) {
  return element('data', {value: String(number), title: String(number)}, text);
}
