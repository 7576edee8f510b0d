"""Which models there are, how large, from where, and which are here already."""
from bert.errors import UserError, run_script
from bert.flags.exporting import ModelsOptions as OPTIONS
from bert.flags.options import parse

MEGA = 1e6
FLOAT32_BYTES = 4
ROW_FORMAT = '%-16s  %-28s  %10s  %7s  %-6s  %s'


def table_rows(root):
    """Yield one row of the table for each model and corpus."""
    from bert.model.weights import catalogue, released_weights
    for model, entry in catalogue.MODELS.items():
        for corpus in entry.corpora:
            release = released_weights.Release(model, corpus, root)
            num_parameters = catalogue.parameter_count(catalogue.config_of(model, corpus))
            sources = [source.name for source in released_weights.weight_sources(release)[1:]]
            yield (model, corpus, '%.1f M' % (num_parameters / MEGA),
                   '%.0f MB' % (num_parameters * FLOAT32_BYTES / MEGA),
                   'yes' if released_weights.is_cached(release) else 'no', ', '.join(sources))


def print_table(root):
    print(ROW_FORMAT % ('model', 'corpus', 'parameters', 'float32', 'cached', 'sources'))
    for row in table_rows(root):
        print(ROW_FORMAT % row)
    print('\nParameters of the encoder and its pooler. A script takes them with --bert_model '
          'MODEL --bert_dataset CORPUS;\nmodels.py --fetch MODEL CORPUS downloads one '
          'beforehand.')


def fetch_release(names, root):
    """Download the weights and the vocabulary into the cache, and read them once as a check."""
    from bert.model.weights import released_weights
    release = released_weights.Release(*names, root=root)
    num_values = sum(array.size for array in released_weights.fetch_arrays(release).values())
    tokens = released_weights.fetch_tokens(release)
    print('%s: %.1f M values and a vocabulary of %d tokens are in the cache'
          % (release.name, num_values / MEGA, len(tokens)))


def main(arguments=None):
    options, _ = parse(OPTIONS, __doc__, arguments)
    if options.fetch and len(options.fetch) > 2:
        raise UserError('--fetch takes a model and a corpus, found: %s' % ' '.join(options.fetch))
    if options.fetch:
        fetch_release(options.fetch, options.root)
    else:
        print_table(options.root)


if __name__ == '__main__':
    run_script(main)
