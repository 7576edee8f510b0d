"""curves.png: the loss, the learning rate and the dev scores of a run."""
from bert import files

MAX_VALUES = 5      # evaluations up to which each score stands beside its point
LOSS_COLOUR, RATE_COLOUR, BEST_COLOUR = '#0072b2', '#999999', '#d55e00'     # Okabe & Ito 2008


def draw_curves(path, state, title=''):
    """Draw a PNG. state: `TrainerState`; title: of the picture, above it."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot
    style = {'axes.spines.top': False, 'font.size': 10}
    with pyplot.rc_context(style):
        figure, (losses, scores) = pyplot.subplots(2, 1, sharex=True, figsize=(7, 6),
                                                   layout='constrained')
        figure.suptitle(title, parse_math=False)
        _draw_losses(losses, state)
        _draw_scores(scores, state)
        scores.set_xlabel('optimizer step')
        with files.atomic_write(path, 'wb') as out:
            figure.savefig(out, format='png', dpi=100)
        pyplot.close(figure)


def _draw_losses(axes, state):
    steps = [point['step'] for point in state.curve]
    axes.plot(steps, [point['loss'] for point in state.curve], '.-', color=LOSS_COLOUR,
              label='training loss')
    axes.set_ylabel('training loss', color=LOSS_COLOUR)
    axes.set_ylim(bottom=0)
    rates = axes.twinx()
    rates.plot(steps, [point['lr'] for point in state.curve], ':', color=RATE_COLOUR)
    rates.set_ylabel('learning rate (dotted)', color=RATE_COLOUR)
    rates.set_ylim(bottom=0)
    rates.ticklabel_format(axis='y', style='sci', scilimits=(0, 0))


def _draw_scores(axes, state):
    axes.set_ylabel('dev scores')
    if not state.history:
        axes.text(0.5, 0.5, 'no evaluation', ha='center', va='center', transform=axes.transAxes)
        return
    steps = [entry['step'] for entry in state.history]
    for segment, metrics in state.history[0]['metrics'].items():
        for name in metrics:
            values = [entry['metrics'][segment][name] for entry in state.history]
            line, = axes.plot(steps, values, 'o-', markersize=5, label='%s %s' % (segment, name))
            for step, value in zip(steps, values) if len(steps) <= MAX_VALUES else ():
                axes.annotate('%.4g' % value, (step, value), xytext=(-6, 4), ha='right',
                              textcoords='offset points', color=line.get_color())
    axes.margins(x=0.06, y=0.25)
    if state.best_step in steps:
        axes.axvline(state.best_step, color=BEST_COLOUR, linewidth=1, zorder=0,
                     label='best checkpoint')
    axes.legend(frameon=False, fontsize=9)
