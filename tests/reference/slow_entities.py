"""The tests' reference for entities: by definition, token by token, slow and independent of the
package."""
import math


def context(words, word, window):
    """Tokens between a word and the nearer end of a window, infinitely many at an end of the text;
    negative for a word that is not wholly in it. words: index of each token's word."""
    tokens = [token for token, index in enumerate(words) if index == word]
    first, stop = window
    left = math.inf if first == 0 else tokens[0] - first
    right = math.inf if stop == len(words) else stop - (tokens[-1] + 1)
    return min(left, right)


def aggregate(probabilities, words, spans, labels, aggregation):
    """[(type, score, start, end)] as transformers' TokenClassificationPipeline defines them."""
    units = []      # (label, score, start, end)
    for word in dict.fromkeys(words) if aggregation != 'simple' else range(len(words)):
        tokens = [word] if aggregation == 'simple' else \
            [token for token, index in enumerate(words) if index == word]
        rows = [list(map(float, probabilities[token])) for token in tokens]
        if aggregation == 'average':
            row = [sum(values) / len(rows) for values in zip(*rows)]
        elif aggregation == 'max':
            row = max(rows, key=max)
        else:
            row = rows[0]
        units.append((labels[row.index(max(row))], max(row), spans[tokens[0]][0],
                      spans[tokens[-1]][1]))
    groups = []
    for i, unit in enumerate(units):
        prefix, kind = split(unit[0])
        last_prefix, last_kind = split(units[i - 1][0]) if i else ('', None)
        if kind == last_kind and prefix not in 'BS' and last_prefix not in 'ES':
            groups[-1].append(unit)
        else:
            groups.append([unit])
    return [(split(group[0][0])[1], sum(unit[1] for unit in group) / len(group), group[0][2],
             group[-1][3]) for group in groups if split(group[0][0])[1] != 'O']


def split(label):
    """(prefix, type); a label without a prefix continues the same label."""
    return (label[0], label[2:]) if label[:2] in ('B-', 'I-', 'E-', 'S-') and label[2:] else \
        ('I', label)
