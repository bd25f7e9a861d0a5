import type { Group } from "../scenario.js"
import { batch } from "./batch.js"
import { deadKey } from "./deadKey.js"
import { errors } from "./errors.js"
import { headers } from "./headers.js"
import { jobs } from "./jobs.js"
import { limits } from "./limits.js"
import { outages } from "./outage.js"
import { spend } from "./spend.js"
import { tail } from "./tail.js"

export const groups: ReadonlyArray<Group> = [jobs, batch, headers, limits, outages, errors, tail, deadKey, spend]
