"""Options of pre-training, and of creating its data."""
from bert.flags import kinds
from bert.flags.common import HUB_NAME, StepOptions, ThreadOptions
from bert.flags.options import Options, flag, options
from bert.flags.parser import UNSUPPORTED_FLAGS
from bert.flags.rules import Rule, excludes, needs
from bert.flags.threads import prepare_mxnet, usable_cores

OWN_WEIGHTS = ('--bert_checkpoint has its own weights and sizes: leave out --pretrained and '
               '--bert_config')
# SentencePiece's other flags, in scripts that read text
UNSUPPORTED_TEXT_FLAGS = {flag: UNSUPPORTED_FLAGS['--sentencepiece']
                          for flag in ('--sp_nbest', '--sp_alpha')}


@options('text')
class TextReadingOptions(Options):
    """How to read the text from which examples are drawn."""
    cased: bool = flag('keep case and accents; default: as the vocabulary needs it', False)
    tokenized: bool = flag('the text is already split into tokens of the vocabulary, with spaces '
                           'between them', False)
    sentence_splitter: str = flag(
        'lines: one sentence per line; nltk: prose, split by Punkt (NLTK\'s English model if it is '
        'installed, else a model trained on the text)', 'lines', choices=('lines', 'nltk'))


@options('examples')
class ExampleSamplingOptions(Options):
    """How to draw pre-training examples."""
    max_seq_length: int = flag('maximum length of an example in tokens, special tokens included',
                               128, kinds.positive_int)
    max_predictions_per_seq: int = flag('maximum number of tokens to predict in an example', 20,
                                        kinds.positive_int)
    masked_lm_prob: float = flag('share of the tokens to predict', 0.15, kinds.ratio)
    short_seq_prob: float = flag('share of the documents that are cut into shorter examples', 0.1,
                                 kinds.ratio)
    whole_word_mask: bool = flag('choose all pieces of a word, or none of them', False)


# create_pretraining_data.py


def _find_engine_problem(options, explicit):
    if options.scheduler and options.engine != 'dask':
        return '--scheduler needs --engine dask'
    if options.engine == 'dask' and not options.scheduler:
        return '--engine dask needs --scheduler ADDRESS, such as tcp://host:8786'
    return None


@options('text')
class InputTextOptions(Options):
    input_file: str = flag(
        'UTF-8 text with one sentence per line and an empty line between documents: a comma list '
        'of names and wildcards; sample_text.txt comes with this package', metavar='FILES',
        required=True)
    vocab: str = flag('vocabulary: a corpus that models.py lists, such as '
                      'book_corpus_wiki_en_uncased, or a vocab.txt', metavar='NAME', required=True,
                      names=('--vocab', '--dataset_name'))


@options('examples')
class RandomSeedOptions(Options):
    random_seed: int = flag('seed of every random choice', 12345, kinds.whole_number,
                            names=('--random_seed', '--seed'))


@options('work and output')
class DataOutputOptions(Options):
    output_dir: str = flag('output folder: part-000.npz …, manifest.json, vocab.txt and '
                           'results.json', metavar='FOLDER', required=True)
    dupe_factor: int = flag('number of copies of the text, each with other random choices', 5,
                            kinds.positive_int)
    num_outputs: int | None = flag('number of files; default: one for each 8 MiB of text, all '
                                   'copies counted', None, kinds.positive_int, metavar='N')
    format: str = flag('format of the files', 'numpy', choices=('numpy',))
    num_workers: int = flag('number of processes; the output does not depend on it',
                            kind=kinds.positive_int, factory=usable_cores, metavar='N')
    engine: str = flag('executor: processes on this machine, or a Dask cluster', 'processes',
                       choices=('processes', 'dask'))
    scheduler: str | None = flag('address of the scheduler of the Dask cluster, such as '
                                 'tcp://host:8786', metavar='ADDRESS')
    resume: bool = flag('continue an unfinished run; finished files are kept', False)
    overwrite_output_dir: bool = flag('replace the data in --output_dir', False)
    verbose: bool = flag('show the first example', False)
    rules = (excludes('resume', 'overwrite_output_dir'),
             Rule(_find_engine_problem, {'scheduler': 'only with --engine dask'}))


@options()
class CreatePretrainingDataOptions(InputTextOptions, TextReadingOptions, ExampleSamplingOptions,
                                   RandomSeedOptions, DataOutputOptions):
    """create_pretraining_data.py"""
    unsupported = UNSUPPORTED_TEXT_FLAGS


# run_pretraining.py and run_pretraining_hvd.py


@options('data')
class PretrainingDataOptions(Options):
    data: str | None = flag('part-….npz files to train on: a comma list of names and wildcards; '
                            'without this flag: evaluation only', metavar='FILES')
    data_eval: str | None = flag('files to evaluate on, in the form of --data', metavar='FILES')
    allow_pickle: bool = flag('also read files in the format of the original, which can run any '
                              'code that they contain', False)
    num_buckets: int = flag('number of length ranges; the examples of a batch come from one range',
                            1, kinds.positive_int)
    use_avg_len: bool = flag('--batch_size counts tokens (padding included), not examples', False,
                             names=('--use_avg_len', '--by-token'))
    synthetic_data: bool = flag('use random tokens instead of --data, to measure speed; all '
                                'examples have --max_seq_length tokens', False)
    dummy_data_len: int | None = flag('like --synthetic_data, with examples of this length', None,
                                      kinds.positive_int, metavar='TOKENS')


@options('raw text')
class RawTextOptions(TextReadingOptions, ExampleSamplingOptions):
    raw: bool = flag('--data and --data_eval are text, with one sentence per line and an empty '
                     'line between documents; every epoch draws new examples and masks', False)
    eval_use_npz: bool = flag('with --raw: --data_eval is part-….npz files, not text', False)
    num_dataset_workers: int = flag(
        'number of processes that read text; the examples do not depend on it',
        kind=kinds.positive_int, factory=usable_cores, metavar='N',
        names=('--num_dataset_workers', '--num_data_workers'))
    # the original's settings of its loaders, which the seeds print
    num_batch_workers: int | None = flag('no meaning here', None, kinds.whole_number, hidden=True)
    circle_length: int | None = flag('no meaning here', None, kinds.whole_number, hidden=True)
    repeat: int | None = flag('no meaning here', None, kinds.whole_number, hidden=True)
    num_max_dataset_cached: int | None = flag('no meaning here', None, kinds.whole_number,
                                              hidden=True)
    dataset_cached: bool = flag('no meaning here', False, hidden=True)


@options('model')
class PretrainingModelOptions(Options):
    model: str = flag('name of the BERT model; models.py lists the names', 'bert_12_768_12')
    dataset_name: str | None = flag(
        'corpus of the vocabulary and of released weights; with --bert_config also a vocab.txt; '
        'default: the first corpus of the model', metavar='NAME')
    pretrained: bool = flag('start from released weights', False)
    bert_checkpoint: str | None = flag('weights to start from: a folder in Hugging Face layout; '
                                       'a folder of these scripts, or ' + HUB_NAME, metavar='PATH')
    bert_config: str | None = flag('JSON file with your own model sizes: num_layers, units, '
                                   'hidden_size, num_heads and, if needed, max_length …',
                                   metavar='FILE')
    init_std: float = flag('standard deviation of random weights; BERT uses 0.02 for layers of '
                           'width 768', 0.02, kinds.positive_float)
    rules = (excludes('bert_checkpoint', 'pretrained', OWN_WEIGHTS),
             excludes('bert_checkpoint', 'bert_config', OWN_WEIGHTS),
             excludes('pretrained', 'bert_config',
                      '%s and %s: released weights have their own sizes; give one of the two'))


def _find_batch_size_problem(options, explicit):
    if options.total_batch_size and 'batch_size' in explicit:
        return '--total_batch_size and --batch_size: give one of the two'
    return None


@options('training', lr=1e-4, warmup_ratio=0.01)
class PretrainingWorkOptions(StepOptions):
    num_steps: int = flag('number of optimizer steps', 20, kinds.positive_int)
    phase2: bool = flag('continue --bert_checkpoint, a run on shorter examples, with its '
                        'optimizer. The --num_steps further steps have a learning rate of their '
                        'own', False)
    phase1_num_steps: int | None = flag('check that the run in --bert_checkpoint had this number '
                                        'of steps', None, kinds.positive_int, metavar='STEPS')
    batch_size: int = flag('examples per micro-batch', 8, kinds.positive_int)
    total_batch_size: int | None = flag('examples per optimizer step, instead of --batch_size',
                                        None, kinds.positive_int)
    batch_size_eval: int = flag('examples per batch in evaluation', 8, kinds.positive_int,
                                names=('--batch_size_eval', '--total_batch_size_eval'))
    optimizer: str = flag('name of the optimizer: bertadam, lamb, adamw …', 'bertadam')
    seed: int = flag('seed of every random choice', 0, kinds.whole_number)
    rules = (needs('phase1_num_steps', 'phase2', '--phase1_num_steps needs --phase2'),
             # a resumed run brings the batch size that followed from the total
             Rule(_find_batch_size_problem, {'total_batch_size': 'not with --batch_size'}))


@options('output')
class PretrainingOutputOptions(Options):
    ckpt_dir: str = flag('folder of this run: checkpoints, log, results', './ckpt_dir',
                         metavar='FOLDER')
    overwrite_output_dir: bool = flag('replace the run in --ckpt_dir', False)
    resume: bool = flag('continue from the newest checkpoint in --ckpt_dir, with its options',
                        False)
    start_step: int = flag('like --resume, if the newest checkpoint is of this step', 0,
                           kinds.whole_number, metavar='STEP')
    ckpt_interval: int = flag('optimizer steps between checkpoints', 25000, kinds.positive_int,
                              metavar='STEPS')
    eval_interval: int = flag('optimizer steps between evaluations; an evaluation also follows the '
                              'last step', 50000, kinds.positive_int, metavar='STEPS')
    log_interval: int = flag('optimizer steps per log line', 250, kinds.positive_int,
                             metavar='STEPS')
    no_compute_acc: bool = flag('compute only losses, no accuracies', False)
    profile: str | None = flag('write a profile of steps 10 to 14 (JSON for chrome://tracing), and '
                               'stop', metavar='FILE')
    verbose: bool = flag('no meaning: all is logged', False, hidden=True)
    rules = (excludes('resume', 'overwrite_output_dir'),)
    folder_flag = '--ckpt_dir'

    @property
    def continues_run(self):
        return self.resume or bool(self.start_step)

    @property
    def output_dir(self):
        """The folder of the run, by its name in all other jobs."""
        return self.ckpt_dir


@options(max_seq_length=512, max_predictions_per_seq=80)
class _AnyPretrainingOptions(PretrainingDataOptions, RawTextOptions, PretrainingModelOptions,
                             PretrainingWorkOptions, PretrainingOutputOptions):
    """What both scripts share."""
    unsupported = UNSUPPORTED_TEXT_FLAGS
    titles = {'text': 'raw text', 'examples': 'raw text'}
    rules = (needs('phase2', 'bert_checkpoint', '--phase2: name the --ckpt_dir of phase 1 with '
                                                '--bert_checkpoint, and a new --ckpt_dir'),)

    @property
    def draws_synthetic_data(self):
        return self.synthetic_data or bool(self.dummy_data_len)

    def prepare_mxnet(self):
        trains = bool(self.data or self.draws_synthetic_data or self.resume or self.start_step)
        prepare_mxnet(self.threads, training=self.gpus is None and trains)


@options('device')
class _SeveralGpuOptions(ThreadOptions):
    gpus: tuple | None = flag('numbers of the GPUs to use; without this flag: the CPU', None,
                              kinds.distinct_int_list, metavar='A,B,…')
    kvstore: str = flag('how gradients are summed over GPUs', 'device', choices=('device',))
    comm_backend: str | None = flag(
        'horovod: train together with the other workers that horovodrun started; horovod is the '
        'default if horovodrun started the script', choices=('horovod', 'device'))


@options()
class RunPretrainingOptions(_AnyPretrainingOptions, _SeveralGpuOptions):
    """run_pretraining.py"""


@options()
class RunPretrainingHorovodOptions(_AnyPretrainingOptions, ThreadOptions):
    """run_pretraining_hvd.py"""
    comm_backend, gpus = 'horovod', None
