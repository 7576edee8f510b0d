// The part of the page for one model: its form, and what came of the last request.
import {RequestError, ask, toJson} from './api.js';
import {element, newId} from './dom.js';
import {cutLabel, makeForm, readCutOption, readValues} from './form.js';
import {makeRequestLine} from './request_line.js';
import {count} from './texts.js';

const MAX_CUTS_SHOWN = 10;
const UNAUTHORIZED = 401, UNPROCESSABLE = 422;

export class Panel {
  /** model: of `listModels`; kind: of `KINDS`; onKeyMissing: called when the server takes no
      request without a key, or not with this one. */
  constructor(model, kind, onKeyMissing) {
    Object.assign(this, {model, kind, onKeyMissing});
    this.form = makeForm(model, kind, event => {
      event.preventDefault();
      this.submit();
    });
    this.button = this.form.querySelector('[type=submit]');
    this.stopButton = this.form.querySelector('.stop');
    this.stopButton.addEventListener('click', () => this.controller?.abort());
    this.heading = element('h2', {id: newId(), tabindex: '-1'}, model.id);
    this.status = element('p', {class: 'status', role: 'status'});
    this.alert = element('div', {class: 'alert', role: 'alert', 'aria-live': 'polite'});
    this.result = element('div', {class: 'result'});
    this.request = element('div');
    this.element = element(
      'section', {class: 'panel', 'aria-labelledby': this.heading.id, hidden: true},
      element('div', {class: 'panel-head'}, this.heading,
        element('span', {class: 'kind'}, kind.name)),
      element('p', {class: 'purpose'}, kind.purpose),
      this.form, this.status, this.alert, this.result, this.request);
  }

  /** Ask the model what the form says, and show the answer. */
  async submit() {
    if (this.controller) {
      return;     // one request at a time
    }
    this.controller = new AbortController();
    const values = readValues(this.form);
    const {path, body} = this.kind.request(values, this.model);
    const json = toJson({model: this.model.id, ...body, ...readCutOption(this.form)});
    this.setBusy(true);
    try {
      this.showAnswer(await ask(path, json, this.controller.signal), values);
    } catch (error) {
      this.showError(error, values);
    } finally {
      this.controller = null;
      this.setBusy(false);
    }
    this.request.replaceChildren(makeRequestLine(path, json));
  }

  /** While a request is under way, the button keeps the focus but does nothing. */
  setBusy(isBusy) {
    this.element.setAttribute('aria-busy', String(isBusy));
    this.button.setAttribute('aria-disabled', String(isBusy));
    if (isBusy) {
      this.alert.replaceChildren();
      this.status.textContent = 'Waiting for the server…';
    } else if (document.activeElement === this.stopButton) {
      this.button.focus();
    }
    this.stopButton.hidden = !isBusy;
  }

  showAnswer(answer, values) {
    const time = answer.milliseconds === '0' ? 'less than 1 ms' : `${answer.milliseconds} ms`;
    this.status.textContent =
      `Done in ${time} on the server. ${count(Number(answer.tokens), 'token')} read.`;
    this.result.replaceChildren(
      element('h3', {}, 'Result'), ...this.cutNotice(answer, values),
      ...this.kind.show(answer.content, values, this.model));
  }

  /** What was cut. */
  cutNotice({cuts, numCuts}, values) {
    if (!numCuts) {
      return [];
    }
    const lines = cuts.slice(0, MAX_CUTS_SHOWN).map(({index, tokens, kept}) => element(
      'li', {}, capitalize(this.nameText(index, values)), `: ${kept} of ${tokens} tokens were `
        + 'read.'));
    if (numCuts > lines.length) {
      lines.push(element('li', {}, `And ${numCuts - lines.length} more.`));
    }
    return [element('div', {class: 'notice'},
      element('p', {}, element('strong', {}, `Cut: ${count(numCuts, 'text')}.`)),
      element('ul', {}, ...lines))];
  }

  nameText(index, values) {
    return this.kind.nameText?.(index, values) ?? 'the text';
  }

  showError(error, values) {
    this.status.textContent = '';
    this.result.replaceChildren();
    if (error.name === 'AbortError') {
      this.status.textContent = 'Stopped.';
      return;
    }
    if (!(error instanceof RequestError)) {
      console.error(error);
    }
    this.alert.replaceChildren(...this.describe(error, values));
    if (error.status === UNAUTHORIZED) {
      this.onKeyMissing();
    }
  }

  describe(error, values) {
    if (!(error instanceof RequestError)) {
      return [element('p', {}, `This page can’t show the answer: ${error.message}`)];
    }
    if (!error.status) {
      return [element('p', {}, error.message)];
    }
    const lines = [element('p', {}, element('strong', {}, `The server says (${error.status}): `),
      error.message)];
    const number = /\btext (\d+)\b/.exec(error.message)?.[1];
    if (number && this.kind.nameText) {
      lines.push(element('p', {}, 'The server counts from 0: this is ',
        `${this.nameText(Number(number), values)}.`));
    }
    const option = readCutOption(this.form);
    if (error.status === UNPROCESSABLE && option.truncate === false
        && error.message.includes('truncate')) {
      lines.push(element('p', {}, `Or tick “${cutLabel(this.kind)}” above.`));
    }
    return lines;
  }
}

function capitalize(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
