"""Flags for pre-training and for creating its data."""
from bert.flags.common import (
    add_step_flags,
    positive_float,
    positive_int,
    ratio,
    usable_cores,
)


def add_text_reading_flags(group):
    """How to read the text from which examples are drawn."""
    group.add_argument('--cased', action='store_true',
                       help='keep case and accents; default: as the vocabulary wants')
    group.add_argument('--tokenized', action='store_true',
                       help='the text is tokens of the vocabulary with spaces between them')
    group.add_argument('--sentence_splitter', choices=('lines', 'nltk'), default='lines',
                       help='lines: one sentence a line; nltk: prose, split by Punkt (NLTK\'s '
                            'English model where it is installed, else one trained on the text)')


def add_sampling_flags(group, max_seq_length, max_predictions_per_seq):
    """How to draw pre-training examples."""
    group.add_argument('--max_seq_length', type=positive_int, default=max_seq_length,
                       help='tokens of an example, special ones included')
    group.add_argument('--max_predictions_per_seq', type=positive_int,
                       default=max_predictions_per_seq,
                       help='tokens to predict in an example at most')
    group.add_argument('--masked_lm_prob', type=ratio, default=0.15,
                       help='share of the tokens to predict')
    group.add_argument('--short_seq_prob', type=ratio, default=0.1,
                       help='share of the documents that are cut into shorter examples')
    group.add_argument('--whole_word_mask', action='store_true',
                       help='all pieces of a word are chosen or none')


def add_pretraining_flags(parser):
    """All flags of run_pretraining.py except those of the device."""
    _add_pretraining_data_flags(parser.add_argument_group('data'))
    _add_raw_flags(parser.add_argument_group('raw text'))
    _add_pretraining_model_flags(parser.add_argument_group('model'))
    _add_pretraining_work_flags(parser.add_argument_group('training'))
    group = parser.add_argument_group('output')
    group.add_argument('--ckpt_dir', default='./ckpt_dir', metavar='FOLDER',
                       help='folder of this run: checkpoints, log, results')
    group.add_argument('--overwrite_output_dir', action='store_true',
                       help='replace the run that --ckpt_dir holds')
    group.add_argument('--resume', action='store_true',
                       help='go on from the newest checkpoint in --ckpt_dir, with its options')
    group.add_argument('--start_step', type=int, default=0, metavar='STEP',
                       help='the same, if that checkpoint is of this step')
    group.add_argument('--ckpt_interval', type=positive_int, default=25000, metavar='STEPS',
                       help='optimizer steps between checkpoints')
    group.add_argument('--eval_interval', type=positive_int, default=50000, metavar='STEPS',
                       help='optimizer steps between evaluations; the last step ends with one')
    group.add_argument('--log_interval', type=positive_int, default=250, metavar='STEPS',
                       help='optimizer steps a log line')
    group.add_argument('--no_compute_acc', action='store_true',
                       help='losses only, no accuracies')
    group.add_argument('--profile', metavar='FILE',
                       help='write a profile of steps 10 to 14 (JSON of chrome://tracing), and end')
    group.add_argument('--verbose', action='store_true', help='no meaning: all is logged')


def pretrains_on_cpu(args):
    """Whether these pre-training flags mean training, not only evaluation, on the CPU."""
    return args.gpus is None and bool(args.data or args.synthetic_data or args.dummy_data_len
                                      or args.resume or args.start_step)


def _add_pretraining_data_flags(group):
    group.add_argument('--data', metavar='FILES',
                       help='comma list of names and wildcards of part-….npz to train on; left '
                            'out: evaluation only')
    group.add_argument('--data_eval', metavar='FILES', help='the same to evaluate on')
    group.add_argument('--allow_pickle', action='store_true',
                       help='read files of the original\'s format, which run whatever code they '
                            'bring')
    group.add_argument('--num_buckets', type=positive_int, default=1,
                       help='lengths are parted into so many ranges; a batch is of one')
    group.add_argument('--use_avg_len', '--by-token', action='store_true',
                       help='--batch_size counts tokens, padding included')
    group.add_argument('--synthetic_data', action='store_true',
                       help='random tokens, examples all of --max_seq_length, instead of --data: '
                            'to measure speed')
    group.add_argument('--dummy_data_len', type=positive_int, metavar='TOKENS',
                       help='the same with examples of so many tokens')


def _add_raw_flags(group):
    group.add_argument('--raw', action='store_true',
                       help='--data and --data_eval are text, one sentence a line, an empty line '
                            'between documents; every epoch draws its own examples and masks')
    group.add_argument('--eval_use_npz', action='store_true',
                       help='with --raw: --data_eval is part-….npz all the same')
    add_text_reading_flags(group)
    add_sampling_flags(group, max_seq_length=512, max_predictions_per_seq=80)
    group.add_argument('--num_dataset_workers', '--num_data_workers', type=positive_int,
                       default=usable_cores(), metavar='N',
                       help='processes that read text; the examples do not depend on it')
    for flag in ('--num_batch_workers', '--circle_length', '--repeat', '--num_max_dataset_cached'):
        group.add_argument(flag, type=int, metavar='N', help='no meaning here')
    group.add_argument('--dataset_cached', action='store_true', help='no meaning here')


def _add_pretraining_model_flags(group):
    group.add_argument('--model', default='bert_12_768_12',
                       help='which BERT; models.py lists them')
    group.add_argument('--dataset_name', metavar='NAME',
                       help='corpus of the vocabulary and of released weights; with --bert_config '
                            'also a vocab.txt; default: the first one of the model')
    group.add_argument('--pretrained', action='store_true', help='start from released weights')
    group.add_argument('--bert_checkpoint', metavar='PATH',
                       help='start from these weights: a folder in Hugging Face layout or one of '
                            'ours')
    group.add_argument('--bert_config', metavar='FILE',
                       help='a model of one\'s own sizes: JSON with num_layers, units, '
                            'hidden_size, num_heads and, if need be, max_length …')
    group.add_argument('--init_std', type=positive_float, default=0.02,
                       help='standard deviation of random weights; BERT\'s, for layers of width '
                            '768, is 0.02')


def _add_pretraining_work_flags(group):
    group.add_argument('--num_steps', type=positive_int, default=20, help='optimizer steps')
    group.add_argument('--phase2', action='store_true',
                       help='go on with the optimizer of --bert_checkpoint, a run on shorter '
                            'examples, for --num_steps more with a learning rate of their own')
    group.add_argument('--phase1_num_steps', type=positive_int, metavar='STEPS',
                       help='with --phase2: check that the other run had so many')
    group.add_argument('--batch_size', type=positive_int, default=8,
                       help='examples a micro-batch')
    group.add_argument('--total_batch_size', type=positive_int,
                       help='instead: examples an optimizer step')
    group.add_argument('--batch_size_eval', '--total_batch_size_eval', type=positive_int,
                       default=8, help='examples a batch in evaluation')
    group.add_argument('--optimizer', default='bertadam', help='bertadam, lamb, adamw …')
    add_step_flags(group, learning_rate=1e-4, warmup_ratio=0.01)
    group.add_argument('--seed', type=int, default=0, help='of every random choice')
