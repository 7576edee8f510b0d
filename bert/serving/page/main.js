// Starts the page: asks for the models, and shows one of them. The address names it: #/NAME.
import {listModels} from './api.js';
import {element} from './dom.js';
import {forgetKey, hasKey, keepKey} from './key.js';
import {KINDS} from './kinds.js';
import {Panel} from './panel.js';

const UNAUTHORIZED = 401;
const find = id => document.getElementById(id);
const page = {
  models: find('models'), panels: find('panels'), message: find('message'),
  loading: find('loading'), retry: find('retry'), keyForm: find('key-form'), key: find('key'),
  forget: find('forget-key'),
};
let panels = new Map();     // {id of a model: its `Panel`, or an object with the same properties}
let chosen;                 // id of the model that is shown

async function load() {
  page.message.replaceChildren();
  page.retry.hidden = true;
  page.loading.textContent = 'Loading the models…';
  try {
    showModels(await listModels());
    if (!page.keyForm.hidden) {
      page.keyForm.hidden = true;
      panels.get(chosen)?.heading.focus();    // its place was in the form
    }
  } catch (error) {
    showLoadError(error);
  }
  page.loading.textContent = '';
  page.forget.hidden = !hasKey();
}

function showLoadError(error) {
  if (error.status === UNAUTHORIZED) {
    askForKey(hasKey() ? 'The server does not accept this key.' : '');
  } else {
    page.message.replaceChildren(element('p', {}, error.message));
    page.retry.hidden = false;
  }
}

function askForKey(message) {
  forgetKey();
  page.forget.hidden = true;
  page.keyForm.hidden = false;
  page.message.replaceChildren(...(message ? [element('p', {}, message)] : []));
  page.key.value = '';
  page.key.focus();
}

// Models

/** Make the panels. Those that are there stay, with what was written in them. */
function showModels(models) {
  panels = new Map(models.map(model => [model.id, panels.get(model.id) || makePanel(model)]));
  page.panels.replaceChildren(...[...panels.values()].map(panel => panel.element));
  page.models.replaceChildren(element('ul', {}, ...models.map(
    ({id, kind}) => element('li', {}, element(
      'a', {href: `#/${encodeURIComponent(id)}`}, element('span', {class: 'name'}, id), ' ',
      element('span', {class: 'kind'}, KINDS[kind]?.name ?? kind))))));
  page.models.hidden = models.length < 2;
  showChosen();
}

function makePanel(model) {
  const kind = KINDS[model.kind];
  if (kind) {
    return new Panel(model, kind, () => askForKey(''));
  }
  const heading = element('h2', {tabindex: '-1'}, model.id);
  return {model, heading, element: element(
    'section', {class: 'panel', hidden: true}, heading,
    element('p', {}, `This page has no form for models of the kind “${model.kind}”.`))};
}

/** The model that the address names, else the one that is shown, else the first one. */
function chooseId() {
  const match = /^#\/(.+)$/.exec(location.hash);
  let id;
  try {
    id = match && decodeURIComponent(match[1]);
  } catch {
    // an address that no link of this page has
  }
  return [id, chosen].find(name => panels.has(name)) ?? panels.keys().next().value;
}

function showChosen() {
  const id = chosen = chooseId();
  for (const [name, panel] of panels) {
    panel.element.hidden = name !== id;
  }
  [...page.models.querySelectorAll('a')].forEach((link, i) => {
    const isChosen = [...panels.keys()][i] === id;
    link.removeAttribute('aria-current');
    if (isChosen) {
      link.setAttribute('aria-current', 'true');
      link.scrollIntoView({block: 'nearest', inline: 'nearest'});
    }
  });
  document.title = id === undefined ? 'BERT' : `${id} – BERT`;
  return panels.get(id);
}

addEventListener('hashchange', () => {
  if (location.hash.startsWith('#/')) {
    showChosen()?.heading.focus();      // readers hear where they are
  }
});
page.retry.addEventListener('click', load);
page.keyForm.addEventListener('submit', event => {
  event.preventDefault();
  keepKey(page.key.value);
  page.key.value = '';
  load();
});
page.forget.addEventListener('click', () => {
  askForKey('');
  page.loading.textContent = 'The key is forgotten.';
});
load();
