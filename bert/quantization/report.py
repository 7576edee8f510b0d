"""The trials of a tuning run as a table and as a picture."""
from bert import files

HEADER = ('trial', 'in float', 'score', 'loss', 'from', 'to', 'goal', 'speed', 'accepted')


def format_trials(trials):
    """The lines of a table: a header, then one line per trial."""
    rows = [HEADER] + [
        (str(trial.number), str(len(trial.kept)), '%.4f' % trial.score) +
        tuple('%.4f' % value for value in trial.loss) +
        (trial.verdict, '%.2f' % trial.speed, 'yes' if trial.accepted else 'no')
        for trial in trials]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ['  '.join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows]


def draw_trials(path, result, metric, min_score):
    """Write a PNG of score against speed with one dot per trial. result: a `TuningResult`. metric:
    name of the score. min_score: the lowest score that the goal allows."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(figsize=(7, 5))
    axes.plot([1], [result.float_score], 'ks', label='float')
    for accepted, colour, label in ((True, 'tab:green', 'accepted'), (False, 'tab:red', 'not')):
        dots = [trial for trial in result.trials if trial.accepted == accepted]
        if dots:
            axes.plot([trial.speed for trial in dots], [trial.score for trial in dots], 'o',
                      color=colour, label=label)
    for trial in result.trials:
        axes.annotate(str(trial.number), (trial.speed, trial.score), xytext=(4, 4),
                      textcoords='offset points')
    axes.axhline(min_score, color='grey', linestyle=':', label='the goal')
    axes.set_xlabel('speed, times float')
    axes.set_ylabel(metric)
    axes.legend()
    figure.tight_layout()
    with files.atomic_write(path, 'wb') as out:
        figure.savefig(out, format='png', dpi=100)
    pyplot.close(figure)
