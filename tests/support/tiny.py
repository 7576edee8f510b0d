"""A BERT of 2 layers and width 8, and tasks that are small enough for it."""
import json
import random

import numpy as np
from reference import numpy_bert
from safetensors.numpy import load_file, save_file

from bert.model.bert import BertConfig

GOOD, BAD = ('good', 'fine', 'great'), ('bad', 'poor', 'awful')
WORDS = GOOD + BAD + ('the', 'film', 'was', 'plot', 'and', 'so', 'very', 'it', 'actor', 'scene')
TOKENS = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]') + WORDS + ('##s', '.', '电', '影')
CONFIG = BertConfig(num_layers=2, units=8, hidden_size=16, num_heads=2, max_length=40,
                    vocab_size=len(TOKENS))


def write_checkpoint(folder, config=CONFIG, tokens=TOKENS, seed=0):
    """Write a checkpoint in Hugging Face layout with random weights. Returns its path."""
    tensors = {name: tensor for name, tensor in numpy_bert.random_tensors(config, seed).items()
               if not name.startswith('cls.')}
    return write_transformers(folder, tensors, config, tokens)


def write_transformers(folder, tensors, config=CONFIG, tokens=TOKENS, **settings):
    """Write a folder in Hugging Face layout with these tensors. Returns its path.

    settings: more keys of its config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(folder / 'model.safetensors'), {'format': 'pt'})
    (folder / 'config.json').write_text(json.dumps(dict({
        'model_type': 'bert', 'num_hidden_layers': config.num_layers,
        'hidden_size': config.units, 'intermediate_size': config.hidden_size,
        'num_attention_heads': config.num_heads, 'vocab_size': config.vocab_size,
        'max_position_embeddings': config.max_length, 'hidden_act': config.activation,
        'type_vocab_size': config.token_type_vocab_size,
        'layer_norm_eps': config.layer_norm_eps}, **settings)))
    (folder / 'vocab.txt').write_text(''.join(token + '\n' for token in tokens),
                                      encoding='utf-8')
    (folder / 'tokenizer_config.json').write_text('{"do_lower_case": true}')
    return str(folder)


def write_with_head(folder, architecture, heads, config=CONFIG, **settings):
    """Write a checkpoint of transformers with a random head. heads: {name: shape}. Returns its
    path."""
    write_checkpoint(folder, config)
    tensors = load_file(str(folder / 'model.safetensors'))
    rng = np.random.RandomState(3)
    tensors.update({name: rng.normal(0, 0.5, shape).astype('float32')
                    for name, shape in heads.items()})
    return write_transformers(folder, tensors, config, architectures=[architecture], **settings)


CLASSIFIER_HEAD = {'classifier.weight': (3, CONFIG.units), 'classifier.bias': (3,)}
TAGS = ('O', 'B-LOC', 'I-LOC', 'B-PER', 'I-PER')
TAG_HEAD = {'classifier.weight': (len(TAGS), CONFIG.units), 'classifier.bias': (len(TAGS),)}
QA_HEAD = {'qa_outputs.weight': (2, CONFIG.units), 'qa_outputs.bias': (2,)}


def write_classifier(folder):
    return write_with_head(folder, 'BertForSequenceClassification', CLASSIFIER_HEAD,
                           id2label={'0': 'bad', '1': 'fine', '2': 'good'})


TAGGER_LABELS = ('O', 'B-PER', 'I-PER', 'B-LOC', 'I-LOC')
TAGGER_HEAD = {'classifier.weight': (len(TAGGER_LABELS), CONFIG.units),
               'classifier.bias': (len(TAGGER_LABELS),)}


def write_tagger(folder):
    return write_with_head(folder, 'BertForTokenClassification', TAGGER_HEAD,
                           id2label=dict(enumerate(TAGGER_LABELS)))


def write_question_answerer(folder):
    return write_with_head(folder, 'BertForQuestionAnswering', QA_HEAD)


def write_token_classifier(folder, tags=TAGS, config=CONFIG):
    head = {'classifier.weight': (len(tags), config.units), 'classifier.bias': (len(tags),)}
    return write_with_head(folder, 'BertForTokenClassification', head, config,
                           id2label={str(i): tag for i, tag in enumerate(tags)})


def sentences(count, seed):
    """[(text, label)]. A text with a good word has label 1, a text with a bad word label 0."""
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        label = rng.randrange(2)
        words = rng.choices(WORDS[6:], k=rng.randrange(2, 9))
        words.insert(rng.randrange(len(words) + 1), rng.choice(GOOD if label else BAD))
        rows.append((' '.join(words), label))
    return rows


def label_sets(count, seed):
    """[(text, labels)]. A text with a good word has the label 'good', a text with a bad word the
    label 'bad'; it may have both, or neither."""
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        words = rng.choices(WORDS[6:], k=rng.randrange(2, 6))
        labels = [name for name in ('good', 'bad') if rng.randrange(2)]
        for name in labels:
            words.insert(rng.randrange(len(words) + 1),
                         rng.choice({'good': GOOD, 'bad': BAD}[name]))
        rows.append((' '.join(words), labels))
    return rows


def write_multi_label(folder, config=CONFIG):
    """Write a checkpoint of transformers whose texts may have several of three labels."""
    head = {'classifier.weight': (3, config.units), 'classifier.bias': (3,)}
    return write_with_head(folder, 'BertForSequenceClassification', head, config,
                           id2label={'0': 'bad', '1': 'fine', '2': 'good'},
                           problem_type='multi_label_classification')


def write_tsv(path, header, rows):
    """Write rows of strings or numbers as tab-separated values. Returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (['\t'.join(header)] if header else []) + \
            ['\t'.join(str(value) for value in row) for row in rows]
    path.write_text('\n'.join(lines) + '\n', encoding='utf-8')
    return str(path)


def write_sst(folder, train=60, dev=20, test=10):
    """Write SST-2 in GLUE's layout. Returns the folder."""
    for segment, count, seed in (('train', train, 1), ('dev', dev, 2)):
        write_tsv(folder / ('%s.tsv' % segment), ('sentence', 'label'), sentences(count, seed))
    write_tsv(folder / 'test.tsv', ('index', 'sentence'),
              [(i, text) for i, (text, _) in enumerate(sentences(test, 3))])
    return str(folder)


# Words that always have a tag; the second name follows the first
NAMES = {'PER': (('good', 'fine'), 'great'), 'LOC': (('bad', 'poor'), 'awful')}


def tagged_sentences(count, seed):
    """[[(word, tag)]] in IOB2: entities of one word or two among words without a tag."""
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        row = [(word, 'O') for word in rng.choices(WORDS[6:], k=rng.randrange(2, 6))]
        for kind in rng.choices(tuple(NAMES), k=rng.randrange(3)):
            first_names, last_name = NAMES[kind]
            entity = [(rng.choice(first_names), 'B-' + kind), (last_name, 'I-' + kind)]
            ends = [i for i in range(len(row) + 1) if not row[i:] or row[i][1][0] != 'I']
            start = rng.choice(ends)
            row[start:start] = entity[:rng.randrange(1, 3)]
        rows.append(row)
    return rows


def write_conll(path, sentences):
    """Write sentences, each of lists of columns, in CoNLL's layout. Returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join(''.join('\t'.join(row) + '\n' for row in rows)
                              for rows in sentences), encoding='utf-8')
    return str(path)


def write_ner(folder, train=60, dev=20, test=10):
    """Write train.conll, dev.conll and test.conll. Returns the folder."""
    for segment, count, seed in (('train', train, 1), ('dev', dev, 2), ('test', test, 3)):
        write_conll(folder / (segment + '.conll'), tagged_sentences(count, seed))
    return str(folder)


def write_pairs(folder, header, labels, train=40, dev=16, test=8, files=None):
    """Write a pair task. Returns the folder.

    header: names of the columns: two text columns, then the label.
    labels: function(similarity 0…1) → label. The similarity is the share of common words.
    files: {segment: file names}, default train.tsv, dev.tsv, test.tsv.
    """
    rng = np.random.RandomState(5)
    for segment, count in (('train', train), ('dev', dev), ('test', test)):
        rows = []
        for _ in range(count):
            first = list(rng.choice(WORDS, size=6))
            similarity = rng.randint(0, 7) / 6
            second = [word if i < similarity * 6 else rng.choice(WORDS)
                      for i, word in enumerate(first)]
            rows.append((' '.join(first), ' '.join(second), labels(similarity)))
        for name in (files or {}).get(segment, ['%s.tsv' % segment]):
            write_tsv(folder / name, header, rows)
    return str(folder)


def squad_content(count, seed, version_2=False):
    """A SQuAD file of `count` questions, two for each context. They ask how the film was, and the
    answer is the only good or bad word. With version_2 every third context has no such word."""
    rng = random.Random(seed)
    paragraphs = []
    for i in range((count + 1) // 2):
        words = rng.choices(WORDS[6:], k=rng.randrange(4, 24))
        is_impossible = version_2 and i % 3 == 2
        if not is_impossible:
            words.insert(rng.randrange(len(words) + 1), rng.choice(GOOD + BAD))
        text = next((word for word in words if word in GOOD + BAD), None)
        context = ' '.join(words) + ' .'
        answers = [{'text': text, 'answer_start': context.index(text)}] if text else []
        extra_keys = {'is_impossible': is_impossible} if version_2 else {}
        paragraphs.append({'context': context, 'qas': [
            dict(extra_keys, id='%d-%d-%d' % (seed, i, k), question=question,
                 answers=[dict(answer) for answer in answers])
            for k, question in enumerate(('the film was', 'so was it'))]})
    paragraphs[-1]['qas'] = paragraphs[-1]['qas'][:2 - count % 2]
    return {'version': 'v2.0' if version_2 else '1.1',
            'data': [{'title': 'Films', 'paragraphs': paragraphs}]}


def write_squad(path, count, seed, version_2=False):
    """Write `squad_content` into a file. Returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(squad_content(count, seed, version_2)), encoding='utf-8')
    return str(path)


def write_corpus(path, documents=30, seed=0):
    """Write a text of the tiny vocabulary's words. Returns its path."""
    rng = random.Random(seed)
    texts = ['\n'.join(' '.join(rng.choices(WORDS, k=rng.randrange(3, 9))) + ' .'
                       for _ in range(rng.randrange(2, 12))) for _ in range(documents)]
    path.write_text('\n\n'.join(texts) + '\n')
    return str(path)
