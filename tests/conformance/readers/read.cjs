// Reads files with node's own parser, or with a package: node read.cjs READER; requests and answers as in main.go, without a kind.
'use strict'
const { createRequire } = require('module')
const lines = require('fs').readFileSync(0, 'latin1').split('\n').slice(0, -1)
const [reader, folder] = process.argv.slice(2)
const load = folder ? createRequire(folder + '/') : null

function expanded (parsed, name) {
  const processEnv = {}
  return load(name).expand({ parsed, processEnv }).parsed
}
const readers = {
  'parse-env': (text) => require('util').parseEnv(text),
  'dotenv-16': (text) => load('dotenv-16').parse(text),
  'dotenv-17': (text) => load('dotenv-17').parse(text),
  'dotenv-18': (text) => load('dotenv-18').parse(text),
  'dotenv-expand-12': (text) => expanded(load('dotenv-16').parse(text), 'dotenv-expand-12'),
  'dotenv-expand-1000': (text) => expanded(load('dotenv-18').parse(text), 'dotenv-expand-1000'),
  next: (text) => {
    const { processEnv } = load('@next/env')
    const before = { ...process.env }
    const [, parsed] = processEnv([{ path: '.env', contents: text, env: {} }], '.', { info () {}, error () {} }, true)
    process.env = before
    return parsed
  },
  dotenvx: (text) => load('@dotenvx/dotenvx').parse(text, { processEnv: {} })
}
const log = console.log
console.log = console.info = console.warn = console.error = () => {}
const answers = []
for (const line of lines) {
  const text = Buffer.from(line, 'base64').toString('utf8')
  try {
    const values = readers[reader](text)
    // A name that no file of ours has is shown as ?
    answers.push(Object.keys(values).map((name) => (/^\w+$/.test(name) ? name : '?') + ':' + Buffer.from(values[name]).toString('base64')).join(' '))
  } catch {
    answers.push('!')
  }
}
log(answers.join('\n'))
