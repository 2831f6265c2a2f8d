// SPDX-License-Identifier: MIT
// usage: node dump.js FILE...: what is in Avro files, a JSON line for each: {schema, codec, rows} or
// {error}. A row is an array of its values; numbers are text, so that nothing of them is lost:
// {"long": "12"}, {"double": "3ff8000000000000"} with the bits.
'use strict';

const fs = require('fs');
const avro = require('avsc');

const long = avro.types.LongType.__with({
	fromBuffer: (b) => b.readBigInt64LE(),
	toBuffer: (n) => {
		const b = Buffer.alloc(8);
		b.writeBigInt64LE(n);
		return b;
	},
	fromJSON: BigInt,
	toJSON: Number,
	isValid: (n) => typeof n === 'bigint',
	compare: (a, b) => (a < b ? -1 : a > b ? 1 : 0),
});

function typeHook(schema) {
	return schema === 'long' || schema.type === 'long' ? long : undefined;
}

function shown(value) {
	if (typeof value === 'bigint')
		return { long: value.toString() };
	if (Buffer.isBuffer(value))
		return { bytes: value.toString('hex') };
	if (typeof value !== 'number')
		return value;
	const bits = Buffer.alloc(8);
	bits.writeDoubleBE(value);
	return { double: bits.toString('hex') };
}

function dump(path) {
	return new Promise((resolve) => {
		const found = { rows: [] };
		const decoder = new avro.streams.BlockDecoder({
			parseHook: (schema) => avro.Type.forSchema(schema, { typeHook, wrapUnions: false }),
		});
		decoder.on('metadata', (type, codec) => {
			found.schema = type.schema();
			found.codec = codec;
		});
		decoder.on('data', (record) => found.rows.push(found.schema.fields.map((f) => shown(record[f.name]))));
		decoder.on('error', (error) => resolve({ error: error.message }));
		decoder.on('end', () => resolve(found));
		fs.createReadStream(path).on('error', (error) => resolve({ error: error.message })).pipe(decoder);
	});
}

(async () => {
	for (const path of process.argv.slice(2))
		console.log(JSON.stringify(await dump(path)));
})();
