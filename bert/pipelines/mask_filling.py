"""The pipeline that fills masks: texts → the likeliest words at their masks."""
import itertools
import json
import logging
import numbers
import os
import re
from typing import NamedTuple

import numpy as np

from bert import file_names
from bert.data.text.readers import Example
from bert.data.text.tokenizer import BertTokenizer
from bert.data.transform import Features, frame_texts
from bert.errors import UserError
from bert.model.masked_lm import BertForMaskedLM
from bert.model.weights import catalogue, loading, released_weights
from bert.model.weights.checkpoint_reader import Checkpoint
from bert.pipelines.base import Pipeline, iterate_chunks
from bert.pipelines.inference import Inference
from bert.pipelines.model_folder import folder_of
from bert.pipelines.records import FilledMask, Mask, counts_or_new
from bert.pipelines.text_pieces import check_text
from bert.probabilities import softmax
from bert.vocabulary import make_vocabulary

LOG = logging.getLogger(__name__)

CHUNK = 1024        # texts sorted by length together; bounds the memory
TOP_K = 5           # the default of transformers
MAX_LOGITS = 2 ** 24        # logits of a batch; bounds the memory: 64 MB
MAX_NAMES = 5       # targets that a warning lists
TEXTS = 'texts'     # the path of an `Example` that comes from Python
# What transformers replaces in a decoded text if tokenizer_config.json says so
CLEAN_UPS = ((' .', '.'), (' ?', '?'), (' !', '!'), (' ,', ','), (" ' ", "'"), (" n't", "n't"),
             (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"))


class Targets(NamedTuple):
    """The words to consider. ids: each once, int array; replaced: {word that is no token: the token
    in its place}."""
    ids: np.ndarray
    replaced: dict


class MaskFiller(Pipeline):
    """Finds the likeliest words at the masks of texts. The network's outputs are logits of words at
    the masks.

    task
        A dict with 'name', 'kind': 'fill_mask' and 'pair': False. It also has 'clean_up' where the
        files of the tokenizer ask for no space before punctuation.
    """

    @staticmethod
    def output_shape(config, task, length):
        return length, config.vocab_size

    @property
    def mask_id(self):
        return self.tokenizer.vocab[self.tokenizer.vocab.mask_token]

    def __call__(self, texts, top_k=TOP_K, targets=None):
        """The words at the mask of each text: a list of `top_k` `FilledMask`, the likeliest first.
        A text with several masks gives a list of such lists, and a single str its own list.

        texts
            A str, or an iterable of str. A mask is written as the vocabulary's mask token, such as
            [MASK]. Each mask is filled while the others stay masks.
        targets
            The only words to consider, a str or several. Of a word that is no token the first token
            is taken, and a warning names it. Scores are probabilities among all words of the
            vocabulary.

        Raises `UserError` for an item that is no text, for a text without a mask, and for a text
        whose masks would be cut off.
        """
        is_single = isinstance(texts, str)
        results = list(self.stream([texts] if is_single else texts, top_k, targets))
        return results[0] if is_single else results

    def stream(self, texts, top_k=TOP_K, targets=None, counts=None):
        """Yield the result of each text, in order.

        texts
            As for a call, from any iterator. They are not kept: the first result comes after
            1,024 texts, or after the last text.
        top_k, targets
            As for a call.
        counts
            The `TextCounts` to count in. Without it, a warning at the end says how many texts were
            cut at the length of the model.

        Raises the errors of a call.
        """
        return self.fill_examples(_examples(texts), top_k, targets, counts)

    def fill_examples(self, examples, top_k=TOP_K, targets=None, counts=None):
        """`stream` for `Example`s, whose path and line are named in errors."""
        own_counts = counts_or_new(counts)
        _check_top_k(top_k)
        target_ids = None if targets is None else self._logged_target_ids(targets)
        try:
            for chunk in iterate_chunks(examples, CHUNK):
                first = own_counts.num_texts
                inference = self._plan_examples(chunk, top_k, target_ids)
                own_counts.add(len(chunk), inference.num_cut)
                yield from inference.run(first)
        finally:        # also where the caller stops early
            if own_counts.num_cut and counts is None:
                LOG.warning('%d of %d texts were cut at %d tokens, the length of the model; no '
                            'mask was cut off', own_counts.num_cut, own_counts.num_texts,
                            self.max_len)

    def plan(self, texts, top_k=TOP_K, targets=None):
        """The `Inference` whose result is the list of results of a list of texts. targets: of
        `find_targets`."""
        _check_top_k(top_k)
        return self._plan_examples(list(_examples(texts)), top_k,
                                   None if targets is None else targets.ids)

    def plan_masks(self, texts, top_k=TOP_K, targets=None):
        """The `Inference` whose result is the list of [`Mask`] of a list of texts. targets: of
        `find_targets`."""
        mask = re.compile(re.escape(self.tokenizer.vocab.mask_token))
        return self.plan(texts, top_k, targets).then(lambda results: [
            [Mask(*place.span(), words) for place, words in zip(
                mask.finditer(text), result if isinstance(result[0], list) else [result],
                strict=True)]
            for text, result in zip(texts, results)])

    def _plan_examples(self, examples, top_k, target_ids):
        features = self.featurize(examples)
        words = [None] * len(features)      # of each mask of each text [(probability, id)]
        num_words = top_k if target_ids is None else min(top_k, len(target_ids))
        # each word of each mask has the whole text in its record
        result_tokens = num_words * sum(self._count_masks(item) * item.valid_length
                                        for item in features)

        def collect(i, logits):
            words[i] = [best_words(row, top_k, target_ids)
                        for row in logits[:self._count_masks(features[i])]]
        return Inference(self.runner, features, collect, lambda: list(map(
            self._fill, features, words)), [feature.num_tokens for feature in features],
            self.max_len, result_tokens=result_tokens)

    def featurize(self, examples):
        """`Example`s → list of `Features`. Raises `UserError` for a text that can't be filled."""
        frame = self.tokenizer.frame(False)
        features = []
        for example, ids in zip(examples, self.tokenizer.encode(
                [example.texts[0] for example in examples])):
            self._check_masks(example, ids, self.max_len - frame.num_specials)
            token_ids, segment_ids, num_tokens = frame_texts([ids], self.max_len, frame)
            features.append(Features(token_ids, segment_ids, len(token_ids), None, num_tokens))
        return features

    def _check_masks(self, example, ids, room):
        name = self.tokenizer.vocab.mask_token
        positions = np.flatnonzero(ids == self.mask_id)
        place = '%s:%d' % (example.path, example.line) if example.path != TEXTS else \
            'text %d' % example.line
        if not example.texts[0].strip():
            raise UserError('%s: the text is empty: expected a text with %s' % (place, name))
        if not len(positions):
            raise UserError('%s: no %s in the text: write it where a word is missing'
                            % (place, name))
        if positions[-1] >= room:
            raise UserError('%s: the last %s is token %d, but the model reads only %d tokens of a '
                            'text: shorten the text' % (place, name, positions[-1] + 1, room))

    # Logits

    def outputs(self, batch):
        """The logits (size, most masks of a text, vocabulary) at the masks of a `Batch`, a float32
        NDArray. A text with fewer masks has those of other tokens behind them."""
        return super().outputs(batch, find_masks(batch.token_ids, self.mask_id))

    def logits_per_text(self, features):
        """For how many tokens of each text the network computes logits."""
        return list(map(self._count_masks, features))

    def _count_masks(self, features):
        return int((features.token_ids == self.mask_id).sum())

    def make_batches(self, features, batch_size=None):
        """As of any pipeline, with at most `MAX_LOGITS` logits a batch."""
        counts, batches = self.logits_per_text(features), []
        for indices in super().make_batches(features, batch_size):
            tokens = max(counts[i] for i in indices)
            size = max(1, MAX_LOGITS // (tokens * self.config.vocab_size))
            batches += [indices[i:i + size] for i in range(0, len(indices), size)]
        return batches

    def mask_logits(self, features, batch_size):
        """Yield (index, logits (masks, vocabulary) float32) of each of `Features`, in any order.
        """
        for indices, _, outputs in self.predict_batches(
                features, self.make_batches(features, batch_size)):
            for i, rows in zip(indices, outputs):
                yield i, rows[:self._count_masks(features[i])]

    # Words

    def find_targets(self, targets):
        """The `Targets` of a list of words. Raises `UserError` for what is no word."""
        if not targets:
            raise UserError('targets: no word given: name words, or leave targets out')
        for target in targets:
            if not isinstance(target, str) or not target.strip():
                raise UserError('targets: %r found, expected a word' % (target,))
        ids = {target: self.tokenizer.token_id(target) for target in targets}
        unknown = [target for target, token_id in ids.items() if token_id is None]
        for target, pieces in zip(unknown, self.tokenizer.encode(unknown)):
            if not len(pieces):
                raise UserError('targets: "%s": the tokenizer finds no word in it' % target)
            ids[target] = int(pieces[0])
        names = self.tokenizer.vocab.idx_to_token
        return Targets(np.array(list(dict.fromkeys(ids.values()))),
                       {target: names[ids[target]] for target in unknown})

    def _logged_target_ids(self, targets):
        """The ids of the wanted words; a warning names those that are replaced."""
        targets = [targets] if isinstance(targets, str) else list(targets)
        ids, replaced = self.find_targets(targets)
        if replaced:
            pairs = ['%s by "%s"' % (json.dumps(target, ensure_ascii=False), token)
                     for target, token in itertools.islice(replaced.items(), MAX_NAMES)]
            LOG.warning('%d of %d targets are not in the vocabulary, and are replaced by their '
                        'first token: %s%s', len(replaced), len(targets), ', '.join(pairs),
                        ' …' if len(replaced) > MAX_NAMES else '')
        return ids

    def _fill(self, features, words):
        """The result of a text. words: of each mask [(probability, id)]."""
        positions = np.flatnonzero(features.token_ids == self.mask_id)
        results = [[FilledMask(float(score), int(token), self._decode([token]),
                               self._decode_sequence(features.token_ids, position, token,
                                                     len(positions) == 1))
                    for score, token in mask_words]
                   for position, mask_words in zip(positions, words)]
        return results[0] if len(results) == 1 else results

    def _decode_sequence(self, token_ids, position, token, skips_specials):
        """The text with a token in the place of a mask. As in transformers, special tokens stay
        where other masks do."""
        token_ids = token_ids.copy()
        token_ids[position] = token
        return self._decode(token_ids[token_ids != self.padding_id], skips_specials)

    def _decode(self, token_ids, skips_specials=False):
        text = self.tokenizer.decode(token_ids, skips_specials)
        for old, new in CLEAN_UPS if self.task.get('clean_up') else ():
            text = text.replace(old, new)
        return text


def _examples(texts):
    """Yield `Example`s of texts."""
    for number, text in enumerate(itertools.chain.from_iterable(iterate_chunks(texts, CHUNK))):
        check_text(text, number)
        yield Example((text,), None, TEXTS, number)


def _check_top_k(top_k):
    if not isinstance(top_k, numbers.Integral) or isinstance(top_k, bool) or top_k < 1:
        raise UserError('top_k %s: expected a whole number of words from 1 on' % (top_k,))


def find_masks(token_ids, mask_id):
    """(size, most masks of a text) float32: the positions of each text's masks, then zeros. At
    least one column."""
    is_mask = token_ids == mask_id
    counts = is_mask.sum(axis=1)
    positions = np.zeros((len(token_ids), max(1, counts.max())), 'float32')
    positions[np.arange(positions.shape[1]) < counts[:, None]] = np.nonzero(is_mask)[1]
    return positions


def best_words(logits, top_k, target_ids=None):
    """[(probability, id)] of the `top_k` likeliest words, or of all if there are fewer.

    logits: (vocabulary,). target_ids: the only words to consider; None for all. Probabilities are
    among all words.
    """
    ids = np.arange(len(logits)) if target_ids is None else target_ids
    scores = softmax(logits.astype('float64'))[ids]
    if top_k < len(ids):        # sorting a whole vocabulary takes long
        rows = np.argpartition(-scores, top_k - 1)[:top_k]
        ids, scores = ids[rows], scores[rows]
    order = np.argsort(-scores, kind='stable')
    return list(zip(scores[order], ids[order]))


# Opening


def make_mask_filler(checkpoint, arrays, device):
    """The `MaskFiller` of a `Checkpoint` with a decoder. arrays: of its head."""
    folder = folder_of(checkpoint)
    return _make(checkpoint, arrays, device, os.path.basename(folder))


def open_released_filler(name, device):
    """The `MaskFiller` of a released model. Raises `UserError` if its weights have no decoder."""
    release = released_weights.Release(name)
    arrays = released_weights.fetch_arrays(release)
    if not any(part.startswith('decoder.') for part in arrays):
        raise UserError('task %s: the released weights of %s have no masked-language-model decoder'
                        % (file_names.FILL_MASK, name))
    checkpoint = Checkpoint(
        catalogue.config_of(release.model, release.corpus),
        make_vocabulary(released_weights.fetch_tokens(release), release.corpus), arrays,
        release.name)
    return _make(checkpoint, arrays, device, name)


def _make(checkpoint, arrays, device, name):
    config, vocabulary = checkpoint.config, checkpoint.vocabulary
    if vocabulary.mask_token is None:
        raise UserError('%s: its vocabulary has no mask token: name it as "mask_token" in %s'
                        % (checkpoint.source, file_names.TOKENIZER_CONFIG_FILE))
    network = BertForMaskedLM(loading.build_bert(
        config, arrays, checkpoint.source, device, dropout=0.0, use_pooler=False,
        use_decoder=True))
    network.hybridize()
    task = {'name': name, 'kind': file_names.FILL_MASK, 'pair': False}
    if vocabulary.clean_up:
        task['clean_up'] = True
    return MaskFiller(network, BertTokenizer(vocabulary, lower=not config.cased), config, task,
                      config.max_length, device)
