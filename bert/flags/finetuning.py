"""Flags of the fine-tuning scripts and of scripts that read the same models and files."""
from bert.flags.common import (
    add_step_flags,
    add_training_device_flags,
    comma_list,
    number_type,
    positive_int,
    seed_list,
)
from bert.flags.deployment import add_only_calibration_flags


def add_classifier_flags(parser):
    """All flags of finetune_classifier.py."""
    add_task_flags(parser)
    add_model_flags(parser)
    add_optimizer_flags(parser, learning_rate=2e-5, epochs=3, batch_size=32)
    add_only_calibration_flags(parser, num_calib_batches=5)
    add_training_device_flags(parser)
    add_run_output_flags(parser)


def add_question_answering_flags(parser):
    """All flags of finetune_squad.py."""
    group = add_squad_flags(parser)
    add_squad_training_flags(group)
    group.add_argument('--round_to', type=positive_int, metavar='N',
                       help='pad each training batch to a multiple of N tokens')
    add_model_flags(parser)
    add_optimizer_flags(parser, learning_rate=5e-5, epochs=3, batch_size=32)
    add_only_calibration_flags(parser, num_calib_batches=10)
    add_training_device_flags(parser)
    add_run_output_flags(parser, log_interval=50)


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
    add_step_flags(group, learning_rate, warmup_ratio=0.1)
    group.add_argument('--early_stop', type=positive_int, metavar='N',
                       help='stop after N evaluations without a better score')
    group.add_argument('--seed', type=int, default=2, help='of every random choice')
    group.add_argument('--seeds', type=seed_list, metavar='A,B,…',
                       help='train once with each seed, print mean and standard deviation')
    group.add_argument('--max_train_samples', type=positive_int, metavar='N',
                       help='train on N examples, drawn at random')
    group.add_argument('--max_eval_samples', type=positive_int, metavar='N',
                       help='evaluate on N dev examples, drawn at random')


def add_task_flags(parser):
    """The task: its texts, labels and lengths."""
    group = parser.add_argument_group('task')
    group.add_argument('--task_name',
                       help='MRPC (the default), QQP, QNLI, RTE, STS-B, CoLA, MNLI, WNLI, SST, '
                            'XNLI, LCQMC, ChnSentiCorp, RottenTomatoes; or a name for your own '
                            'files')
    group.add_argument('--data_dir', metavar='FOLDER',
                       help='folder of the task, or its parent; default: GLUE_DIR (Chinese '
                            'tasks: BAIDU_ERNIE_DATA_DIR), ./glue_data, ., the cache, a download')
    for kind in ('train', 'dev', 'test'):
        group.add_argument('--%s_file' % kind, metavar='FILE',
                           help='your own data: .csv, .tsv or .jsonl')
    group.add_argument('--text_columns', type=comma_list, metavar='A[,B]',
                       help='columns of the text or pair in your own files, by name; by number '
                            'from 0 in files without a header')
    group.add_argument('--label_column', metavar='C', help='column of the label, likewise')
    group.add_argument('--classes', type=comma_list, metavar='X,Y,…',
                       help='classes of your own files in order; default: those found')
    group.add_argument('--regression', action='store_true',
                       help='labels of your own files are numbers')
    group.add_argument('--skip_bad_rows', action='store_true',
                       help='leave bad rows out and report them, instead of stopping')
    group.add_argument('--max_len', type=int, default=128,
                       help='tokens an example at most, special tokens included')
    group.add_argument('--round_to', type=positive_int, metavar='N',
                       help='pad each batch to a multiple of N tokens')
    group.add_argument('--pad', action='store_true', help='pad each batch to --max_len')
    group.add_argument('--dev_batch_size', '--test_batch_size', type=positive_int,
                       default=32, help='examples a batch in evaluation')
    group.add_argument('--only_inference', action='store_true',
                       help='no training: evaluate on dev once, predict test')


def add_squad_flags(parser, max_seq_length=384):
    """The SQuAD files, their windows and the predictions. Returns the group of flags."""
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
    group.add_argument('--null_score_diff_threshold', type=number_type(float, 'a number'),
                       default=0.0,
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
    """More flags beside `add_squad_flags`, for scripts that train."""
    group.add_argument('--train_file', metavar='FILE', help='the questions to train on')
    group.add_argument('--only_predict', action='store_true',
                       help='no training: predict dev with --model_parameters, or with a '
                            '--bert_checkpoint that is a whole question-answering model')
    group.add_argument('--evaluate_epochs', action='store_true',
                       help='score dev after every epoch, and keep the best by F1; without it the '
                            'last one counts, as in the original')


def add_static_flags(group):
    group.add_argument('--seq_length', type=positive_int, metavar='TOKENS',
                       help='length of every window, padding included; default: the environment\'s '
                            'SEQLENGTH, --max_seq_length, else 384')
    group.add_argument('--input_size', type=positive_int, metavar='WIDTH',
                       help='width of a token\'s vector, which must be the model\'s; default: the '
                            'environment\'s INPUTSIZE, else the model\'s')
    group.add_argument('--export', action='store_true',
                       help='write the network as static_net-symbol.json and static_net-….params')


def add_run_output_flags(parser, log_interval=10):
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
