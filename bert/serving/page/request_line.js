// The last request as a command, with a button that copies it.
import {addressOf} from './api.js';
import {copyText} from './clipboard.js';
import {curlCommand} from './curl.js';
import {element} from './dom.js';
import {hasKey} from './key.js';

const FEEDBACK_MILLISECONDS = 2000;

/** The part of the page for a request. json: its body. */
export function makeRequestLine(path, json) {
  const code = element('code', {}, curlCommand(addressOf(path), json, hasKey()));
  const said = element('span', {class: 'hint', role: 'status'});
  const button = element('button', {type: 'button', class: 'quiet', onclick: async () => {
    said.textContent = await copyText(code) ? 'Copied.' : 'Select the command, and copy it.';
    setTimeout(() => { said.textContent = ''; }, FEEDBACK_MILLISECONDS);
  }}, 'Copy');
  const section = element(
    'section', {class: 'request'},
    element('div', {class: 'field-head'}, element('h3', {}, 'This request as a command'), said,
      button),
    element('pre', {tabindex: '0', 'aria-label': 'Command'}, code));
  if (hasKey()) {
    section.append(element('p', {class: 'hint'},
      'Set the variable BERT_API_KEY to your key before you run it.'));
  }
  return section;
}
