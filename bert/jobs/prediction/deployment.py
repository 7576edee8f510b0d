"""Runs an exported model: labels, answers, scores and latency."""
import math

from bert import file_names
from bert.errors import UserError
from bert.flags.option_kinds import refuse_other_kinds
from bert.flags.prediction import AnswerOptions
from bert.jobs.exporting.cached_exports import exported_folder
from bert.jobs.prediction import classification, question_answering, ranking
from bert.jobs.prediction.text_prediction import WRITERS
from bert.jobs.runs import results, sets_from_options
from bert.model.kernels import cpu
from bert.percentiles import MIN_VALUES
from bert.pipelines.exported import open_exported_pipeline
from bert.pipelines.task_file import kind_of
from bert.quantization import speed
from bert.train.devices import pick_device
from bert.train.metrics import format_metrics


def deploy(options, explicit):
    """Label texts, answer questions, score or measure. Returns a `JobResult`. Raises
    `UserError`."""
    device = pick_device(options.gpu)
    classification.check_output_file(options)
    folder = exported_folder(options.model_dir, options.engine, options.threads)
    model = open_exported_pipeline(folder, options.model_prefix, options.engine, device,
                                   options.threads)
    model = ranking.model_for_query(model, options)
    kind = kind_of(model.task)
    refuse_other_kinds(options, explicit, kind)
    classification.apply_threshold(model, options)
    if options.measure:
        return results.JobResult(measure_latency(model, options))
    if options.evaluate:
        return results.JobResult(score_dev_sets(model, options, explicit))
    if kind != file_names.QUESTION_ANSWERING:
        return results.JobResult({'texts': WRITERS[kind](model, options, explicit)})
    if options.top_k is None:
        options = options.replace(top_k=AnswerOptions.default_of('top_k'))
    sources = question_sources(options)
    sources.check()
    return results.JobResult({
        'questions': question_answering.write_answers(model, options, sources)})


def question_sources(options):
    """The `QuestionSources` of the texts and --file."""
    question, documents = (options.texts or (None,))[0], options.texts[1:]
    if options.file is not None and options.file.endswith('.jsonl'):
        return question_answering.QuestionSources(question, documents, None, options.file)
    return question_answering.QuestionSources(question, documents,
                                              options.file and (options.file,), None)


# Scores and speed


def score_dev_sets(model, options, explicit):
    """Score the dev sets of the model's task; print and write the scores."""
    if kind_of(model.task) == file_names.QUESTION_ANSWERING:
        question_answering.apply_answer_options(model, options)
    scores = {}
    dev_sets = sets_from_options.read_evaluation_sets(options, explicit, model, ['dev'])
    for name, dev_set in dev_sets.items():
        scores[name] = dev_set.scores(dev_set.outputs(model, options.batch_size))
        print('%s (%s, %d examples): %s' % (name, dev_set.source, len(dev_set),
                                            format_metrics(scores[name].items())))
        for metric, value in scores[name].items():
            if math.isnan(value):
                print('  %s has no value: %s' % (metric, getattr(value, 'reason', 'undefined')))
    return _make_report(options, model, metrics=scores)


def measure_latency(model, options):
    """Measure latency and throughput for each batch size and length; print and write them."""
    if max(options.lengths) > model.config.max_length:
        raise UserError('--lengths %d: this model has %d positions'
                        % (max(options.lengths), model.config.max_length))
    latencies = []
    print(' '.join(cpu.vector_flags()) or 'no vector instructions known', '·', model.network.name,
          '·', '%d threads' % options.threads)
    print('%5s %6s %10s %10s %10s %12s' % ('batch', 'tokens', 'p50 ms', 'p90 ms', 'p99 ms',
                                           'examples/s'))
    for size in options.batch_sizes:
        for length in options.lengths:
            batch = speed.random_batch(size, length, model.config.vocab_size)
            seconds = speed.time_batch(model.network, batch, options.rounds)
            latency = speed.summarize_latency(seconds, size)
            latencies.append(dict(latency, batch_size=size, length=length))
            percentiles = ['-' if value is None else '%.2f' % value for value in (
                latency['p50_ms'], latency['p90_ms'], latency['p99_ms'])]
            print('%5d %6d %10s %10s %10s %12.1f' % (
                size, length, *percentiles, latency['examples_per_second']), flush=True)
    if options.rounds < MIN_VALUES:
        print('- : this percentile needs at least %d rounds' % MIN_VALUES)
    return _make_report(options, model, latency=latencies)


def _make_report(options, model, **values):
    values = dict(values, task=kind_of(model.task), engine=model.network.name)
    if options.output:
        return results.write_report(options.output, options, **values)
    return values
