"""List models, their sizes and sources, and which are in the cache; describe or fetch one."""
import json

from bert.errors import UserError, did_you_mean, run_script
from bert.flags.exporting import ModelsOptions as OPTIONS
from bert.flags.options import parse

MEGA = 1e6
FLOAT32_BYTES = 4
ROW_FORMAT = '%-16s  %-31s  %10s  %7s  %-6s  %s'
RELATIVE_ROW_FORMAT = '%-20s  %-40s  %s'
HUB_ROW_FORMAT = '%-46s  %-40s  %8s  %s'


def print_table(root):
    from bert.model.weights import descriptions
    print(ROW_FORMAT % ('model', 'corpus', 'parameters', 'float32', 'cached', 'sources'))
    for row in descriptions.describe_releases(root):
        print(ROW_FORMAT % (row.model, row.corpus, '%.1f M' % (row.num_parameters / MEGA),
                            '%.0f MB' % (row.num_parameters * FLOAT32_BYTES / MEGA),
                            'yes' if row.is_cached else 'no', ', '.join(row.sources)))
    print('\nParameters of the encoder and its pooler. A script takes them with --bert_model '
          'MODEL --bert_dataset CORPUS;\nmodels.py --fetch MODEL CORPUS downloads one '
          'beforehand.')
    print_relatives()
    print_cached_models()


def print_relatives():
    """Print gluonnlp's models of other families."""
    from bert.model.weights import catalogue
    print('\n' + RELATIVE_ROW_FORMAT % ('relative of BERT', 'corpus', 'on the hub'))
    for name, (corpus, repository) in catalogue.RELATIVES.items():
        print(RELATIVE_ROW_FORMAT % (name, corpus, repository))


def print_cached_models():
    """Print the models of the hub that are in its cache, if there are any."""
    from bert import hub
    rows = hub.cached_models()
    if rows:
        print('\n' + HUB_ROW_FORMAT % ('in the cache of the hub', 'commit', 'size', 'complete'))
    for row in rows:
        print(HUB_ROW_FORMAT % (row.repository, row.commit, format_size(row.num_bytes),
                                'yes' if row.is_complete else 'no'))


def describe(name):
    """The `ModelDescription` of a model of the hub."""
    from bert.model.weights import catalogue, descriptions
    name = catalogue.find_relative(name) or name
    if is_released(name):
        catalogue.resolve_names(name)       # raises for a misspelt name
        raise UserError('%s is a released model: models.py without MODEL lists it; MODEL is a name '
                        'on the hub: owner/name' % name)
    return descriptions.describe_model(name)


def print_description(description):
    """Print what a model of the hub is, a line for each property."""
    total = sum(size or 0 for size in description.files.values())
    rows = [('commit', description.commit), ('architecture', description.architecture),
            ('network', description.num_layers and '%s layers, %s units, %s heads' % (
                description.num_layers, description.units, description.num_heads)),
            ('vocabulary', description.vocab_size), ('positions', description.max_length),
            ('parameters', description.num_parameters and '%.1f M' % (
                description.num_parameters / MEGA)),
            ('tokenizer', description.tokenizer), ('modules', ', '.join(description.modules)),
            ('files', ', '.join('%s %s' % (name, format_size(size))
                                for name, size in description.files.items())),
            ('size', total and format_size(total)),
            ('cached', 'yes' if description.is_cached else 'no'),
            ('can\'t be opened', description.problem)]
    print(description.repository)
    for title, value in rows:
        if value:
            print('  %-16s%s' % (title, value))


def format_size(num_bytes):
    """A number of bytes in words. num_bytes: None if it is unknown."""
    if num_bytes is None:
        return 'unknown'
    return '%.1f MB' % (num_bytes / MEGA) if num_bytes >= MEGA else '%.1f kB' % (num_bytes / 1e3)


def is_released(name):
    """Whether a name is, or is meant to be, one of the released models and not one of the hub."""
    from bert.model.weights import catalogue
    return '/' not in name and (name in catalogue.NAMES
                                or bool(did_you_mean(name, catalogue.NAMES)))


def fetch(names, root):
    """Download a released model, or one of the hub, into its cache."""
    from bert.model.weights import catalogue
    if len(names) > 2:
        raise UserError('--fetch %s: expected a model and a corpus' % ' '.join(names))
    repository = catalogue.find_relative(*names)
    if repository is None and (len(names) == 2 or is_released(names[0])):
        return print_release(names, root)
    if root:
        raise UserError('--root is only for released models: set HF_HUB_CACHE for the hub')
    return fetch_from_hub(repository or names[0])


def print_release(names, root):
    """Download the weights and the vocabulary into the cache, and read them once as a check."""
    from bert.model.weights import descriptions
    name, num_values, num_tokens = descriptions.fetch_release(*names, root=root)
    print('%s: %.1f M values and a vocabulary of %d tokens are in the cache'
          % (name, num_values / MEGA, num_tokens))


def fetch_from_hub(name):
    """Download the newest commit of a model of the hub."""
    from bert import hub
    pinned_name = hub.fetch_model(name)
    print('%s is in the cache: %s' % (pinned_name, hub.model_folder(pinned_name)))


def main(arguments=None):
    options, _ = parse(OPTIONS, __doc__, arguments)
    if options.fetch and options.model:
        raise UserError('%s and --fetch: give one of the two' % options.model)
    if options.json and not options.model:
        raise UserError('--json needs a MODEL: owner/name')
    if options.fetch:
        fetch(options.fetch, options.root)
    elif options.json:
        print(json.dumps(describe(options.model)._asdict(), indent=1))
    elif options.model:
        print_description(describe(options.model))
    else:
        print_table(options.root)


if __name__ == '__main__':
    run_script(main)
