"""A real pre-trained model trained further: rxnfp's BERT of chemical reactions, with its two heads.

Composes reactions (esters and amides from an acid and an alcohol or amine) and holds some of them
out, makes pre-training data from them (--tokenized, with the model's vocabulary), and scores the
model on both parts before and after --num_steps steps. The lines of a document are unrelated, so
next sentences can't be predicted here.
"""
import itertools
import pathlib
import random
import re
import tempfile

from benchmarks import harness
from benchmarks.weights.conversion import RXNFP, RXNFP_FOLDER

FOLDER = RXNFP_FOLDER + '/bert_pretrained'
# SMILES of the groups at the acid's carbon, and at the oxygen or nitrogen
GROUPS = ('C', 'CC', 'CCC', 'CCCC', 'CCCCC', 'CC(C)C', 'CC(C)', 'CC(C)CC', 'C1CC1', 'C1CCC1',
          'C1CCCC1', 'C1CCCCC1', 'c1ccccc1', 'Cc1ccccc1', 'CCc1ccccc1', 'c1ccc(C)cc1',
          'c1ccc(CC)cc1', 'c1ccc(Cl)cc1', 'c1ccc(Br)cc1', 'c1ccc(F)cc1', 'c1ccc(OC)cc1',
          'c1ccc(C#N)cc1', 'c1cccc(Cl)c1', 'c1cccc(C)c1', 'c1cccc(F)c1', 'c1cccc(OC)c1',
          'c1ccncc1', 'c1cccnc1', 'Cc1ccncc1', 'c1ccoc1', 'c1ccsc1', 'Cc1ccc(Cl)cc1',
          'Cc1ccc(F)cc1', 'Cc1ccc(OC)cc1', 'CCOC', 'COC', 'CCCOC', 'CC(F)(F)F', 'CCCl', 'CCBr')
LINES_PER_DOCUMENT = 8
TOKEN = re.compile('Cl|Br|>>|.')


def make_parser():
    parser = harness.make_parser(__doc__, 'pretraining-rxnfp.json')
    parser.add_argument('--held_out', type=int, default=600, help='reactions not trained on')
    parser.add_argument('--num_steps', type=int, default=200)
    parser.add_argument('--batch_size', type=int, default=32)
    parser.add_argument('--lr', type=float, default=1e-4)
    parser.add_argument('--seed', type=int, default=1)
    return parser


def compose(seed):
    """All reactions as lines of tokens, in random order."""
    lines = []
    for acid, partner in itertools.product(GROUPS, repeat=2):
        for link in 'ON':
            reaction = '%s(=O)O.%s%s>>%s(=O)%s%s' % (acid + 'C', link, partner, acid + 'C',
                                                    link, partner)
            lines.append(' '.join(TOKEN.findall(reaction)))
    assert len(set(lines)) == len(lines)
    random.Random(seed).shuffle(lines)
    return lines


def write_documents(path, lines):
    groups = [lines[i:i + LINES_PER_DOCUMENT] for i in range(0, len(lines), LINES_PER_DOCUMENT)]
    path.write_text('\n\n'.join('\n'.join(group) for group in groups) + '\n')


def fetch_model(work):
    """Folder of the model, with weights as safetensors, which we read without PyTorch."""
    from bert import downloads
    members = ['%s/%s' % (FOLDER, name)
               for name in ('config.json', 'pytorch_model.bin', 'vocab.txt')]
    downloads.fetch_pypi_files(*RXNFP, members, str(work))
    folder = work / FOLDER
    harness.run_worker('peer', 'benchmarks.pretraining.peer_weights',
                       folder / 'pytorch_model.bin', threads=1)
    (folder / 'pytorch_model.bin').unlink()
    return folder


def make_data(work, model, name, lines):
    """Pattern of the files of examples."""
    write_documents(work / (name + '.txt'), lines)
    harness.run_script('create_pretraining_data.py', '--input_file', work / (name + '.txt'),
                       '--tokenized', '--vocab', model / 'vocab.txt', '--output_dir', work / name,
                       '--max_seq_length', 128, '--max_predictions_per_seq', 20, '--dupe_factor', 2)
    return work / name / '*.npz'


def pretrain(work, name, *arguments):
    """The final scores of a run of run_pretraining.py."""
    harness.run_script('run_pretraining.py', '--ckpt_dir', work / name, '--batch_size_eval', 32,
                       *arguments)
    return harness.read_json(work / name / 'results.json')['metrics']['eval']


def main():
    args = make_parser().parse_args()
    lines = compose(args.seed)
    with tempfile.TemporaryDirectory() as temporary:
        work = pathlib.Path(temporary)
        model = fetch_model(work)
        parts = {'held out': make_data(work, model, 'held', lines[:args.held_out]),
                 'trained on': make_data(work, model, 'train', lines[args.held_out:])}
        common = ['--threads', args.threads, '--seed', args.seed]
        scores = {'before': {part: pretrain(work, 'before-%d' % i, '--bert_checkpoint', model,
                                            '--data_eval', data, *common)
                             for i, (part, data) in enumerate(parts.items())}}
        pretrain(work, 'run', '--bert_checkpoint', model, '--data', parts['trained on'],
                 '--data_eval', parts['held out'], '--num_steps', args.num_steps, '--batch_size',
                 args.batch_size, '--lr', args.lr, '--warmup_ratio', 0.1, '--log_interval', 20,
                 '--num_buckets', 10, *common)
        scores['after'] = {part: pretrain(work, 'after-%d' % i, '--bert_checkpoint', work / 'run',
                                          '--data_eval', data, *common)
                           for i, (part, data) in enumerate(parts.items())}
    harness.write_result(args.output, harness.make_result(args, reactions=len(lines),
                                                          scores=scores))
    for moment, scores_of_parts in scores.items():
        for part, values in scores_of_parts.items():
            print('%s %d steps, reactions %s: %s' % (moment, args.num_steps, part, ', '.join(
                '%s %.3f' % item for item in values.items())))


if __name__ == '__main__':
    main()
