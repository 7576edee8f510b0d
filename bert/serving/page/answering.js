// Answers to a question, marked in the documents.
import {bar} from './bars.js';
import {element} from './dom.js';
import {percent} from './numbers.js';
import {cutAtSpans, splitParagraphs} from './texts.js';

const DOCUMENTS = `The Rhine rises in the Alps and flows to the North Sea. It is 1,230 km long.

The Danube rises in the Black Forest. It flows into the Black Sea.`;

function fields() {
  return [
    {name: 'question', label: 'Question', kind: 'line', value: 'Where does the Rhine rise?'},
    {name: 'documents', label: 'Documents', kind: 'text', value: DOCUMENTS, rows: 6,
      hint: 'An empty line separates two documents.'}];
}

function request({question, documents}) {
  return {path: 'answer', body: {question, documents: splitParagraphs(documents)}};
}

function show(result, values) {
  const documents = splitParagraphs(values.documents);
  const ranked = result.answers.map((answer, i) => ({...answer, rank: i + 1}));
  const marks = new Map(ranked.map(answer => [answer, []]));
  const texts = documents.map((text, i) => markedDocument(
    text, i, documents.length, ranked.filter(answer => answer.document === i), marks,
    result.no_answer));
  return [verdict(result), answerList(ranked, documents.length, marks, result.no_answer), ...texts];
}

function verdict({answer, answers, no_answer: isMissing, no_answer_probability: probability}) {
  if (!isMissing && answers.length) {
    return element('p', {class: 'verdict'}, element('strong', {}, answer), ', ',
      percent(answers[0].probability));
  }
  const line = element('p', {class: 'verdict'}, element('strong', {}, 'No answer'), ' found');
  if (probability !== null) {
    line.append(', ', percent(probability));
  }
  line.append(answers.length ? '. These are guesses:' : '.');
  return line;
}

/** The class of an answer's mark. A guess never looks like the answer. */
function lookOf(rank, isMissing) {
  return rank === 1 && !isMissing ? 'rank-1' : 'rank-2';
}

/** The answers, each a button that shows where in its document it stands. */
function answerList(answers, numDocuments, marks, isMissing) {
  const buttons = answers.map(answer => element(
    'button', {type: 'button', class: 'answer', 'aria-pressed': 'false',
      title: 'Show it in the document'},
    element('span', {class: `rank ${lookOf(answer.rank, isMissing)}`}, String(answer.rank)),
    element('span', {class: 'answer-text'}, answer.answer,
      numDocuments > 1 ? element('span', {class: 'place'}, ` document ${answer.document + 1}`)
        : ''),
    bar(answer.probability), percent(answer.probability)));
  buttons.forEach((button, i) => button.addEventListener(
    'click', () => choose(buttons, button, marks, answers[i])));
  return element('ol', {class: 'answers', 'aria-label': 'Answers'},
    ...buttons.map(button => element('li', {}, button)));
}

/** Put a frame around one answer in its document, or take it away. */
function choose(buttons, chosen, marks, answer) {
  const isOn = chosen.getAttribute('aria-pressed') === 'false';
  buttons.forEach(button => button.setAttribute('aria-pressed', String(isOn && button === chosen)));
  for (const pieces of marks.values()) {
    pieces.forEach(piece => piece.classList.remove('chosen'));
  }
  if (isOn) {
    marks.get(answer).forEach(piece => piece.classList.add('chosen'));
    marks.get(answer)[0]?.scrollIntoView({block: 'nearest'});
  }
}

/** A document with its answers marked. Answers overlap: a piece that several cover looks like the
    best of them. marks: gets the pieces of each answer. */
function markedDocument(text, index, numDocuments, answers, marks, isMissing) {
  const pieces = cutAtSpans(text, answers).map(({text: piece, spans}) => {
    if (!spans.length) {
      return piece;
    }
    const best = Math.min(...spans.map(({rank}) => rank));
    const mark = element('mark', {class: lookOf(best, isMissing)}, piece);
    spans.forEach(span => marks.get(span).push(mark));
    return mark;
  });
  const title = numDocuments > 1 ? `Document ${index + 1}` : 'Document';
  return element('section', {class: 'document'}, element('h4', {}, title),
    element('p', {class: 'text'}, ...pieces));
}

export const questionAnswering = {
  name: 'Answers', purpose: 'Finds the answer to a question in documents.', action: 'Answer',
  fields, request, show,
  nameText: () => 'the question',
  cutLabel: 'Cut a question that is too long',
  cutHint: 'Documents may have any length. Long ones are read in parts.',
};
