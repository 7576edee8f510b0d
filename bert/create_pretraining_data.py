"""Make examples for pre-training BERT out of text: masked tokens and next sentences."""
from bert.errors import run_script
from bert.flags import common
from bert.flags import pretraining as pretraining_flags


def make_parser():
    parser = common.Parser(__doc__, common.UNSUPPORTED_TEXT_FLAGS)
    _add_text_flags(parser)
    group = parser.add_argument_group('examples')
    pretraining_flags.add_sampling_flags(group, max_seq_length=128, max_predictions_per_seq=20)
    group.add_argument('--random_seed', '--seed', type=int, default=12345,
                       help='of every random choice')
    _add_work_flags(parser)
    return parser


def _add_text_flags(parser):
    group = parser.add_argument_group('text')
    group.add_argument('--input_file', required=True, metavar='FILES',
                       help='UTF-8 text, one sentence a line, an empty line between documents; '
                            'a comma list of names and wildcards; sample_text.txt comes with us')
    group.add_argument('--vocab', '--dataset_name', required=True, metavar='NAME',
                       help='vocabulary: a corpus that models.py lists, such as '
                            'book_corpus_wiki_en_uncased, or a vocab.txt')
    pretraining_flags.add_text_reading_flags(group)


def _add_work_flags(parser):
    group = parser.add_argument_group('work and output')
    group.add_argument('--output_dir', required=True, metavar='FOLDER',
                       help='gets part-000.npz …, manifest.json, vocab.txt and results.json')
    group.add_argument('--dupe_factor', type=common.positive_int, default=5,
                       help='copies of the text with other random choices')
    group.add_argument('--num_outputs', type=common.positive_int, metavar='N',
                       help='files; default: one for each 8 MiB of text, copies counted')
    group.add_argument('--format', choices=('numpy',), default='numpy', help='of the files')
    group.add_argument('--num_workers', type=common.positive_int,
                       default=common.usable_cores(), metavar='N',
                       help='processes; what is written does not depend on it')
    group.add_argument('--engine', choices=('processes', 'dask'), default='processes',
                       help='where the work is done')
    group.add_argument('--scheduler', metavar='ADDRESS',
                       help='of the Dask cluster, such as tcp://host:8786')
    group.add_argument('--resume', action='store_true',
                       help='go on with an unfinished run; finished files are kept')
    group.add_argument('--overwrite_output_dir', action='store_true',
                       help='replace the data that --output_dir holds')
    group.add_argument('--verbose', action='store_true', help='show the first example')


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    from bert.jobs.pretraining import data_creation  # imports numpy, which --help does not need
    data_creation.create_pretraining_data(args)


if __name__ == '__main__':
    run_script(main)
