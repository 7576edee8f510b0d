"""The texts and bodies of requests, the same for every server."""
import json
import random

from benchmarks import harness
from benchmarks.serving.servers import MODEL

NUM_SPECIALS = 2        # [CLS] and [SEP]


class TextSource:
    """Pieces of the contexts of SQuAD's dev-v1.1, as long in tokens as is asked for."""

    def __init__(self, data_dir, seed):
        # imports mxnet, which reads the threads
        from bert.data.squad.download import locate_squad
        from bert.data.text.tokenizer import BertTokenizer
        from bert.model.weights.released_weights import Release, fetch_tokens
        from bert.vocabulary import make_vocabulary
        tokenize = BertTokenizer(make_vocabulary(fetch_tokens(Release(*harness.WEIGHTS))),
                                 lower=True)
        articles = harness.read_json(locate_squad('dev', data_dir=data_dir))['data']
        self._words = [word for article in articles for paragraph in article['paragraphs']
                       for word in paragraph['context'].split()]
        # words are tokenized one by one, so that the tokens of a text are the sum over its words
        counts = {word: len(tokenize(word)) for word in set(self._words)}
        self._counts = [counts[word] for word in self._words]
        self._rng = random.Random(seed)

    def text(self, length):
        """A random text of at most `length` tokens, special ones included, and as near to it as
        its words allow."""
        start = self._rng.randrange(len(self._words) - length)
        end, left = start, length - NUM_SPECIALS
        while self._counts[end] <= left:
            left -= self._counts[end]
            end += 1
        return ' '.join(self._words[start:end])

    def texts(self, number, shortest, longest):
        """Texts whose lengths are uniform between two, in tokens."""
        return [self.text(self._rng.randint(shortest, longest)) for _ in range(number)]


def write_bodies(path, texts, per_request=1, key='input'):
    """Write the bodies of requests for texts, for the load generator. A single text is a string."""
    groups = [texts[i:i + per_request] for i in range(0, len(texts), per_request)]
    harness.write_json(path, [json.dumps({
        'model': MODEL, key: group if per_request > 1 else group[0]}, ensure_ascii=False)
        for group in groups])
    return path
