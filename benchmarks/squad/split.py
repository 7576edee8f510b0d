"""Split a SQuAD file by article: no part shares a context with another.

Articles are sorted by the hashes of their titles and cut into parts in this order. So the parts
depend on the titles only, and have the numbers of articles that --parts gives.
"""
import argparse
import hashlib
import pathlib
import sys

from benchmarks import harness


def make_parser():
    parser = harness.make_bare_parser(__doc__)
    parser.add_argument('input', metavar='FILE', help='SQuAD 1.1 or 2.0')
    parser.add_argument('--parts', type=parse_parts, default='train:4,threshold:2,dev:2',
                        metavar='NAME:WEIGHT,…', help='the parts, and their shares of the articles')
    parser.add_argument('--output_dir', metavar='FOLDER', default='.',
                        help='gets a file NAME.json a part')
    return parser


def parse_parts(text):
    """'train:4,dev:2' → {'train': 4, 'dev': 2}"""
    parts = {}
    for part in harness.comma_list(text):
        name, _, weight = part.partition(':')
        if not name or name in parts or not weight.isdigit() or int(weight) < 1:
            raise argparse.ArgumentTypeError('%s found, different names with whole numbers from 1 '
                                             'on expected, such as train:4,dev:2' % text)
        parts[name] = int(weight)
    return parts


def split_titles(titles, parts):
    """{part: the set of its titles}; parts: {name: weight}."""
    titles = sorted(set(titles), key=lambda title: hashlib.sha256(title.encode()).hexdigest())
    total_weight, titles_of, start, weight_so_far = sum(parts.values()), {}, 0, 0
    for name, weight in parts.items():
        weight_so_far += weight
        end = round(len(titles) * weight_so_far / total_weight)
        titles_of[name], start = set(titles[start:end]), end
    return titles_of


def main():
    args = make_parser().parse_args()
    content = harness.read_json(args.input)
    if content is None:
        sys.exit('%s: no such file' % args.input)
    titles_of = split_titles([article['title'] for article in content['data']], args.parts)
    empty_parts = [name for name, titles in titles_of.items() if not titles]
    if empty_parts:
        sys.exit('%s: too few articles for a part %s' % (args.input, empty_parts[0]))
    paths = {name: pathlib.Path(args.output_dir) / (name + '.json') for name in titles_of}
    if pathlib.Path(args.input).resolve() in [path.resolve() for path in paths.values()]:
        sys.exit('--output_dir %s: %s is the file itself: choose another folder'
                 % (args.output_dir, args.input))
    for name, titles in titles_of.items():
        articles = [article for article in content['data'] if article['title'] in titles]
        harness.write_json(paths[name], dict(content, data=articles))
        print('%s: %d articles, %d questions: %s' % (paths[name], len(articles), sum(
            len(paragraph['qas']) for article in articles
            for paragraph in article['paragraphs']), ', '.join(sorted(titles))))


if __name__ == '__main__':
    main()
