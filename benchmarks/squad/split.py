"""Split a SQuAD file by article: no part shares a context with another.

Articles are put in the order of their titles' hashes and dealt out in it, so that the parts depend
on nothing but the titles and get the numbers of articles that --parts asks for.
"""
import argparse
import hashlib
import pathlib
import sys

from benchmarks import harness


def make_parser():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('input', metavar='FILE', help='SQuAD 1.1 or 2.0')
    parser.add_argument('--parts', type=weights, default='train:4,threshold:2,dev:2',
                        metavar='NAME:WEIGHT,…', help='the parts, and their shares of the articles')
    parser.add_argument('--output_dir', metavar='FOLDER', default='.',
                        help='gets a file NAME.json a part')
    return parser


def weights(text):
    """'train:4,dev:2' → {'train': 4, 'dev': 2}"""
    found = {}
    for part in harness.comma_list(text):
        name, _, weight = part.partition(':')
        if not name or name in found or not weight.isdigit() or int(weight) < 1:
            raise argparse.ArgumentTypeError('%s found, different names with whole numbers from 1 '
                                             'on expected, such as train:4,dev:2' % text)
        found[name] = int(weight)
    return found


def deal(titles, parts):
    """{part: the set of its titles}; parts: {name: weight}."""
    titles = sorted(set(titles), key=lambda title: hashlib.sha256(title.encode()).hexdigest())
    total, dealt, first, share = sum(parts.values()), {}, 0, 0
    for name, weight in parts.items():
        share += weight
        end = round(len(titles) * share / total)
        dealt[name], first = set(titles[first:end]), end
    return dealt


def main():
    args = make_parser().parse_args()
    content = harness.read_json(args.input)
    if content is None:
        sys.exit('%s: no such file' % args.input)
    dealt = deal([article['title'] for article in content['data']], args.parts)
    empty = [name for name, titles in dealt.items() if not titles]
    if empty:
        sys.exit('%s: too few articles for a part %s' % (args.input, empty[0]))
    paths = {name: pathlib.Path(args.output_dir) / (name + '.json') for name in dealt}
    if pathlib.Path(args.input).resolve() in [path.resolve() for path in paths.values()]:
        sys.exit('--output_dir %s: %s is the file itself: choose another folder'
                 % (args.output_dir, args.input))
    for name, titles in dealt.items():
        articles = [article for article in content['data'] if article['title'] in titles]
        harness.write_json(paths[name], dict(content, data=articles))
        print('%s: %d articles, %d questions: %s' % (paths[name], len(articles), sum(
            len(paragraph['qas']) for article in articles
            for paragraph in article['paragraphs']), ', '.join(sorted(titles))))


if __name__ == '__main__':
    main()
