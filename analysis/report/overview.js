/* What was run, how far it is, and in what the files differ; the failures. */
'use strict';

R.notices = function () {
	return R.core.notices.map((t) => R.h('p', { class: 'notice' }, t));
};

R.definitions = function (pairs) {
	return R.h('dl', {}, pairs.filter((p) => p[1] !== null && p[1] !== '').map((p) => [R.h('dt', {}, p[0]), R.h('dd', {}, p[1])]));
};

/* Done, failed and pending images of a file as one bar. */
R.progress = function (f) {
	const parts = [['done', f.done], ['failed', f.failed], ['pending', f.pending]].filter((p) => p[1]);
	return R.h('div', { class: 'progress', role: 'img', 'aria-label': parts.map((p) => `${p[1]} ${p[0]}`).join(', ') },
		parts.map((p) => R.h('i', { class: p[0], style: `flex:${p[1]}`, title: `${R.count(p[1])} ${p[0]}` })));
};

R.fileTable = function () {
	const head = ['file', 'model', 'images', 'done', 'failed', 'pending', '', 'right', 'seed', 'version'];
	return R.h('div', { class: 'scroll' }, R.h('table', { class: 'files' },
		R.h('thead', {}, R.h('tr', {}, head.map((t) => R.h('th', {}, t)))),
		R.h('tbody', {}, R.core.files.map((f) => R.h('tr', {},
			R.h('td', { class: 'mono', title: f.path }, f.name), R.h('td', {}, R.core.models[f.model].name),
			[f.images, f.done, f.failed, f.pending].map((n) => R.h('td', { class: 'num' }, R.count(n))),
			R.h('td', {}, R.progress(f)),
			R.h('td', { class: 'num' }, f.right === null ? '–' : `${(100 * f.right).toFixed(1)} %`),
			R.h('td', { class: 'num' }, String(f.seed)), R.h('td', { class: 'mono' }, f.version))))));
};

R.methodTable = function () {
	const model = R.model;
	const rows = model.methods.map((m, i) => {
		const filtered = model.figures.filter((f, k) => f.main && m.filtered[k] > 0)
			.map((f) => `${R.figureName(f)}: ${R.count(m.filtered[model.figures.indexOf(f)])}`);
		return R.h('tr', {}, R.h('td', {}, R.swatch(i), m.label, m.control ? R.h('span', { class: 'tag' }, 'chance') : null),
			R.h('td', {}, m.definition),
			R.h('td', { class: 'mono small' }, m.parameters.map((p) => `${p[0]} ${p[1]}`).join(', ')),
			R.h('td', { class: 'small' }, filtered.length ? filtered.join('; ') : 'none'));
	});
	return R.h('div', { class: 'scroll' }, R.h('table', { class: 'methods' }, R.h('thead', {}, R.h('tr', {},
		['method', 'what it is', 'parameters', 'images left out'].map((t) => R.h('th', {}, t)))), R.h('tbody', {}, rows)));
};

R.metricTable = function () {
	const rows = R.model.metrics.map((m) => R.h('tr', {}, R.h('td', {}, m.name), R.h('td', {}, m.definition),
		R.h('td', { class: 'mono small' }, m.parameters.map((p) => `${p[0]} ${p[1]}`).join(', '))));
	return R.h('div', { class: 'scroll' }, R.h('table', {}, R.h('thead', {}, R.h('tr', {},
		['metric', 'what it is', 'parameters'].map((t) => R.h('th', {}, t)))), R.h('tbody', {}, rows)));
};

R.differences = function () {
	const d = R.core.differences;
	if (R.core.files.length < 2) return [];
	if (!d.length) return [R.h('h3', {}, 'Differences between the files'), R.h('p', {}, 'None in configuration, checkpoint, data or program.')];
	return [R.h('h3', {}, 'Differences between the files'), R.h('div', { class: 'scroll' }, R.h('table', { class: 'differences' },
		R.h('thead', {}, R.h('tr', {}, R.h('th', {}, 'key'), R.core.files.map((f) => R.h('th', { class: 'mono' }, f.name)))),
		R.h('tbody', {}, d.map((row) => R.h('tr', {}, R.h('td', { class: 'mono key' }, row.key),
			row.values.map((v) => R.h('td', { class: 'mono small', title: v || '' }, v === null ? '–' : /^[0-9a-f]{40,}$/.test(v) ? `${v.slice(0, 12)}…` : v)))))))];
};

R.sections.push({ id: 'overview', draw(body) {
	const m = R.model;
	body.append(...R.notices(), R.fileTable(), R.h('div', { class: 'columns' },
		R.h('div', {}, R.h('h3', {}, m.name), R.definitions([['images', `${R.count(m.images)}, of them ${R.count(m.done)} done, `
			+ `${R.count(m.failed)} failed, ${R.count(m.pending)} pending`], ['architecture', m.architecture],
			['preprocessing', m.preprocessing], ['data', m.data], ['checkpoint', `${m.checkpoint.slice(0, 16)}…`],
			['maps and pictures', m.shown]]))),
	R.h('h3', {}, 'Methods'), R.methodTable(), R.h('h3', {}, 'Metrics'), R.metricTable(), ...R.differences());
} });

R.sections.push({ id: 'failures', draw(body) {
	const rows = R.core.models.flatMap((m) => m.failures.map((f) => [m, f]));
	const total = R.core.files.reduce((sum, f) => sum + f.failed, 0);
	if (!rows.length) {
		body.append(R.h('p', {}, 'No image failed.'));
		return;
	}
	body.append(R.h('p', {}, `${R.count(total)} of ${R.count(R.core.files.reduce((n, f) => n + f.images, 0))} rows failed`
		+ (total > rows.length ? `; the first ${R.count(rows.length)} are listed.` : '.')),
	R.h('div', { class: 'scroll tall' }, R.h('table', { class: 'failed' },
		R.h('thead', {}, R.h('tr', {}, ['image', 'path', 'file', 'message'].map((t) => R.h('th', {}, t)))),
		R.h('tbody', {}, rows.map(([, f]) => R.h('tr', {}, R.h('td', { class: 'num' }, String(f.image)),
			R.h('td', { class: 'mono small' }, f.path), R.h('td', { class: 'mono small' }, R.core.files[f.file].name), R.h('td', {}, f.error)))))));
} });
