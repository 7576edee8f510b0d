"""The trials of a tuning run for people: a table and a picture."""
from bert import files

HEADER = ('trial', 'in float', 'score', 'loss', 'from', 'to', 'goal', 'speed', 'accepted')


def table(trials):
    """Lines: one a trial, under a header."""
    rows = [HEADER] + [
        (str(trial.number), str(len(trial.kept)), '%.4f' % trial.score) +
        tuple('%.4f' % value for value in trial.loss) +
        (trial.verdict, '%.2f' % trial.speed, 'yes' if trial.accepted else 'no')
        for trial in trials]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ['  '.join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows]


def draw(path, tuned, metric, allowed):
    """Score against speed as a PNG, a dot a trial. metric: name of the score; allowed: the lowest
    score that the goal allows."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(figsize=(7, 5))
    axes.plot([1], [tuned.float_score], 'ks', label='float')
    for accepted, colour, label in ((True, 'tab:green', 'accepted'), (False, 'tab:red', 'not')):
        dots = [trial for trial in tuned.trials if trial.accepted == accepted]
        if dots:
            axes.plot([trial.speed for trial in dots], [trial.score for trial in dots], 'o',
                      color=colour, label=label)
    for trial in tuned.trials:
        axes.annotate(str(trial.number), (trial.speed, trial.score), xytext=(4, 4),
                      textcoords='offset points')
    axes.axhline(allowed, color='grey', linestyle=':', label='the goal')
    axes.set_xlabel('speed, times float')
    axes.set_ylabel(metric)
    axes.legend()
    figure.tight_layout()
    with files.atomic_write(path, 'wb') as out:
        figure.savefig(out, format='png', dpi=100)
    pyplot.close(figure)
