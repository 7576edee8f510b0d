"""The published way of making pre-training examples, written plainly: what ours is held against.

Devlin et al. 2018, A.1, and the choices of google-research/bert: lists of tokens, one random
number at a time, everything in memory. tests/data/pretraining/test_examples.py compares the
statistics of ours with it, create_pretraining_data.py of this folder the speed.
"""


def make(documents, rng, vocabulary, max_seq_length=128, max_predictions=20, masked_lm_prob=0.15,
         short_seq_prob=0.1, copies=1):
    """Examples {'tokens', 'segments', 'positions', 'labels', 'is_random'} of tokenized documents
    (lists of sentences, which are lists of tokens).

    rng: a `random.Random`; vocabulary: list of tokens that may replace one.
    """
    examples = []
    for _ in range(copies):
        for number in range(len(documents)):
            for first, second, is_random in pairs(documents, number, rng, max_seq_length - 3,
                                                  short_seq_prob):
                tokens = ['[CLS]'] + first + ['[SEP]'] + second + ['[SEP]']
                positions, labels = hide(tokens, rng, vocabulary, max_predictions, masked_lm_prob)
                examples.append({
                    'tokens': tokens, 'positions': positions, 'labels': labels,
                    'segments': [0] * (len(first) + 2) + [1] * (len(second) + 1),
                    'is_random': is_random})
    rng.shuffle(examples)
    return examples


def pairs(documents, number, rng, room, short_seq_prob):
    """Yield (first segment, second segment, whether that is from another document)."""
    document = documents[number]
    wanted = rng.randint(2, room) if rng.random() < short_seq_prob else room
    at = 0
    while at < len(document):
        taken, size = [], 0
        while at < len(document) and (not taken or size < wanted):
            taken.append(document[at])
            size += len(document[at])
            at += 1
        split = rng.randint(1, len(taken) - 1) if len(taken) > 1 else 1
        first = [token for sentence in taken[:split] for token in sentence]
        is_random = len(taken) == 1 or rng.random() < 0.5
        if is_random:
            second = elsewhere(documents, number, rng, wanted - len(first))
            at -= len(taken) - split
        else:
            second = [token for sentence in taken[split:] for token in sentence]
        shorten(first, second, room, rng)
        yield first, second, is_random


def elsewhere(documents, number, rng, wanted):
    """Sentences from a random one on of another document."""
    other = number
    while other == number:
        other = rng.randrange(len(documents))
    found = []
    for sentence in documents[other][rng.randrange(len(documents[other])):]:
        found += sentence
        if len(found) >= wanted:
            break
    return found


def shorten(first, second, room, rng):
    """Take tokens from the longer one, from either end, until both fit."""
    while len(first) + len(second) > room:
        longer = first if len(first) > len(second) else second
        if rng.random() < 0.5:
            del longer[0]
        else:
            longer.pop()


def hide(tokens, rng, vocabulary, max_predictions, masked_lm_prob):
    """Mask, replace or keep tokens; returns (their positions, what stood there)."""
    candidates = [i for i, token in enumerate(tokens) if token not in ('[CLS]', '[SEP]')]
    rng.shuffle(candidates)
    number = min(max_predictions, max(1, round(len(tokens) * masked_lm_prob)))
    positions = sorted(candidates[:number])
    labels = [tokens[i] for i in positions]
    for i in positions:
        kind = rng.random()
        if kind < 0.8:
            tokens[i] = '[MASK]'
        elif kind < 0.9:
            tokens[i] = rng.choice(vocabulary)
    return positions, labels
