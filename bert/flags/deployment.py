"""Flags for exporting, quantizing and running models."""
from bert import file_names
from bert.flags.common import (
    add_device_flags,
    add_threads_flag,
    comma_list,
    number_type,
    positive_float,
    positive_int,
    ratio,
)

CONFIG_HELP = ('YAML with the goal and when to stop; default: conf.yaml or bert.yaml in the '
               'current folder, else a relative loss of 0.01')


def add_model_dir_flag(parser, **options):
    """The folder of the trained model."""
    parser.add_argument('--model_dir', metavar='FOLDER',
                        help='folder of a run of finetune_classifier.py or finetune_squad.py, one '
                             'of its checkpoints, or such a model saved by transformers', **options)


def add_output_folder_flags(parser, help_text, **options):
    """The output folder. help_text: its default in words. Returns the group of flags."""
    group = parser.add_argument_group('output')
    group.add_argument('--output_dir', metavar='FOLDER', help=help_text, **options)
    group.add_argument('--overwrite_output_dir', action='store_true',
                       help='replace what an earlier run left there')
    return group


def add_answer_flags(parser):
    """How answers to questions are chosen and how many are reported."""
    parser.add_argument('--top_k', type=positive_int, default=3,
                        help='answers a question at most')
    parser.add_argument('--version_2', action='store_true',
                        help='the model may find no answer; for a model of transformers, which '
                             'doesn\'t say')
    parser.add_argument('--null_score_diff_threshold', metavar='X',
                        type=number_type(float, 'a number'),
                        help='no answer where that scores better by more than X; default: as '
                             'trained')
    parser.add_argument('--max_answer_length', type=positive_int, metavar='N',
                        help='tokens of an answer; default: as trained')


def add_quantization_flags(parser):
    """All flags of quantize.py."""
    add_model_dir_flag(parser, required=True)
    add_calibration_flags(parser, num_calib_batches=5)
    group = parser.add_argument_group('data')
    add_evaluation_set_flags(group)
    group.add_argument('--train_file', metavar='FILE',
                       help='beside --dev_file: to calibrate on, of your own too')
    group.add_argument('--text_columns', type=comma_list, metavar='A[,B]',
                       help='columns of the text or pair in files of your own')
    group.add_argument('--max_train_samples', type=positive_int, metavar='N',
                       help='calibrate on some of N training examples, drawn at random')
    group.add_argument('--dev_batch_size', type=positive_int, default=32,
                       help='texts or windows a batch where scores are computed')
    add_tuning_flags(parser)
    group = add_output_folder_flags(parser, 'default: quantized, or tuned, in --model_dir')
    group.add_argument('--resume', action='store_true',
                       help='go on with the tuning run in --output_dir')
    parser.add_argument('--seed', default=2, help='of the bootstrap',
                        type=number_type(int, 'a whole number from 0 to 2^32 - 1', 0, 2 ** 32 - 1))
    add_threads_flag(parser)


def add_only_calibration_flags(parser, num_calib_batches):
    """The same, for a script that also trains."""
    group = add_calibration_flags(parser, num_calib_batches)
    group.add_argument('--only_calibration', action='store_true',
                       help='no training: make an INT8 network of the parameters, compare it with '
                            'them on dev')


def add_calibration_flags(parser, num_calib_batches):
    """How an INT8 network is calibrated. Returns the group of flags."""
    group = parser.add_argument_group('calibration')
    group.add_argument('--num_calib_batches', type=positive_int, default=num_calib_batches,
                       help='batches of training data to calibrate on')
    group.add_argument('--calib_batch_size', type=positive_int, default=32,
                       help='texts or windows in each')
    group.add_argument('--quantized_dtype', choices=('auto', 'int8', 'uint8'), default='auto',
                       help='of activations; auto: uint8 where nothing negative was seen')
    group.add_argument('--calib_mode',
                       choices=file_names.CALIBRATION_MODES + (file_names.FUSED_MODE,),
                       default='customize',
                       help='how the range of each activation is found: customize: least and '
                            'greatest value seen, cut for layer normalisation and GELU; naive: not '
                            'cut; entropy: by Kullback-Leibler divergence; none: anew for every '
                            'batch that is computed; fused: by the CPU kernels of this package '
                            'instead of MXNet\'s operators, anew for every token')
    return group


def add_tuning_flags(parser):
    """Settings of the accuracy-driven search."""
    group = parser.add_argument_group('tuning')
    group.add_argument('--tune', action='store_true',
                       help='return operators to float until the score is within the goal')
    group.add_argument('--config', metavar='FILE',
                       help=CONFIG_HELP)
    group.add_argument('--rebuild', type=positive_int, metavar='N',
                       help='with --resume: write the network of trial N')


def add_evaluation_set_flags(group):
    """The evaluation sets that a model is scored on."""
    group.add_argument('--task_name', metavar='TASK',
                       help='a task of the table; default: the one that the model was trained on')
    group.add_argument('--data_dir', metavar='FOLDER',
                       help='folder of its files; default: as the script that trains looks')
    group.add_argument('--dev_file', metavar='FILE', help='instead: a file of your own')
    group.add_argument('--label_column', metavar='C',
                       help='column of the label in files of your own')
    group.add_argument('--max_eval_samples', type=positive_int, metavar='N',
                       help='score N examples of each, drawn at random')


def add_export_flags(parser, folder_name):
    """The model to export and where to write it. folder_name: default of the output folder."""
    group = parser.add_argument_group('model')
    group.add_argument('--task', choices=file_names.MODEL_KINDS,
                       help='kind of model; default: as its parameters say')
    add_model_dir_flag(group)
    group.add_argument('--model_parameters', metavar='FILE',
                       help='instead: .params of a whole model; without either the network is '
                            'random')
    group.add_argument('--bert_model', '--model_name', default='bert_12_768_12', metavar='NAME',
                       help='where no config.json lies beside --model_parameters: which BERT')
    group.add_argument('--bert_dataset', '--dataset_name', metavar='NAME',
                       help='the same for the vocabulary: the corpus')
    group.add_argument('--classes', type=comma_list, metavar='A,B,…',
                       help='of a classifier, where no task.json tells: the classes in order')
    group.add_argument('--pair', action='store_true',
                       help='the same for texts that come in pairs')
    group.add_argument('--seq_length', type=positive_int, metavar='TOKENS',
                       help='longest input that the folder serves; batches are of any length; '
                            'default: as the model was trained')
    group.add_argument('--dropout', type=ratio, default=0.1,
                       help='no meaning: there is none in prediction')
    group.add_argument('--seed', type=int, default=2, help='of a random network')
    add_output_folder_flags(
        parser, 'default: %s in --model_dir, else a new ./output_dir/%s-<number>'
        % (folder_name, folder_name))
    add_device_flags(parser)


def add_lpot_example_flags(parser, max_seq_length, batch_size, learning_rate):
    """Flags shared by the two commands of lpot's BERT example, under lpot's names."""
    group = parser.add_argument_group('model')
    group.add_argument('--model_type', choices=('bert',), default='bert', help='the only one here')
    group.add_argument('--model_name_or_path', required=True, metavar='NAME',
                       help='bert-base-uncased, bert-large-uncased-whole-word-masking …, or a '
                            'folder: a run of ours, or of transformers')
    group.add_argument('--do_lower_case', action='store_true',
                       help='no meaning: text is lower-cased as the vocabulary wants')
    group = parser.add_argument_group('work')
    group.add_argument('--do_train', action='store_true', help='fine-tune into --output_dir')
    group.add_argument('--do_eval', action='store_true',
                       help='score dev into eval_results.txt in --output_dir')
    group.add_argument('--tune', action='store_true',
                       help='as quantize.py --tune, into tuned in --output_dir')
    group.add_argument('--config', metavar='FILE', help='for --tune: ' + CONFIG_HELP)
    group.add_argument('--resume', action='store_true',
                       help='go on with the run in --output_dir, that was killed')
    group = parser.add_argument_group('data')
    group.add_argument('--max_seq_length', type=positive_int, default=max_seq_length,
                       help='tokens of an example, or window, at most')
    group.add_argument('--overwrite_cache', action='store_true',
                       help='no meaning: what is cached is named by its content')
    for kind in ('train', 'eval'):
        group.add_argument('--max_%s_samples' % kind, type=positive_int, metavar='N',
                           help='take N examples, drawn at random')
    group = parser.add_argument_group('training')
    group.add_argument('--learning_rate', type=positive_float, default=learning_rate,
                       help='peak learning rate; the optimizer is adamw')
    group.add_argument('--num_train_epochs', type=positive_float, default=3.0,
                       help='passes over the training set')
    for kind in ('train', 'eval'):
        group.add_argument('--per_gpu_%s_batch_size' % kind, type=positive_int, default=batch_size,
                           help='examples, or windows, a batch')
    group.add_argument('--seed', type=int, default=42, help='of every random choice')
    add_output_folder_flags(parser, 'folder of the run', required=True)
    group = parser.add_argument_group('device')
    group.add_argument('--no_cuda', action='store_true',
                       help='no meaning: these commands run on the CPU')
    add_threads_flag(group)
