"""
What a figure is called and whether larger is better: the one table of that kind. Everything else about a figure is read
from the file that holds it.
"""
from fnmatch import fnmatchcase

HIGHER, LOWER = 'higher', 'lower'

# metric (its kind, whatever it is named), figure, better side, main; the first row that fits counts. main: in a table that
# names no figures. What fits none has no better side: it is shown on demand, and nothing of it is set in bold. `order` of
# deletion and insertion turns the side round (see better()).
SIDES = [
    ('deletion', 'auc', LOWER, True),
    ('deletion', 'auc_published', LOWER, False),
    ('insertion', 'auc', HIGHER, True),
    ('insertion', 'auc_published', HIGHER, False),
    ('gridpg', 'score', HIGHER, True),
    ('gridpg', 'own', HIGHER, False),
    ('energypg', 'energy', HIGHER, True),
    ('energypg', 'gain', HIGHER, False),
    ('pointing_game', 'hit', HIGHER, True),
    ('stability', 'pearson', HIGHER, True),
    ('stability', 'spearman', HIGHER, True),
    ('stability', 'relative_l2', LOWER, True),
    ('sensitivity_max', '*', LOWER, True),
    ('grid_artifact', '*', LOWER, True),
    ('sparseness', 'gini', HIGHER, True),
    ('entropy', 'entropy', LOWER, True),
    ('randomisation', 'correlation', LOWER, True),  # means below 0, which are chance, count as lower
    ('', 'mc_error', LOWER, False),
    ('', 'completeness_error', LOWER, False),
]

# Axes of curves: kind -> (abscissa, ordinate); the score of deletion and insertion is a parameter.
AXES = {'deletion': ('fraction of pixels changed', 'probability'), 'insertion': ('fraction of pixels restored', 'probability'),
        'randomisation': ('share of the network that is random', 'rank correlation')}

# What is reported as the mean of the means of classes, as its definition has it.
BY_CLASS = [('pointing_game', 'hit')]

# Names as papers print them; what is not here is printed as it is stored.
LABELS = {('gridpg', 'score'): 'GridPG', ('gridpg', 'own'): 'GridPG of the own cell', ('energypg', 'energy'): 'EnergyPG',
          ('energypg', 'gain'): 'EnergyPG / chance', ('pointing_game', 'hit'): 'pointing game',
          ('sensitivity_max', 'sensitivity'): 'sensitivity-max', ('grid_artifact', 'border_ratio'): 'grid: border ratio',
          ('grid_artifact', 'lattice_energy'): 'grid: lattice energy', ('sparseness', 'gini'): 'Gini index',
          ('randomisation', 'correlation'): 'randomisation', ('', 'mc_error'): 'Monte-Carlo error'}
FIGURE_LABELS = {'auc': 'AUC', 'auc_published': 'AUC as published (%)', 'pearson': 'Pearson', 'spearman': 'Spearman',
                 'relative_l2': 'relative L2'}


def _row(kind, figure):
    return next((r for r in SIDES if r[0] == kind and fnmatchcase(figure, r[1])), (kind, figure, None, False))


def better(kind, figure, parameters):
    """'higher', 'lower' or None: which side of a figure is the better one. kind: of the metric, '' for the method's own
    figures; parameters: of the metric."""
    side = _row(kind, figure)[2]
    if side and parameters.get('order') == 'least':
        # least important pixels first: a good map keeps the score while they go
        return LOWER if side == HIGHER else HIGHER
    return side


def main(kind, figure):
    """Whether a figure belongs in a table that names none."""
    return _row(kind, figure)[3]


def by_class(kind, figure):
    """Whether a figure is reported as the mean of the means of classes."""
    return (kind, figure) in BY_CLASS


def axes(kind, parameters):
    """(abscissa, ordinate) of a metric's curve."""
    x, y = AXES.get(kind, ('fraction', 'score'))
    return x, 'logit' if parameters.get('score') == 'logit' else y


def label(kind, metric, figure):
    """A figure's name for people: 'deletion AUC', 'Monte-Carlo error'. metric: its name, '' for the method's own."""
    if metric == kind and (kind, figure) in LABELS:
        return LABELS[kind, figure]
    first, second = metric.replace('_', ' '), FIGURE_LABELS.get(figure, figure.replace('_', ' '))
    return second if not metric or second.startswith(first) else f'{first} {second}'
