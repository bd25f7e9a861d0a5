#!/usr/bin/env bash
# effect 3.22.4: the JSON schema of a Schema without fields is no object.
#
# `JSONSchema.make(Schema.Struct({}))` is what one writes for a tool without parameters. A careful guess is
# {"type":"object","properties":{}}. It is a choice of object and array, which the providers of LLMs refuse as the
# parameters of a tool: they want "type": "object" at the root.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund effect@3.22.4
cat >run.mjs <<'JS'
import { JSONSchema, Schema } from "effect"
const { $schema, ...empty } = JSONSchema.make(Schema.Struct({}))
const { type } = JSONSchema.make(Schema.Struct({ a: Schema.optional(Schema.String) }))
console.log(JSON.stringify(empty))
console.log(type)
JS
found=$(node run.mjs)
expected='{"$id":"/schemas/%7B%7D","anyOf":[{"type":"object"},{"type":"array"}]}
object'
echo "$found"
[ "$found" = "$expected" ] || { echo "this has changed"; exit 1; }
