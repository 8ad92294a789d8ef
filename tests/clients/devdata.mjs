// Continue's own schema of its development data. Standard input: a list of data objects of "autocomplete".
// Standard output: per object the faults that the schema finds, unknown names included.

import { readFileSync } from "node:fs";
import { devDataVersionedSchemas } from "@continuedev/config-yaml";

const schema = devDataVersionedSchemas["0.2.0"].all.autocomplete.strict();
const found = JSON.parse(readFileSync(0, "utf8")).map((data) => schema.safeParse(data).error?.issues ?? []);
console.log(JSON.stringify(found));
