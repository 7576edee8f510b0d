"""Damages the bytes of a file in the ways in which files are damaged."""
import numpy as np

BYTES = (b'\x00', b'\xff', b'\xed\xa0\x80', b'\xef\xbb\xbf', b'\xe2\x80\xa8', b'\\ud800', b'"',
         b'""', b'\n', b'\r', b'\t', b',', b'{', b'[', b'}', b']', b'null', b'-1', b'1e999', b'NaN',
         b'9' * 30, b'["a", "a"]', b'|')


def mutants(content, count, seed):
    """Yield `count` damaged copies of some bytes: empty, cut, flipped, doubled, with parts swapped,
    removed, inserted or made huge. The same seed gives the same copies."""
    yield b''
    rng = np.random.RandomState(seed)
    for _ in range(count - 1):
        mutant = content
        for _ in range(1 + rng.randint(3)):
            mutant = MUTATIONS[rng.randint(len(MUTATIONS))](mutant, rng)
        yield mutant


def _place(content, rng):
    return rng.randint(len(content) + 1)


def _part(content, rng):
    """(start, stop) of a part, most often a short one."""
    start = _place(content, rng)
    return start, min(len(content), start + int(rng.choice((1, 4, 30, 300))))


def _cut(content, rng):
    return content[:_place(content, rng)]


def _flip(content, rng):
    place = _place(content, rng)
    if place == len(content):
        return content
    return content[:place] + bytes([content[place] ^ 1 << rng.randint(8)]) + content[place + 1:]


def _double(content, rng):
    start, stop = _part(content, rng)
    return content[:stop] + content[start:]


def _remove(content, rng):
    start, stop = _part(content, rng)
    return content[:start] + content[stop:]


def _swap(content, rng):
    a, b, c = sorted(_place(content, rng) for _ in range(3))
    return content[:a] + content[b:c] + content[a:b] + content[c:]


def _insert(content, rng):
    place = _place(content, rng)
    return content[:place] + BYTES[rng.randint(len(BYTES))] + content[place:]


def _insert_random(content, rng):
    place = _place(content, rng)
    return content[:place] + rng.bytes(rng.randint(1, 9)) + content[place:]


def _inflate(content, rng):
    """A part of it a thousand times."""
    start, stop = _part(content, rng)
    return content[:start] + content[start:min(stop, start + 30)] * 1000 + content[stop:]


def _swap_lines(content, rng):
    lines = content.split(b'\n')
    a, b = rng.randint(len(lines), size=2)
    lines[a], lines[b] = lines[b], lines[a]
    return b'\n'.join(lines)


def _swap_fields(content, rng):
    """Exchange two numbers or words."""
    words = content.split(b' ')
    a, b = rng.randint(len(words), size=2)
    words[a], words[b] = words[b], words[a]
    return b' '.join(words)


MUTATIONS = (_cut, _flip, _double, _remove, _swap, _insert, _insert_random, _inflate, _swap_lines,
             _swap_fields)
