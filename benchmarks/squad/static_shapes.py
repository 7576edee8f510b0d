"""Whether the dynamic network, the static one, and the symbol that it exports answer alike.

Each predicts the same questions with the same parameters in a process of its own: the first two are
the scripts themselves; the third loads the symbol, and no other part of the network. Exit status 1
when an answer differs. Parameters, windows and the search for answers are ours; there is no peer.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

from benchmarks import harness

SCRIPTS = {'dynamic': 'finetune_squad.py', 'static': 'static_finetune_squad.py'}
BATCH_SIZE = 8      # windows; fixed in the symbol


def make_parser():
    parser = harness.make_parser(__doc__, 'static-squad.json')
    harness.add_squad_flags(parser)
    parser.add_argument('--model_dir', required=True, help='a run of finetune_squad.py')
    parser.add_argument('--questions', type=int, default=100, help='drawn from dev')
    parser.add_argument('--symbol', metavar='FOLDER', help='predict by the symbol in this folder '
                        '(what the comparison calls in a new process)')
    return parser


def predict_by_script(args, script, dev, folder, *flags):
    """nbest_predictions.json of a script: {question id: entries}."""
    harness.run_script(script, '--only_predict', '--bert_checkpoint', args.model_dir, '--dev_file',
                       dev, '--test_batch_size', BATCH_SIZE, '--max_eval_samples', args.questions,
                       '--threads', args.threads, '--output_dir', folder, *flags)
    return harness.read_json(folder / 'nbest_predictions.json')


def predict_by_symbol(args):
    """Write the same entries to --output, computed with the symbol in --symbol."""
    import mxnet as mx

    from bert.data.batches import collate, evaluation_batches, subsample
    from bert.data.squad.files import read_squad
    from bert.data.squad.spans import AnswerFinder, n_best_entries
    from bert.data.squad.windows import make_windows
    from bert.export.symbol import import_network
    from bert.pipelines.question_answering import open_question_answerer, pad_batch
    symbol = import_network(args.symbol, 'static_net', mx.cpu(), epoch_of(args.symbol))
    model = open_question_answerer(args.model_dir, mx.cpu())     # for its tokenizer and task
    squad = read_squad(args.dev_file)
    squad = squad.select(subsample(range(len(squad.questions)), args.questions))
    windows = make_windows(squad, model.tokenizer, model.options)
    finder = AnswerFinder(squad, windows, model.task['n_best_size'],
                          model.task['max_answer_length'])
    for indices in evaluation_batches(windows.lengths, BATCH_SIZE):
        batch = pad_batch(collate([windows[i] for i in indices], model.padding_id), BATCH_SIZE,
                          model.max_len, model.padding_id)
        scores = symbol(*[mx.nd.array(array, dtype=array.dtype) for array in batch[:3]]).asnumpy()
        for i, row in zip(indices, scores):
            finder.add(i, row)
    harness.write_json(args.output, {question.id: n_best_entries(answer, model.task['version_2'])
                                     for question, answer in
                                     zip(squad.questions, finder.answers())})


def epoch_of(folder):
    """The number in the name of the symbol's parameters."""
    path = next(pathlib.Path(folder).glob('static_net-*.params'))
    return int(path.stem.rsplit('-', 1)[1])


def compare(expected, predictions):
    """{'questions': their number, 'equal': equal answers, 'largest_difference': of the two scores
    of the best answers}; expected, predictions: {question id: entries}."""
    scores = {name: np.array([[entries[name][0]['start_logit'], entries[name][0]['end_logit']]
                              for entries in (expected, predictions)]) for name in expected}
    return {'questions': len(expected),
            'equal': sum(expected[name][0]['text'] == predictions[name][0]['text']
                         for name in expected),
            'largest_difference': float(max(np.abs(a - b).max() for a, b in scores.values()))}


def compare_ways(args):
    """{way: its comparison with the dynamic network}"""
    dev = harness.squad_file(args, 'dev')
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        dynamic = predict_by_script(args, SCRIPTS['dynamic'], dev, folder / 'dynamic')
        static = predict_by_script(args, SCRIPTS['static'], dev, folder / 'static', '--export')
        symbol_predictions = folder / 'symbol.json'
        subprocess.run([sys.executable, os.path.abspath(__file__), '--model_dir', args.model_dir,
                        '--dev_file', dev, '--questions', str(args.questions), '--output',
                        str(symbol_predictions), '--symbol', str(folder / 'static')], check=True,
                       env=harness.worker_environ(args.threads))
        return {'static': compare(dynamic, static),
                'symbol': compare(dynamic, harness.read_json(symbol_predictions))}


def main():
    args = make_parser().parse_args()
    harness.use_threads(args.threads)
    if args.symbol:
        return predict_by_symbol(args)
    ways = compare_ways(args)
    harness.write_result(args.output, harness.make_result(args, ways=ways))
    for way, values in ways.items():
        print('%s: %d of %d answers equal to the dynamic network\'s, scores within %.1e' % (
            way, values['equal'], values['questions'], values['largest_difference']))
    return int(any(values['equal'] < values['questions'] for values in ways.values()))


if __name__ == '__main__':
    sys.exit(main())
