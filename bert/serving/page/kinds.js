// What the page does for each kind of model. A kind is
//   name, purpose, action: words of the page; action is on the button
//   fields: function of the model → fields, see form.js
//   request: function of the form's values → {path, body}
//   show: function of (answer, values, model) → elements
//   nameText: function of (index, values) → what a text of the request is called on the page; for a
//     kind with one text, or one pair, it is not needed
//   cutLabel, cutHint: of the box for cutting, where other words than the usual are needed
//   isNeverCut: for a kind that reads texts of any length
import {questionAnswering} from './answering.js';
import {classification, multiLabel, regression} from './classifying.js';
import {embedding} from './embedding.js';
import {fillMask} from './filling.js';
import {ranking} from './ranking.js';
import {tokenClassification} from './tagging.js';

export const KINDS = {
  classification, regression, embedding, ranking,
  multi_label: multiLabel,
  question_answering: questionAnswering,
  token_classification: tokenClassification,
  fill_mask: fillMask,
};
