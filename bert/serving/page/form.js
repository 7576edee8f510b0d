// The form of a model: fields, the box for cutting, the button.
//
// A field is {name, label, kind, value} with kind 'line' or 'text' (of several lines), and perhaps
// hint, rows, isOptional, and insert: a text that a button writes at the cursor.
import {element, newId} from './dom.js';
import {count} from './texts.js';

const NAME_OF_CUT = 'cut';

/** The form. onSubmit: function of the event. */
export function makeForm(model, kind, onSubmit) {
  const form = element(
    'form', {class: 'card', onsubmit: onSubmit},
    ...kind.fields(model).map(makeField), makeCutOption(model, kind),
    element('div', {class: 'actions'},
      element('button', {type: 'submit'}, kind.action),
      element('button', {type: 'button', class: 'quiet stop', hidden: true}, 'Stop'),
      element('span', {class: 'hint keys'}, 'Ctrl + Enter')));
  form.addEventListener('keydown', event => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  return form;
}

/** The values of the form: {name of a field: text}, without the option. */
export function readValues(form) {
  const fields = [...form.elements].filter(({name}) => name && name !== NAME_OF_CUT);
  return Object.fromEntries(fields.map(({name, value}) => [name, value]));
}

/** {truncate} as the option says, {} for a kind without it. */
export function readCutOption(form) {
  const box = form.elements[NAME_OF_CUT];
  return box ? {truncate: box.checked} : {};
}

/** What stands beside the box for cutting. */
export function cutLabel(kind) {
  return kind.cutLabel || 'Cut texts that are too long';
}

function makeField({name, label, kind, value = '', hint, rows = 3, isOptional, insert}) {
  const id = newId(), hintId = hint ? newId() : null;
  const attributes = {id, name, required: !isOptional, 'aria-describedby': hintId};
  const input = kind === 'line' ? element('input', {...attributes, type: 'text'})
    : element('textarea', {...attributes, rows});
  input.value = value;
  const head = element('div', {class: 'field-head'},
    element('label', {for: id}, label, isOptional ? element('span', {class: 'hint'}, ' (optional)')
      : ''));
  if (insert) {
    head.append(makeInsertButton(input, insert));
  }
  const field = element('div', {class: 'field'}, head);
  if (hint) {
    field.append(element('p', {class: 'hint', id: hintId}, hint));
  }
  field.append(input);
  return field;
}

function makeInsertButton(input, text) {
  return element('button', {type: 'button', class: 'quiet', onclick() {
    input.setRangeText(text, input.selectionStart, input.selectionEnd, 'end');
    input.focus();
  }}, `Insert ${text}`);
}

function makeCutOption(model, kind) {
  const length = `This model reads ${count(model.max_tokens, 'token')} at once.`;
  if (kind.isNeverCut) {
    return element('p', {class: 'hint'}, `${length} Longer texts are read in parts.`);
  }
  const id = newId(), hintId = newId();
  return element(
    'div', {class: 'option'},
    element('input', {type: 'checkbox', id, name: NAME_OF_CUT, 'aria-describedby': hintId}),
    element('label', {for: id}, cutLabel(kind)),
    element('p', {class: 'hint', id: hintId},
      kind.cutHint || `${length} If this box is not ticked, longer texts are refused.`));
}
