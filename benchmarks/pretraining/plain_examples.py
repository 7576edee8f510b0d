"""A plain implementation of making pre-training examples, as a reference for ours.

It follows Devlin et al. 2018, A.1, and the choices of google-research/bert: lists of tokens, one
random number at a time, everything in memory. tests/data/pretraining/test_examples.py compares the
statistics of ours with it, data_creation.py the speed.
"""


def make_examples(documents, rng, vocabulary, max_seq_length=128, max_predictions=20,
                  masked_lm_prob=0.15, short_seq_prob=0.1, copies=1):
    """Examples {'tokens', 'segments', 'positions', 'labels', 'is_random'} of tokenized documents
    (lists of sentences, which are lists of tokens).

    rng: a `random.Random`; vocabulary: list of the tokens that may replace a masked one.
    """
    examples = []
    for _ in range(copies):
        for index in range(len(documents)):
            for first, second, is_random in segment_pairs(documents, index, rng,
                                                          max_seq_length - 3, short_seq_prob):
                tokens = ['[CLS]'] + first + ['[SEP]'] + second + ['[SEP]']
                positions, labels = mask_tokens(tokens, rng, vocabulary, max_predictions,
                                                masked_lm_prob)
                examples.append({
                    'tokens': tokens, 'positions': positions, 'labels': labels,
                    'segments': [0] * (len(first) + 2) + [1] * (len(second) + 1),
                    'is_random': is_random})
    rng.shuffle(examples)
    return examples


def segment_pairs(documents, index, rng, max_tokens, short_seq_prob):
    """Yield (first segment, second segment, whether the second is from another document) of the
    document with this index."""
    document = documents[index]
    target = rng.randint(2, max_tokens) if rng.random() < short_seq_prob else max_tokens
    position = 0
    while position < len(document):
        chunk, size = [], 0
        while position < len(document) and (not chunk or size < target):
            chunk.append(document[position])
            size += len(document[position])
            position += 1
        split = rng.randint(1, len(chunk) - 1) if len(chunk) > 1 else 1
        first = [token for sentence in chunk[:split] for token in sentence]
        is_random = len(chunk) == 1 or rng.random() < 0.5
        if is_random:
            second = random_segment(documents, index, rng, target - len(first))
            position -= len(chunk) - split
        else:
            second = [token for sentence in chunk[split:] for token in sentence]
        truncate_pair(first, second, max_tokens, rng)
        yield first, second, is_random


def random_segment(documents, index, rng, num_tokens):
    """Sentences of a random document other than `index`, from a random sentence on, up to
    `num_tokens` tokens or more."""
    other_index = index
    while other_index == index:
        other_index = rng.randrange(len(documents))
    document, tokens = documents[other_index], []
    for sentence in document[rng.randrange(len(document)):]:
        tokens += sentence
        if len(tokens) >= num_tokens:
            break
    return tokens


def truncate_pair(first, second, max_tokens, rng):
    """Remove tokens from the longer segment, at either end, until both fit into `max_tokens`."""
    while len(first) + len(second) > max_tokens:
        longer = first if len(first) > len(second) else second
        if rng.random() < 0.5:
            del longer[0]
        else:
            longer.pop()


def mask_tokens(tokens, rng, vocabulary, max_predictions, masked_lm_prob):
    """Mask, replace or keep random tokens, in place; returns (their positions, original tokens)."""
    candidates = [i for i, token in enumerate(tokens) if token not in ('[CLS]', '[SEP]')]
    rng.shuffle(candidates)
    count = min(max_predictions, max(1, round(len(tokens) * masked_lm_prob)))
    positions = sorted(candidates[:count])
    labels = [tokens[i] for i in positions]
    for i in positions:
        draw = rng.random()
        if draw < 0.8:
            tokens[i] = '[MASK]'
        elif draw < 0.9:
            tokens[i] = rng.choice(vocabulary)
    return positions, labels
