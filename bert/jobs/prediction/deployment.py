"""Runs an exported model: labels, answers, scores and latency."""
from bert.errors import UserError
from bert.flags.common import refuse_flags
from bert.jobs.prediction import classification, question_answering
from bert.jobs.runs import results, sets_from_flags
from bert.model.kernels import cpu
from bert.pipelines.classification import Classifier
from bert.pipelines.exported import open_exported_pipeline
from bert.pipelines.opening import kind_of
from bert.quantization import speed
from bert.train.devices import pick_device
from bert.train.metrics import format_metrics

# Options that mean something only for a part of the work
ANSWER_OPTIONS = ('top_k', 'version_2', 'null_score_diff_threshold', 'max_answer_length')
TEXT_OPTIONS = ('pair', 'text_columns', 'label_column', 'task_name')
SCORE_OPTIONS = ('task_name', 'data_dir', 'dev_file', 'label_column', 'max_eval_samples')
SPEED_OPTIONS = ('batch_sizes', 'lengths', 'rounds')


def deploy(args):
    """Do what the parsed flags of deploy.py say; returns the report, or the number of texts."""
    check_deployment_flags(args)
    device = pick_device(args.gpu)
    classification.check_output_file(args)
    model = open_exported_pipeline(args.model_dir, args.model_prefix, args.engine, device,
                                   args.threads)
    is_classifier = isinstance(model, Classifier)
    refuse_flags(args, ANSWER_OPTIONS if is_classifier else TEXT_OPTIONS, 'the model in %s %s' % (
        args.model_dir, 'labels texts' if is_classifier else 'answers questions'))
    if args.measure:
        return measure_latency(model, args)
    if args.evaluate:
        return score_dev_sets(model, args, device)
    if is_classifier:
        return classification.write_labels(model, args, device)
    return question_answering.write_answers(model, _set_answer_flags(args), device)


def check_deployment_flags(args):
    """Raises `UserError` for flags that contradict each other or would have no effect."""
    if args.evaluate and args.measure:
        raise UserError('--evaluate and --measure: give one of the two')
    if (args.evaluate or args.measure) and (args.texts or args.file):
        raise UserError('--evaluate and --measure take no texts: leave them and --file out')
    if not args.evaluate:
        refuse_flags(args, SCORE_OPTIONS, 'it is for --evaluate')
        if not args.file:
            refuse_flags(args, ('text_columns',), 'it is for --file and --dev_file')
    else:
        refuse_flags(args, ('top_k', 'pair'), 'it is not for --evaluate')
    if not args.measure:
        refuse_flags(args, SPEED_OPTIONS, 'it is for --measure')
    else:
        refuse_flags(args, ANSWER_OPTIONS + ('pair', 'text_columns', 'batch_size'),
                     'it is not for --measure')
    if args.evaluate or args.measure:
        refuse_flags(args, ('format',), '--evaluate and --measure write JSON')


def _set_answer_flags(args):
    """Set the flags of answer.py in `args`, from the flags of deploy.py; returns `args`."""
    args.question, args.documents = (args.texts or [None])[0], args.texts[1:]
    args.jsonl = None
    if args.file is not None and args.file.endswith('.jsonl'):
        args.jsonl, args.file = args.file, None
    args.file = args.file and [args.file]
    question_answering.check_question_flags(args)
    return args


# Scores and speed


def score_dev_sets(model, args, device):
    """Score the dev sets of the model's task; print and write the scores."""
    if not isinstance(model, Classifier):
        question_answering.apply_answer_flags(model, args)
    scores = {}
    for name, dev_set in sets_from_flags.read_evaluation_sets(args, model, ['dev']).items():
        scores[name] = dev_set.scores(dev_set.outputs(model, args.batch_size, device))
        print('%s (%s, %d examples): %s' % (name, dev_set.source, len(dev_set),
                                            format_metrics(scores[name].items())))
    return _make_report(args, model, metrics=scores)


def measure_latency(model, args):
    """Measure latency and throughput for each batch size and length; print and write them."""
    if max(args.lengths) > model.config.max_length:
        raise UserError('--lengths %d: this model has %d positions'
                        % (max(args.lengths), model.config.max_length))
    latencies = []
    print(' '.join(cpu.vector_flags()) or 'no vector instructions known', '·', model.network.name,
          '·', '%d threads' % args.threads)
    print('%5s %6s %10s %10s %10s %12s' % ('batch', 'tokens', 'p50 ms', 'p90 ms', 'p99 ms',
                                           'examples/s'))
    for size in args.batch_sizes:
        for length in args.lengths:
            batch = speed.random_batch(size, length, model.config.vocab_size)
            seconds = speed.time_batch(model.network, batch, args.rounds)
            latency = speed.summarize_latency(seconds, size)
            latencies.append(dict(latency, batch_size=size, length=length))
            print('%5d %6d %10.2f %10.2f %10.2f %12.1f' % (
                size, length, latency['p50_ms'], latency['p90_ms'], latency['p99_ms'],
                latency['examples_per_second']), flush=True)
    return _make_report(args, model, latency=latencies)


def _make_report(args, model, **values):
    values = dict(values, task=kind_of(model.task), engine=model.network.name)
    if args.output:
        return results.write_report(args.output, args, **values)
    return values
