"""Flags that scripts share, and a parser that answers mistakes in one line.

Nothing here imports mxnet: `--help` answers at once, and `--threads` is set before MXNet
reads it.
"""
import argparse
import math
import os
import re
import sys

from bert import layout, memory
from bert.errors import EXIT_USER_ERROR, nearest

# Flags of the original scripts that this zoo leaves out, and what to use instead.
LEFT_OUT = {
    '--sentencepiece': 'SentencePiece models are not supported; a BERT vocabulary is a vocab.txt, '
                       'see --bert_checkpoint',
    '--custom_pass_lib': 'compiled graph passes are not part of this zoo',
    '--custom_passes': 'compiled graph passes are not part of this zoo',
    '--comm_backend': 'it has no meaning here; this script runs in one process',
}

# The same for scripts that read text to pre-train on.
LEFT_OUT_OF_TEXT = {flag: LEFT_OUT['--sentencepiece'] for flag in ('--sp_nbest', '--sp_alpha')}

# The same for the fine-tuning scripts.
LEFT_OUT_OF_TRAINING = dict(
    {flag: 'an exported model is run by deploy.py --model_dir FOLDER'
     for flag in ('--deploy', '--model_prefix')},
    **{'--tune': 'tuning starts from a trained model: quantize.py --tune --model_dir FOLDER'})

# The same for static_finetune_squad.py.
LEFT_OUT_OF_STATIC_TRAINING = dict(LEFT_OUT_OF_TRAINING, **{
    flag: 'a static network is not calibrated: quantize.py --model_dir FOLDER takes a run of it'
    for flag in ('--only_calibration', '--num_calib_batches', '--quantized_dtype', '--calib_mode')})

# What other programs call flags of ours.
RENAMED = {'--learning_rate': '--lr', '--max_seq_length': '--max_len', '--max_length': '--max_len',
           '--num_train_epochs': '--epochs', '--model_name_or_path': '--bert_checkpoint',
           '--per_device_train_batch_size': '--batch_size',
           '--gradient_accumulation_steps': '--accumulate'}


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Adds the default to a flag's help, unless there is none or the help names it."""

    def _get_help_string(self, action):
        if action.default is None or action.default is False or 'default:' in action.help:
            return action.help
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """argparse with defaults in `--help`, no abbreviations, near spellings for an unknown
    flag, and the reason for a flag that was left out.

    left_out: {flag: reason} beside the general `LEFT_OUT`.
    Parsed arguments have `given`: the set of names that the command line set.
    """

    def __init__(self, description, left_out=None):
        super().__init__(description=description, allow_abbrev=False,
                         formatter_class=HelpFormatter)
        self._left_out = dict(LEFT_OUT, **(left_out or {}))

    def parse_args(self, args=None, namespace=None):
        arguments = list(sys.argv[1:] if args is None else args)
        for argument in arguments:
            self._check_flag(argument.split('=')[0])
        parsed, unknown = self.parse_known_args(arguments)
        if unknown:     # flags between texts; not at once, for it knows no "--"
            parsed, unknown = self.parse_known_intermixed_args(arguments)
        if unknown:
            self.error('unknown argument %s' % unknown[0])
        parsed.given = self._given(arguments)
        return parsed

    def _check_flag(self, flag):
        """Explain a flag that isn't there, before argparse asks for the required ones."""
        if not re.match('--[a-zA-Z]', flag) or flag in self._option_string_actions:
            return
        if flag in self._left_out:
            self.error('%s: %s' % (flag, self._left_out[flag]))
        if RENAMED.get(flag) in self._option_string_actions:
            self.error('%s is called %s here' % (flag, RENAMED[flag]))
        self.error('unknown argument %s.%s' % (flag, nearest(flag, self._option_string_actions)))

    def _given(self, arguments):
        """Names of the options that `arguments` set, whatever their value."""
        defaults = {action: action.default for action in self._actions}
        try:
            for action in self._actions:
                action.default = argparse.SUPPRESS
            return set(vars(self.parse_known_args(arguments)[0]))
        finally:
            for action, default in defaults.items():
                action.default = default

    def error(self, message):
        self.exit(EXIT_USER_ERROR, 'error: %s (%s --help lists the flags)\n'
                  % (message, self.prog))


def number(kind, expected, low=-math.inf, high=math.inf, above=-math.inf):
    """A flag's type: an int or float (`kind`) from `low` to `high` and greater than `above`;
    `expected` says so in the error."""
    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and low <= value <= high and value > above):
            raise argparse.ArgumentTypeError('%s found, %s expected' % (text, expected))
        return value
    return parse


positive_int = number(int, 'a whole number from 1 on', low=1)
positive = number(float, 'a number above 0', above=0)
not_negative = number(float, 'a number from 0 on', low=0)
ratio = number(float, 'a number from 0 to 1', low=0, high=1)


def comma_list(text):
    return tuple(part.strip() for part in text.split(','))


def int_list(text):
    parts = [part.strip() for part in text.split(',')]
    if not all(part.isdigit() and int(part) for part in parts):
        raise argparse.ArgumentTypeError('%s found, whole numbers from 1 on with commas between '
                                         'them expected' % text)
    return tuple(map(int, parts))


def seed_list(text):
    parts = [part.strip() for part in text.split(',')]
    if not all(part.isdigit() for part in parts) or len(set(parts)) != len(parts):
        raise argparse.ArgumentTypeError('%s found, different whole numbers from 0 on with commas '
                                         'between them expected' % text)
    return tuple(int(part) for part in parts)


def add_device_flags(parser):
    group = parser.add_argument_group('device')
    group.add_argument('--gpu', type=int, nargs='?', const=0, metavar='ID',
                       help='GPU to use, alone or with its number; left out: the CPU')
    add_threads_flag(group)


def add_training_device_flags(parser):
    """The same for a script that several workers can run together."""
    add_device_flags(parser)
    add_backend_flag(parser)


def add_backend_flag(parser, others=()):
    parser.add_argument('--comm_backend', choices=('horovod',) + others,
                        help='horovod: train together with the other workers of horovodrun, which '
                             'is also the default where that starts the script')


def add_threads_flag(group):
    group.add_argument('--threads', type=positive_int, default=cores_a_worker(),
                       help='CPU threads')


def add_model_flags(parser):
    group = parser.add_argument_group('model')
    group.add_argument('--bert_model', default='bert_12_768_12',
                       help='which BERT; models.py lists them')
    group.add_argument('--bert_dataset', default=None,
                       help='corpus it was pre-trained on; default: book_corpus_wiki_en_uncased, '
                            'wiki_cn_cased for a Chinese task, or the only one of the model')
    group.add_argument('--bert_checkpoint', metavar='PATH',
                       help='weights instead of the two above: a folder in Hugging Face layout, '
                            'one of its files (.safetensors, .index.json, .bin), a Gluon .params, '
                            'or a checkpoint folder of ours')
    group.add_argument('--pretrained_bert_parameters', metavar='FILE',
                       help='.params of the encoder only')
    group.add_argument('--model_parameters', metavar='FILE',
                       help='.params of the whole model, head included')


def _add_step_flags(group, learning_rate, warmup_ratio):
    """What an optimizer step is."""
    group.add_argument('--accumulate', type=positive_int, default=1,
                       help='micro-batches an optimizer step')
    group.add_argument('--lr', type=positive, default=learning_rate, help='peak learning rate')
    group.add_argument('--epsilon', type=positive, default=1e-6, help='of Adam and the like')
    group.add_argument('--warmup_ratio', type=ratio, default=warmup_ratio,
                       help='share of the steps in which the learning rate rises; it falls '
                            'linearly afterwards')
    group.add_argument('--weight_decay', type=not_negative, default=0.01,
                       help='not applied to biases and layer normalisation')
    group.add_argument('--max_grad_norm', type=positive, default=1.0,
                       help='bound of the global norm of the gradient')
    group.add_argument('--dropout', type=ratio, default=0.1, help='in the encoder and the head')
    group.add_argument('--dtype', choices=('float32', 'float16'), default='float32',
                       help='float16 on a GPU only')


def add_optimizer_flags(parser, learning_rate, epochs, batch_size):
    group = parser.add_argument_group('training')
    group.add_argument('--optimizer', default='bertadam',
                       help='bertadam, adamw (it, with bias correction), or any of MXNet: lamb, '
                            'sgd …')
    group.add_argument('--epochs', type=positive_int, default=epochs,
                       help='passes over the training set')
    group.add_argument('--training_steps', type=positive_int,
                       help='optimizer steps in all, instead of --epochs')
    group.add_argument('--batch_size', type=positive_int, default=batch_size,
                       help='training examples a micro-batch')
    _add_step_flags(group, learning_rate, warmup_ratio=0.1)
    group.add_argument('--early_stop', type=positive_int, metavar='N',
                       help='stop after N evaluations without a better score')
    group.add_argument('--seed', type=int, default=2, help='of every random choice')
    group.add_argument('--seeds', type=seed_list, metavar='A,B,…',
                       help='train once with each seed, print mean and standard deviation')
    group.add_argument('--max_train_samples', type=positive_int, metavar='N',
                       help='train on N examples, drawn at random')
    group.add_argument('--max_eval_samples', type=positive_int, metavar='N',
                       help='evaluate on N dev examples, drawn at random')


def add_squad_flags(parser, max_seq_length=384):
    """What a SQuAD file is cut into, and what is predicted."""
    group = parser.add_argument_group('question answering')
    group.add_argument('--version_2', action='store_true',
                       help='SQuAD 2.0: questions may have no answer')
    group.add_argument('--data_dir', metavar='FOLDER',
                       help='folder of train-v1.1.json, dev-v1.1.json (2.0: train-v2.0.json, '
                            'dev-v2.0.json); default: SQUAD_DIR, ./squad, ., the cache, a download')
    group.add_argument('--dev_file', metavar='FILE', help='the questions to predict')
    add_window_flags(group, max_seq_length)
    group.add_argument('--n_best_size', type=positive_int, default=20,
                       help='answers a question in nbest_predictions.json')
    group.add_argument('--max_answer_length', type=positive_int, default=30,
                       help='tokens of an answer')
    group.add_argument('--null_score_diff_threshold', type=number(float, 'a number'), default=0.0,
                       help='with --version_2: predict no answer where it scores better than the '
                            'best span by more than this (logits; typical: -1 to -5)')
    group.add_argument('--threshold_file', metavar='FILE',
                       help='with --version_2: choose that threshold on this SQuAD file, which '
                            'shares no question with dev; --max_eval_samples holds for it too')
    group.add_argument('--debug', action='store_true',
                       help='10000 questions to train on and 100 to predict, unless '
                            '--max_train_samples and --max_eval_samples say otherwise')
    return group


def add_window_flags(group, max_seq_length):
    """How contexts are cut and batched."""
    group.add_argument('--max_seq_length', type=positive_int, default=max_seq_length,
                       help='tokens of a window: question, part of the context and 3 special ones'
                            + ('' if max_seq_length else '; default: --seq_length'))
    group.add_argument('--doc_stride', type=positive_int, default=128,
                       help='tokens from the start of one window to the start of the next')
    group.add_argument('--max_query_length', type=positive_int, default=64,
                       help='tokens of a question; the rest is cut off, and counted')
    group.add_argument('--uncased', action='store_true',
                       help='lower-case the text; default: as the vocabulary of the model wants')
    group.add_argument('--test_batch_size', type=positive_int, default=24,
                       help='windows a batch in prediction')


def add_squad_training_flags(group):
    """Beside `add_squad_flags`, for scripts that train."""
    group.add_argument('--train_file', metavar='FILE', help='the questions to train on')
    group.add_argument('--only_predict', action='store_true',
                       help='no training: predict dev with --model_parameters, or with a '
                            '--bert_checkpoint that is a whole question-answering model')
    group.add_argument('--evaluate_epochs', action='store_true',
                       help='score dev after every epoch, and keep the best by F1; without it the '
                            'last one counts, as in the original')


def add_answer_flags(parser):
    """What is told of the answers to questions."""
    parser.add_argument('--top_k', type=positive_int, default=3,
                        help='answers a question at most')
    parser.add_argument('--version_2', action='store_true',
                        help='the model may find no answer; for a model of transformers, which '
                             'doesn\'t say')
    parser.add_argument('--null_score_diff_threshold', metavar='X',
                        type=number(float, 'a number'),
                        help='no answer where that scores better by more than X; default: as '
                             'trained')
    parser.add_argument('--max_answer_length', type=positive_int, metavar='N',
                        help='tokens of an answer; default: as trained')


def add_only_calibration_flags(parser, num_calib_batches):
    """The same in a script that also trains."""
    group = add_calibration_flags(parser, num_calib_batches)
    group.add_argument('--only_calibration', action='store_true',
                       help='no training: make an INT8 network of the parameters, compare it with '
                            'them on dev')


def add_calibration_flags(parser, num_calib_batches):
    """How an INT8 network is made; returns the group of flags."""
    group = parser.add_argument_group('calibration')
    group.add_argument('--num_calib_batches', type=positive_int, default=num_calib_batches,
                       help='batches of training data to calibrate on')
    group.add_argument('--calib_batch_size', type=positive_int, default=32,
                       help='texts or windows in each')
    group.add_argument('--quantized_dtype', choices=('auto', 'int8', 'uint8'), default='auto',
                       help='of activations; auto: uint8 where nothing negative was seen')
    group.add_argument('--calib_mode', choices=('customize', 'naive', 'entropy', 'none'),
                       default='customize',
                       help='how the range of each activation is found: customize: least and '
                            'greatest value seen, cut for layer normalisation and GELU; naive: not '
                            'cut; entropy: by Kullback-Leibler divergence; none: anew for every '
                            'batch that is computed')
    return group


def add_tuning_flags(parser):
    """What an accuracy-driven search is told."""
    group = parser.add_argument_group('tuning')
    group.add_argument('--tune', action='store_true',
                       help='return operators to float until the score is within the goal')
    group.add_argument('--config', metavar='FILE',
                       help='YAML with the goal and when to stop; default: conf.yaml or bert.yaml '
                            'in the current folder, else a relative loss of 0.01')
    group.add_argument('--rebuild', type=positive_int, metavar='N',
                       help='with --resume: write the network of trial N')


def add_labelled_flags(group):
    """Where the examples are that a model is scored on."""
    group.add_argument('--task_name', metavar='TASK',
                       help='a task of the table; default: the one that the model was trained on')
    group.add_argument('--data_dir', metavar='FOLDER',
                       help='folder of its files; default: as the script that trains looks')
    group.add_argument('--train_file', metavar='FILE', help='files of your own: to train on')
    group.add_argument('--dev_file', metavar='FILE', help='and to score on')
    group.add_argument('--label_column', metavar='C', help='column of the label in them')
    group.add_argument('--max_eval_samples', type=positive_int, metavar='N',
                       help='score N examples of each, drawn at random')


def add_static_flags(group):
    group.add_argument('--seq_length', type=positive_int, metavar='TOKENS',
                       help='length of every window, padding included; default: the environment\'s '
                            'SEQLENGTH, --max_seq_length, else 384')
    group.add_argument('--input_size', type=positive_int, metavar='WIDTH',
                       help='width of a token\'s vector, which must be the model\'s; default: the '
                            'environment\'s INPUTSIZE, else the model\'s')
    group.add_argument('--export', action='store_true',
                       help='write the network as static_net-symbol.json and static_net-….params')


def add_export_flags(parser):
    """What is exported, and where to."""
    group = parser.add_argument_group('model')
    group.add_argument('--task', choices=layout.KINDS,
                       help='kind of model; default: as its parameters say')
    group.add_argument('--model_dir', metavar='FOLDER',
                       help='folder of a run of finetune_classifier.py or finetune_squad.py, one '
                            'of its checkpoints, or such a model saved by transformers')
    group.add_argument('--model_parameters', metavar='FILE',
                       help='instead: .params of a whole model; without either the network is '
                            'random')
    group.add_argument('--bert_model', '--model_name', default='bert_12_768_12', metavar='NAME',
                       help='where no config.json lies beside --model_parameters: which BERT')
    group.add_argument('--bert_dataset', '--dataset_name', metavar='NAME',
                       help='the same for the vocabulary: the corpus')
    group.add_argument('--classes', type=comma_list, metavar='A,B,…',
                       help='where no task.json does: the classes in order')
    group.add_argument('--pair', action='store_true', help='the same: texts come in pairs')
    group.add_argument('--seq_length', type=positive_int, metavar='TOKENS',
                       help='longest input that the folder serves; batches are of any length; '
                            'default: as the model was trained')
    group.add_argument('--dropout', type=ratio, default=0.1,
                       help='no meaning: there is none in prediction')
    group.add_argument('--seed', type=int, default=2, help='of a random network')
    group = parser.add_argument_group('output')
    group.add_argument('--output_dir', metavar='FOLDER',
                       help='default: export in --model_dir, else a new '
                            './output_dir/export-<number>')
    group.add_argument('--overwrite_output_dir', action='store_true',
                       help='replace what an earlier export left there')
    add_device_flags(parser)


def add_text_flags(group):
    """How text is read that examples are drawn from."""
    group.add_argument('--cased', action='store_true',
                       help='keep case and accents; default: as the vocabulary wants')
    group.add_argument('--tokenized', action='store_true',
                       help='the text is tokens of the vocabulary with spaces between them')
    group.add_argument('--sentence_splitter', choices=('lines', 'nltk'), default='lines',
                       help='lines: one sentence a line; nltk: prose, split by Punkt (NLTK\'s '
                            'English model where it is installed, else one trained on the text)')


def add_sampling_flags(group, max_seq_length, max_predictions_per_seq):
    """How pre-training examples are drawn."""
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
    """What run_pretraining.py reads, trains and writes."""
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
    """Whether these flags of pre-training ask for training, not for evaluation only, on the CPU."""
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
    add_text_flags(group)
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
    group.add_argument('--init_std', type=positive, default=0.02,
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
    _add_step_flags(group, learning_rate=1e-4, warmup_ratio=0.01)
    group.add_argument('--seed', type=int, default=0, help='of every random choice')


def add_text_output_flags(parser, format_help, batch_size, unit):
    """Where a script writes lines about its texts, and how many it computes at once."""
    parser.add_argument('--output', metavar='FILE', help='default: standard output')
    parser.add_argument('--format', choices=('tsv', 'jsonl'), default='tsv', help=format_help)
    parser.add_argument('--batch_size', type=positive_int, default=batch_size,
                        help=unit + ' a batch')
    parser.add_argument('--overwrite', action='store_true', help='replace an --output that exists')


def add_output_flags(parser, log_interval=10):
    group = parser.add_argument_group('output')
    group.add_argument('--output_dir', metavar='FOLDER',
                       help='folder of this run; default: a new ./output_dir/<task>-<number>')
    group.add_argument('--overwrite_output_dir', action='store_true',
                       help='replace the run that --output_dir holds')
    group.add_argument('--resume', action='store_true',
                       help='go on from the newest checkpoint of the run in --output_dir, with '
                            'its options; without --output_dir: the newest run of the task')
    group.add_argument('--ckpt_interval', type=positive_int, default=500, metavar='STEPS',
                       help='optimizer steps between checkpoints; every epoch ends with one too')
    group.add_argument('--log_interval', type=positive_int, default=log_interval,
                       help='micro-batches a log line')


def usable_cores():
    """Cores this process may use: those of its affinity and of its container's quota."""
    from joblib import cpu_count  # a sixth of a second: not for those who import this module
    return cpu_count()


def cores_a_worker():
    """The usable cores shared out among the workers of Horovod on this machine."""
    return max(1, usable_cores() // int(os.environ.get('HOROVOD_LOCAL_SIZE') or 1))


def prepare_mxnet(threads, training=False, low_latency=False):
    """Have MXNet compute with `threads` threads and keep its memory: call it before mxnet is
    imported. Left alone, MXNet takes half the cores of the machine, thinking the others
    hyper-threads.

    low_latency: threads wait for the next piece of work awake, which halves the time of a small
    batch, and takes the cores from whatever else runs beside.
    """
    os.environ['OMP_NUM_THREADS'] = str(threads)
    if low_latency and threads <= usable_cores():
        os.environ.setdefault('OMP_WAIT_POLICY', 'active')
    memory.keep_freed(training)
