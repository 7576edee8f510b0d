"""The peer's side of heads.py: pipelines of transformers, CrossEncoder of sentence-transformers.

Runs in the peer's own environment (harness.py) and knows nothing of `bert`. Answers questions
{'job': a head, 'folder', 'inputs', 'dtype', 'batch_size', …}, each one line of JSON, with
{'labels': names of the classes, 'outputs': {name: for each input [[key, score]]}}. A key is a list
of what has to be equal.
"""
import os

import torch
import transformers
from sentence_transformers import CrossEncoder

from benchmarks import harness


def make_pipeline(task, folder, dtype):
    """A pipeline of transformers, which takes the model and its tokenizer from the folder."""
    return transformers.pipeline(task, model=folder, device='cpu', dtype=getattr(torch, dtype))


def class_names(config):
    return [config.id2label[i] for i in range(len(config.id2label))]


def find_entities(folder, inputs, dtype, batch_size, aggregations):
    """Keys are [type or class, first character, character after the last]."""
    tag = make_pipeline('token-classification', folder, dtype)
    outputs = {}
    for aggregation in aggregations:
        name = 'entity' if aggregation == 'none' else 'entity_group'
        outputs[aggregation] = [
            [[[entity[name], entity['start'], entity['end']], float(entity['score'])]
             for entity in entities]
            for entities in tag(inputs, aggregation_strategy=aggregation, batch_size=batch_size)]
    return tag.model.config, outputs


def find_labels(folder, inputs, dtype, batch_size):
    """Keys are [class], in the order of the classes."""
    classify = make_pipeline('text-classification', folder, dtype)
    order = {label: i for i, label in classify.model.config.id2label.items()}
    return classify.model.config, {'': [
        [[[entry['label']], entry['score']]
         for entry in sorted(entries, key=lambda entry: order[entry['label']])]
        for entries in classify(inputs, top_k=None, batch_size=batch_size)]}


def rank(folder, inputs, dtype, batch_size):
    """Keys are [index of the document], the best first."""
    model = CrossEncoder(folder, device='cpu', model_kwargs={'dtype': getattr(torch, dtype)})
    return model.config, {'': [
        [[[int(entry['corpus_id'])], float(entry['score'])] for entry in model.rank(
            query, documents, batch_size=batch_size, show_progress_bar=False)]
        for query, documents in inputs]}


def fill(folder, inputs, dtype, batch_size):
    """Keys are [id, word, text with the word], the likeliest first."""
    fill_mask = make_pipeline('fill-mask', folder, dtype)
    return fill_mask.model.config, {'': [
        [[[word['token'], word['token_str'], word['sequence']], word['score']] for word in words]
        for words in fill_mask(inputs, batch_size=batch_size)]}


JOBS = {'entities': find_entities, 'several labels': find_labels, 'reranker': rank,
        'fill-mask': fill}


def answer(question):
    config, outputs = JOBS[question.pop('job')](**question)
    return {'labels': class_names(config), 'outputs': outputs}


if __name__ == '__main__':
    torch.set_num_threads(int(os.environ['OMP_NUM_THREADS']))
    transformers.logging.set_verbosity_error()
    harness.answer_questions(answer)
