/* Methods against metrics, and every pair of methods. */
'use strict';

/* table[figure][method] = [n, mean, std, low, high] or null */

R.sortTable = function (table, column, th) {
	const body = table.tBodies[0], down = th.getAttribute('aria-sort') === 'ascending';
	const value = (row) => row.cells[column].dataset.value;
	const rows = [...body.rows].sort((a, b) => {
		const x = value(a), y = value(b), p = parseFloat(x), q = parseFloat(y);
		if (x === '' || y === '') return (x === '') - (y === ''); /* what is missing comes last, either way */
		const order = Number.isNaN(p) || Number.isNaN(q) ? x.localeCompare(y) : p - q;
		return down ? -order : order;
	});
	body.append(...rows);
	for (const other of th.parentElement.cells) other.removeAttribute('aria-sort');
	th.setAttribute('aria-sort', down ? 'descending' : 'ascending');
};

R.sortable = function (table) {
	[...table.tHead.rows[0].cells].forEach((th, i) => {
		const go = () => R.sortTable(table, i, th);
		th.tabIndex = 0;
		th.classList.add('sortable');
		th.addEventListener('click', go);
		th.addEventListener('keydown', (e) => {
			if (e.key === 'Enter' || e.key === ' ') {
				e.preventDefault();
				go();
			}
		});
	});
	return table;
};

R.meanCell = function (model, k, m) {
	const v = model.table[k][m];
	if (!v || !v[0]) return R.h('td', { 'data-value': '' }, '–');
	const best = model.best[k] && model.best[k].method === m && model.best[k].significant;
	const mean = R.h(best ? 'b' : 'span', { class: 'mean' }, R.number(v[1]));
	return R.h('td', { class: best ? 'best num' : 'num', 'data-value': v[1], 'data-figure': k },
		mean, R.h('span', { class: 'interval' }, ` [${R.number(v[3])}, ${R.number(v[4])}]`),
		R.h('span', { class: 'n' }, `n ${R.count(v[0])}`));
};

/* Figures of all models, by metric and name: rows of different models may lack some. */
R.allFigures = function (everything) {
	const seen = new Map();
	for (const m of R.core.models) {
		for (const f of m.figures) {
			const key = `${f.metric}/${f.figure}`;
			if ((everything || f.main) && !seen.has(key)) seen.set(key, f);
		}
	}
	return seen;
};

R.resultTable = function (everything) {
	const figures = R.allFigures(everything), several = R.core.models.length > 1;
	const head = R.h('tr', {}, several ? R.h('th', {}, 'model') : null, R.h('th', { class: 'method' }, 'method'),
		[...figures.values()].map((f) => R.h('th', { title: f.help }, `${R.figureName(f)}${f.by_class ? ' (classes)' : ''} ${R.better(f)}`)));
	const rows = R.core.models.flatMap((model) => model.methods.map((m, i) => R.h('tr', { class: m.control ? 'chance' : '' },
		several ? R.h('td', { 'data-value': model.name }, model.name) : null,
		R.h('td', { class: 'method', 'data-value': m.label }, model === R.model ? R.swatch(i) : null, m.label,
			m.control ? R.h('span', { class: 'tag' }, 'chance') : null),
		[...figures.keys()].map((key) => {
			const k = model.figures.findIndex((f) => `${f.metric}/${f.figure}` === key);
			return k < 0 ? R.h('td', { 'data-value': '' }, '–') : R.meanCell(model, k, i);
		}))));
	return R.sortable(R.h('table', { id: 'table', class: 'result' }, R.h('thead', {}, head), R.h('tbody', {}, rows)));
};

R.sections.push({ id: 'results', draw(body) {
	const place = R.h('div', { class: 'scroll' }, R.resultTable(false));
	const all = R.h('input', { type: 'checkbox', id: 'all-figures', onchange: () => place.replaceChildren(R.resultTable(all.checked)) });
	body.append(R.h('p', { class: 'lead' }, 'Mean over images with a bootstrap 95 % interval; over the means of classes where the heading says so. ↓ lower is better, ↑ higher is better. '
		+ 'Bold: the best of its model, chance aside, where the paired difference to the next is significant (Wilcoxon, Holm, p < 0.05). '
		+ (R.core.models.some((m) => m.methods.some((x) => x.control)) ? 'Rows marked “chance” are the random control. ' : '')
		+ 'A click on a heading sorts.'), place,
	R.h('label', { class: 'check' }, all, ' all figures, also those about how a curve was computed'));
} });

/* ---- comparisons ---- */

/* pairs[figure] = list of {a, b, n, diff, low, high, p, holm, win}, a - b, a < b */
R.pairOf = function (k, row, column) {
	const p = R.model.pairs[k].find((q) => (q.a === row && q.b === column) || (q.a === column && q.b === row));
	if (!p || p.a === row) return p;
	return { ...p, a: row, b: column, diff: -p.diff, low: -p.high, high: -p.low, win: p.win === null ? null : 1 - p.win };
};

R.pairCell = function (k, row, column) {
	const f = R.model.figures[k], p = row === column ? null : R.pairOf(k, row, column);
	if (row === column) return R.h('td', { class: 'self' });
	if (!p || !p.n) return R.h('td', {}, '–');
	const clear = p.clear, good = f.direction * p.diff;
	return R.h('td', { class: `pair ${clear ? (good > 0 ? 'good' : good < 0 ? 'bad' : 'clear') : ''}`, 'data-pair': `${row},${column}` },
		R.h('span', { class: 'mean' }, (p.diff > 0 ? '+' : '') + R.number(p.diff)),
		R.h('span', { class: 'interval' }, `[${R.number(p.low)}, ${R.number(p.high)}]`),
		R.h('span', { class: 'n' }, `p ${R.pvalue(p.holm)}`),
		R.h('span', { class: 'n' }, p.win === null ? '' : `wins ${(100 * p.win).toFixed(0)} % · n ${R.count(p.n)}`));
};

R.matrix = function (k) {
	const methods = R.model.methods;
	return R.h('table', { class: 'matrix', 'data-figure': k },
		R.h('thead', {}, R.h('tr', {}, R.h('th', {}, 'row − column'), methods.map((m, i) => R.h('th', {}, R.swatch(i), m.label)))),
		R.h('tbody', {}, methods.map((m, i) => R.h('tr', {}, R.h('th', {}, R.swatch(i), m.label),
			methods.map((_, j) => R.pairCell(k, i, j))))));
};

R.figureOptions = function (filter) {
	return R.model.figures.map((f, k) => [k, `${R.figureName(f)} ${R.better(f)}`]).filter((o) => filter(R.model.figures[o[0]]));
};

R.sections.push({ id: 'comparisons', draw(body) {
	const options = R.figureOptions((f) => f.main && R.model.pairs[R.model.figures.indexOf(f)].length);
	if (!options.length) {
		body.append(R.h('p', {}, 'There is one method only.'));
		return;
	}
	const place = R.h('div', { class: 'scroll' }, R.matrix(options[0][0]));
	body.append(R.h('p', { class: 'lead' }, 'Paired by image: mean of row − column with its bootstrap 95 % interval; Wilcoxon’s signed-rank p, '
		+ 'Holm-corrected over the pairs of the table; share of images on which the row is the better one (ties count half). '
		+ 'Coloured where p < 0.05 and the interval leaves out 0: blue, the row is better; orange, it is worse.'),
	R.labelled('figure', R.select('pair-figure', options, (k) => place.replaceChildren(R.matrix(Number(k))))), place);
} });
