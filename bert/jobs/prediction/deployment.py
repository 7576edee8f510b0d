"""Running an exported model: labels, answers, scores and latency."""


from bert.errors import UserError
from bert.flags.common import refuse
from bert.jobs.prediction import classification, question_answering
from bert.jobs.runs import results, sets_from_flags
from bert.model.kernels import cpu
from bert.pipelines.classification import Classifier
from bert.pipelines.exported import open_exported
from bert.pipelines.opening import kind_of
from bert.quantization import speed
from bert.train.devices import pick_device
from bert.train.metrics import format_metrics

# Options that say something only to a part of the work
OF_ANSWERS = ('top_k', 'version_2', 'null_score_diff_threshold', 'max_answer_length')
OF_TEXTS = ('pair', 'text_columns', 'label_column', 'task_name')
OF_SCORES = ('task_name', 'data_dir', 'dev_file', 'label_column', 'max_eval_samples')
OF_SPEED = ('batch_sizes', 'lengths', 'rounds')


def run(args):
    """Do what the parsed flags of deploy.py say; returns the report, or the number of texts."""
    check_flags(args)
    device = pick_device(args.gpu)
    classification.check_output(args)
    model = open_exported(args.model_dir, args.model_prefix, args.engine, device, args.threads)
    is_classifier = isinstance(model, Classifier)
    refuse(args, OF_ANSWERS if is_classifier else OF_TEXTS, 'the model in %s %s' % (
        args.model_dir, 'labels texts' if is_classifier else 'answers questions'))
    if args.measure:
        return measure(model, args)
    if args.evaluate:
        return evaluate(model, args, device)
    if is_classifier:
        return classification.label_texts(model, args, device)
    return question_answering.answer_questions(model, _as_questions(args), device)


def check_flags(args):
    """Raises `UserError` for flags that contradict each other, or would do nothing."""
    if args.evaluate and args.measure:
        raise UserError('--evaluate and --measure: give one of the two')
    if (args.evaluate or args.measure) and (args.texts or args.file):
        raise UserError('--evaluate and --measure take no texts: leave them and --file out')
    if not args.evaluate:
        refuse(args, OF_SCORES, 'it is for --evaluate')
        if not args.file:
            refuse(args, ('text_columns',), 'it is for --file and --dev_file')
    else:
        refuse(args, ('top_k', 'pair'), 'it is not for --evaluate')
    if not args.measure:
        refuse(args, OF_SPEED, 'it is for --measure')
    else:
        refuse(args, OF_ANSWERS + ('pair', 'text_columns', 'batch_size'),
               'it is not for --measure')
    if args.evaluate or args.measure:
        refuse(args, ('format',), '--evaluate and --measure write JSON')


def _as_questions(args):
    """The flags under the names that answer.py has for them."""
    args.question, args.documents = (args.texts or [None])[0], args.texts[1:]
    args.jsonl = None
    if args.file is not None and args.file.endswith('.jsonl'):
        args.jsonl, args.file = args.file, None
    args.file = args.file and [args.file]
    question_answering.check_flags(args)
    return args



# Scores and speed


def evaluate(model, args, device):
    """Score the dev sets of the model's task; print and write the scores."""
    if not isinstance(model, Classifier):
        question_answering.adapt(model, args)
    scores = {}
    for name, one in sets_from_flags.read_segments(args, model, ['dev']).items():
        scores[name] = one.scores(one.outputs(model, args.batch_size, device))
        print('%s (%s, %d examples): %s' % (name, one.source, len(one),
                                            format_metrics(scores[name].items())))
    return _report(args, model, metrics=scores)


def measure(model, args):
    """Latency and throughput for each batch size and length; print and write them."""
    if max(args.lengths) > model.config.max_length:
        raise UserError('--lengths %d: this model has %d positions'
                        % (max(args.lengths), model.config.max_length))
    found = []
    print(' '.join(cpu.vector_flags()) or 'no vector instructions known', '·', model.network.name,
          '·', '%d threads' % args.threads)
    print('%5s %6s %10s %10s %10s %12s' % ('batch', 'tokens', 'p50 ms', 'p90 ms', 'p99 ms',
                                           'examples/s'))
    for size in args.batch_sizes:
        for length in args.lengths:
            batch = speed.random_batch(size, length, model.config.vocab_size)
            one = speed.summarize(speed.time_batch(model.network, batch, args.rounds), size)
            found.append(dict(one, batch_size=size, length=length))
            print('%5d %6d %10.2f %10.2f %10.2f %12.1f' % (
                size, length, one['p50_ms'], one['p90_ms'], one['p99_ms'],
                one['examples_per_second']), flush=True)
    return _report(args, model, latency=found)


def _report(args, model, **values):
    values = dict(values, task=kind_of(model.task), engine=model.network.name)
    if args.output:
        return results.write_report(args.output, args, **values)
    return values
