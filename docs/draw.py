"""Draw the figures of the documentation that show numbers, as SVG in docs/figures.

The numbers of speed come from the tables of the pages, so that a figure shows what its page says.
The similarities are computed by all-MiniLM-L6-v2.
"""
import argparse
import pathlib

from docutils import nodes
from docutils.core import publish_doctree

DOCS = pathlib.Path(__file__).resolve().parent
FIGURES = DOCS / 'figures'
SPEED_PAGE = 'benchmarks/exported_models.rst'
SPEED_TITLE = 'examples a second'
# Colours of Okabe & Ito 2008, which people with colour blindness can tell apart
BERT_COLOUR, OPENVINO_COLOUR = '#0072b2', '#e69f00'
PYTORCH_COLOUR, ONNX_COLOUR = '#cc79a7', '#009e73'
# {contender in the table of speed: (its name in figures, its colour)}, in the order of the bars
CONTENDERS = {
    'MXNet, fused': ('bert, float32', BERT_COLOUR),
    'OpenVINO': ('OpenVINO, float32', OPENVINO_COLOUR),
    'MXNet, fused, bfloat16': ('bert, bfloat16', BERT_COLOUR),
    'OpenVINO, bfloat16': ('OpenVINO, bfloat16', OPENVINO_COLOUR),
    'PyTorch, bfloat16': ('PyTorch, bfloat16', PYTORCH_COLOUR),
    'MXNet, fused, int8': ('bert, int8', BERT_COLOUR),
    'OpenVINO, INT8': ('OpenVINO, int8', OPENVINO_COLOUR),
    'ONNX Runtime, dynamic INT8': ('ONNX Runtime, int8', ONNX_COLOUR)}
LINES = {'MXNet, fused, int8': '-', 'OpenVINO, INT8': '-', 'MXNet, fused, bfloat16': '--',
         'OpenVINO, bfloat16': '--'}
SENTENCES = ['A man is eating food.', 'Somebody has a meal.', 'The girl carries a baby.',
             'A woman holds a child.', 'The stock market fell today.', 'Shares lost value.']


def read_table(page, first_title):
    """{first cell of a row: {title of a column: text}} of the table of a page whose first column
    has the title `first_title`. Raises `LookupError`."""
    document = publish_doctree((DOCS / page).read_text(encoding='utf-8'),
                               settings_overrides={'report_level': 5})
    for table in document.findall(nodes.table):
        titles, *rows = [[entry.astext() for entry in row.findall(nodes.entry)]
                         for row in table.findall(nodes.row)]
        if titles[0] == first_title:
            return {row[0]: dict(zip(titles[1:], row[1:])) for row in rows}
    raise LookupError('%s: there is no table whose first column is "%s"' % (page, first_title))


def make_figure(width, height):
    """(figure, axes) of matplotlib. The background is white in dark mode too."""
    import matplotlib
    matplotlib.use('svg')
    # the same bytes each time, and letters as text
    matplotlib.rcParams.update({'svg.hashsalt': 'bert', 'svg.fonttype': 'none', 'font.size': 10,
                                'axes.spines.top': False, 'axes.spines.right': False})
    from matplotlib import pyplot
    return pyplot.subplots(figsize=(width, height), layout='constrained')


def save(figure, name):
    path = FIGURES / (name + '.svg')
    figure.savefig(path, format='svg', metadata={'Date': None, 'Creator': None})
    return path


def draw_throughput():
    """Bars of BERT base, full and mixed batches."""
    table = read_table(SPEED_PAGE, SPEED_TITLE)
    figure, axes = make_figure(7, 4.2)
    names = list(CONTENDERS)[::-1]
    for offset, column, alpha in ((0.2, '32 x 128', 1), (-0.2, '32 x 53of128', 0.5)):
        bars = axes.barh([i + offset for i in range(len(names))],
                         [float(table[name][column]) for name in names], height=0.38, alpha=alpha,
                         color=[CONTENDERS[name][1] for name in names])
        axes.bar_label(bars, fmt='%.1f', padding=3, fontsize=8)
    axes.set_yticks(range(len(names)), [CONTENDERS[name][0] for name in names])
    axes.set_xlabel('examples a second, BERT base\n'
                    'dark: 32 x 128 tokens; light: 32 texts of 53 tokens on average')
    return save(figure, 'throughput')


def draw_latency():
    """Milliseconds for one text over its length."""
    table = read_table(SPEED_PAGE, SPEED_TITLE)
    columns = [column for column in next(iter(table.values())) if column.startswith('1 x ')]
    lengths = [int(column[len('1 x '):]) for column in columns]
    figure, axes = make_figure(7, 3.6)
    for name, line in LINES.items():
        label, colour = CONTENDERS[name]
        axes.plot(lengths, [1000 / float(table[name][column]) for column in columns], 'o' + line,
                  color=colour, label=label)
    axes.set_xticks(lengths)
    axes.set_ylim(bottom=0)
    axes.set_xlabel('tokens of a single text')
    axes.set_ylabel('milliseconds, BERT base')
    axes.legend(frameon=False)
    return save(figure, 'latency')


def draw_similarities():
    """A heat map of the similarities of sentences."""
    import bert
    embedder = bert.Embedder(model='bert_6_384_12')
    vectors = embedder(SENTENCES)
    similarities = embedder.similarity(vectors, vectors)
    figure, axes = make_figure(7, 3.6)
    image = axes.imshow(similarities, cmap='Blues', vmin=0, vmax=1)
    for i, row in enumerate(similarities):
        for j, value in enumerate(row):
            axes.text(j, i, '%.2f' % (value.round(2) + 0), ha='center', va='center', fontsize=8,
                      color='white' if value > 0.6 else 'black')
    axes.set_yticks(range(len(SENTENCES)), SENTENCES)
    axes.set_xticks(range(len(SENTENCES)), range(1, len(SENTENCES) + 1))
    figure.colorbar(image, label='cosine similarity')
    return save(figure, 'similarities')


FUNCTIONS = {'throughput': draw_throughput, 'latency': draw_latency,
             'similarities': draw_similarities}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('figures', nargs='*', metavar='FIGURE',
                        help='of: %s; default: all' % ', '.join(FUNCTIONS))
    names = parser.parse_args().figures or list(FUNCTIONS)
    for name in names:
        if name not in FUNCTIONS:
            parser.error('there is no figure "%s": %s expected' % (name, ', '.join(FUNCTIONS)))
        print(FUNCTIONS[name]())


if __name__ == '__main__':
    main()
